//! `cp-lite node`: the fleet, as the running control plane sees it.
//!
//! Rows come from `/clustering/data-planes`; [`table`] lays them out for people.

mod table;

use super::config::admin_client::AdminClient;
use super::config::block_on;
use os::{Exit, ExitError};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows per question to the Admin API.
const PAGE_SIZE: usize = 1000;
/// The most pages that are asked for.
const PAGES_MAX: usize = 1000;
/// The most nodes that are named when a name fits several.
const NAMED_MAX: usize = 5;

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
    Ok(table::list(&rows, now_s()))
}

/// Everything about one node. `name` is its id, the beginning of it, or its hostname.
///
/// # Errors
/// As [`list`]; and 1 when no node or more than one is meant.
pub fn show(admin_url: &str, name: &str, json: bool) -> Result<String, ExitError> {
    let rows = block_on(rows(AdminClient::new(admin_url)?))?;
    let row = the_one(&rows, name).map_err(|message| ExitError::new(Exit::Failed, message))?;
    Ok(if json { format!("{row:#}\n") } else { table::details(row, now_s()) })
}

/// Sends a node to another control plane, by the address that it knows that one by.
///
/// # Errors
/// As [`show`]; and 1 when the node cannot be sent, or not now.
pub fn send(admin_url: &str, name: &str, to: &str) -> Result<String, ExitError> {
    let failed = |message: String| ExitError::new(Exit::Failed, message);
    let (client, again) = (AdminClient::new(admin_url)?, AdminClient::new(admin_url)?);
    block_on(async {
        let rows = rows(client).await?;
        let row = the_one(&rows, name).map_err(failed)?;
        let path = format!("/clustering/data-planes/{}/move", field(row, "id"));
        let (status, answer) = again.post(&path, json!({ "to": to })).await?;
        if !status.is_success() {
            return Err(failed(field(&answer, "message").to_owned()));
        }
        Ok(format!("{} ({}) goes to {to}, if that is in its list.\n", field(row, "hostname"), field(row, "id")))
    })
}

/// Lets a node, or a control plane that follows, take what it holds back, or with no name all that hold something back. What each of them holds
/// back is told, and a node that holds back something else by the time it is asked is left alone.
///
/// # Errors
/// As [`show`]; and 1 where there was nothing to confirm or a node was left alone.
pub fn confirm(admin_url: &str, name: Option<&str>) -> Result<String, ExitError> {
    let failed = |message: String| ExitError::new(Exit::Failed, message);
    block_on(async {
        let mut rows = rows(AdminClient::new(admin_url)?).await?;
        rows.extend(followers_that_hold_back(AdminClient::new(admin_url)?).await?);
        let chosen: Vec<&Value> = match name {
            Some(name) => vec![the_one(&rows, name).map_err(failed)?],
            None => rows.iter().filter(|row| !row["held"].is_null()).collect(),
        };
        let mut told = String::new();
        let mut left_alone = Vec::new();
        for row in chosen {
            let (id, hostname, held) = (field(row, "id"), field(row, "hostname"), &row["held"]);
            if held.is_null() {
                return Err(failed(format!("{hostname} ({id}) holds nothing back")));
            }
            let body = json!({ "epoch": held["epoch"], "version": held["version"] });
            let path = format!("/clustering/data-planes/{id}/confirm");
            match AdminClient::new(admin_url)?.post(&path, body).await? {
                (status, _) if status.is_success() => {
                    told.push_str(&format!("{hostname} ({id}): {}\n", table::confirmed(held)))
                }
                (_, answer) => left_alone.push(format!("{hostname} ({id}): {}", field(&answer, "message"))),
            }
        }
        match (told.is_empty(), left_alone.is_empty()) {
            (_, false) => Err(failed(format!("{told}{}", left_alone.join("\n")))),
            (true, true) => Err(failed("no node holds anything back".to_owned())),
            (false, true) => Ok(told),
        }
    })
}

/// The control planes that follow and hold something back.
async fn followers_that_hold_back(client: AdminClient) -> Result<Vec<Value>, ExitError> {
    let mut planes = client.get("/clustering/control-planes").await?;
    let Some(Value::Array(mut rows)) = planes.get_mut("data").map(Value::take) else { return Ok(Vec::new()) };
    rows.retain(|row| row.get("held").is_some_and(|held| !held.is_null()));
    Ok(rows)
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

/// The row that a person means: the one with this id, else with this hostname, else whose id begins so.
fn the_one<'a>(rows: &'a [Value], name: &str) -> Result<&'a Value, String> {
    let ways: [&dyn Fn(&&Value) -> bool; 3] =
        [&|row| field(row, "id").eq_ignore_ascii_case(name), &|row| field(row, "hostname") == name, &|row| {
            !name.is_empty() && field(row, "id").starts_with(&name.to_ascii_lowercase())
        }];
    for way in ways {
        let found: Vec<&Value> = rows.iter().filter(|row| way(row)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one),
            several => {
                let ids: Vec<&str> = several.iter().take(NAMED_MAX).map(|row| field(row, "id")).collect();
                let more = if several.len() > NAMED_MAX { ", …" } else { "" };
                return Err(format!("{} nodes are called {name}: {}{more}", several.len(), ids.join(", ")));
            }
        }
    }
    Err(format!("no node is called {name}; \"cp-lite node list\" shows all {}", rows.len()))
}

fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_found_by_id_hostname_or_the_beginning_of_its_id() {
        let rows = [
            json!({"id": "aa11", "hostname": "edge-1"}),
            json!({"id": "aa22", "hostname": "edge-2"}),
            json!({"id": "bb33", "hostname": "edge-2"}),
        ];
        let id = |name: &str| the_one(&rows, name).map(|row| row["id"].as_str().unwrap());
        assert_eq!(id("AA11"), Ok("aa11"));
        assert_eq!(id("edge-1"), Ok("aa11"));
        assert_eq!(id("b"), Ok("bb33"));
        assert_eq!(id("edge-2").unwrap_err(), "2 nodes are called edge-2: aa22, bb33");
        assert_eq!(id("aa").unwrap_err(), "2 nodes are called aa: aa11, aa22");
        assert_eq!(id("").unwrap_err(), "no node is called ; \"cp-lite node list\" shows all 3");
    }
}
