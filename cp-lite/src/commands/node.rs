//! `cp-lite node list`: the fleet, as the running control plane sees it.

use super::config::admin_client::AdminClient;
use super::config::block_on;
use os::ExitError;
use serde_json::Value;

/// Rows per question to the Admin API.
const PAGE_SIZE: usize = 1000;
/// The most pages that are asked for.
const PAGES_MAX: usize = 1000;

/// The columns of the table, and where their values are in a row of `/clustering/data-planes`.
const COLUMNS: [(&str, &str); 7] = [
    ("HOSTNAME", "hostname"),
    ("ID", "id"),
    ("ADDRESS", "ip"),
    ("CONNECTED", "connected"),
    ("STATUS", "sync_status"),
    ("APPLIED", "applied_version"),
    ("LAG", "lag"),
];

/// All nodes, as a table or as JSON.
///
/// # Errors
/// The Admin API cannot be reached (69) or answers with an error (1).
pub fn list(admin_url: &str, json: bool) -> Result<String, ExitError> {
    let rows = block_on(rows(AdminClient::new(admin_url)?))?;
    if json {
        return Ok(format!("{:#}\n", Value::Array(rows)));
    }
    if rows.is_empty() {
        return Ok("No node has connected yet.\n".to_owned());
    }
    Ok(table(&rows))
}

async fn rows(client: AdminClient) -> Result<Vec<Value>, ExitError> {
    let mut rows = Vec::new();
    let mut next = Some(format!("/clustering/data-planes?size={PAGE_SIZE}"));
    for _ in 0..PAGES_MAX {
        let Some(path) = next else { break };
        let mut page = client.get(&path).await?;
        if let Some(Value::Array(data)) = page.get_mut("data").map(Value::take) {
            rows.extend(data);
        }
        next = page.get("next").and_then(Value::as_str).map(str::to_owned);
    }
    Ok(rows)
}

/// Columns as wide as their widest cell, two spaces apart.
fn table(rows: &[Value]) -> String {
    let mut lines = vec![COLUMNS.map(|(title, _)| title.to_owned())];
    lines.extend(rows.iter().map(|row| COLUMNS.map(|(_, field)| cell(row.get(field)))));
    let mut widths = [0; COLUMNS.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let padded = |line: &[String; COLUMNS.len()]| {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(padded).collect()
}

/// A value for people. What a node says of itself must not move the cursor.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::String(text)) => text.chars().filter(|c| !c.is_control()).collect(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_is_aligned_and_harmless() {
        let rows = [
            json!({"hostname": "edge-1", "id": "a", "ip": "10.0.0.1", "connected": true, "sync_status": "normal",
                   "applied_version": 7, "lag": 0}),
            json!({"hostname": "x\u{1b}[2J", "id": "b", "ip": "10.0.0.22", "connected": false,
                   "sync_status": "unknown", "applied_version": 12, "lag": null}),
        ];
        assert_eq!(
            table(&rows),
            "\
HOSTNAME  ID  ADDRESS    CONNECTED  STATUS   APPLIED  LAG
edge-1    a   10.0.0.1   yes        normal   7        0
x[2J      b   10.0.0.22  no         unknown  12       -
"
        );
    }
}
