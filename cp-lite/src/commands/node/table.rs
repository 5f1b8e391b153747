//! Rows of `/clustering/data-planes` for people: pure, time comes in as seconds since 1970.
//!
//! What a node says of itself must not move the cursor: control characters are left out of every cell.

use serde_json::Value;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The most characters of an error in a table; `node show` tells the rest.
const ERROR_CHARS_MAX: usize = 60;

/// A column: its title, and how its cell is made from a row at a time.
struct Column {
    title: &'static str,
    cell: fn(&Value, i64) -> String,
}

const COLUMNS: [Column; 10] = [
    Column { title: "HOSTNAME", cell: |row, _| plain(&row["hostname"]) },
    Column { title: "ID", cell: |row, _| plain(&row["id"]) },
    Column { title: "SOFTWARE", cell: |row, _| plain(&row["version"]) },
    Column { title: "CONNECTED", cell: |row, _| plain(&row["connected"]) },
    Column { title: "STATUS", cell: |row, _| status(row) },
    Column { title: "APPLIED", cell: |row, _| plain(&row["applied_version"]) },
    Column { title: "DURABLE", cell: |row, _| plain(&row["durable_version"]) },
    Column { title: "LAG", cell: |row, _| plain(&row["lag"]) },
    Column { title: "LAST SEEN", cell: |row, now| ago(&row["last_seen"], now) },
    Column { title: "LAST ERROR", cell: |row, _| shortened(&error(&row["last_error"])) },
];

/// One line per node, columns as wide as their widest cell, two spaces apart.
pub(super) fn list(rows: &[Value], now: i64) -> String {
    let mut lines = vec![COLUMNS.map(|column| column.title.to_owned())];
    lines.extend(rows.iter().map(|row| COLUMNS.map(|column| (column.cell)(row, now))));
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

/// One line per field.
pub(super) fn details(row: &Value, now: i64) -> String {
    let expires = &row["cert_details"]["expiry_timestamp"];
    let lines = [
        ("Hostname", plain(&row["hostname"])),
        ("Id", plain(&row["id"])),
        ("Address", plain(&row["ip"])),
        ("Software", plain(&row["version"])),
        ("Labels", labels(&row["labels"])),
        ("Connected", plain(&row["connected"])),
        ("Last seen", ago(&row["last_seen"], now)),
        ("Sync status", plain(&row["sync_status"])),
        ("Sync mode", plain(&row["mode"])),
        ("Epoch", plain(&row["epoch"])),
        ("Applied", plain(&row["applied_version"])),
        ("Durable", plain(&row["durable_version"])),
        ("Lag", plain(&row["lag"])),
        ("Held back", held(&row["held"])),
        ("Store", store(&row["store"])),
        ("Superseded", superseded(&row["superseded"], now)),
        ("Last error", error(&row["last_error"])),
        ("Withheld", each(&row["withheld"], |reason| plain(&reason["message"]))),
        ("Ignored", each(&row["ignored"], |field| format!("{}.{}", plain(&field["kind"]), plain(&field["field"])))),
        ("Bytes in", plain(&row["bytes_in"])),
        ("Bytes out", plain(&row["bytes_out"])),
        ("Certificate", expires.as_i64().map_or_else(|| "-".to_owned(), |at| expiry(at, now))),
    ];
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// How often another connection with the node's id took the place of one that was up.
fn superseded(value: &Value, now: i64) -> String {
    if value.is_null() {
        return "-".to_owned();
    }
    let (count, ip) = (plain(&value["count"]), plain(&value["ip"]));
    format!("{count} connections, the last from {ip} {}", ago(&value["at"], now))
}

/// What is wrong with the node's store.
fn store(store: &Value) -> String {
    let is = |what: &str, said: &str| (store[what] == true).then(|| said.to_owned());
    let lost = store["lost"].as_object().map(|lost| {
        format!("lost version {}, came back with {}", plain(&lost["durable_version"]), plain(&lost["found_version"]))
    });
    let said = [
        is("not_durable", "cannot be written"),
        is("damaged", "lost something"),
        is("from_file", "holds a declarative file"),
    ];
    let all: Vec<String> = said.into_iter().chain([lost]).flatten().collect();
    if all.is_empty() { "-".to_owned() } else { all.join("; ") }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}

fn labels(value: &Value) -> String {
    let labels = value.as_object().into_iter().flatten();
    let labels: Vec<String> = labels.map(|(key, value)| plain(&format!("{key}:{}", plain(value)).into())).collect();
    if labels.is_empty() { "-".to_owned() } else { labels.join(", ") }
}

fn each(list: &Value, show: impl Fn(&Value) -> String) -> String {
    let shown: Vec<String> = list.as_array().into_iter().flatten().map(show).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join("; ") }
}

/// Kong's word, unless the node holds something back.
fn status(row: &Value) -> String {
    if row["held"].is_null() { plain(&row["sync_status"]) } else { "held".to_owned() }
}

/// What was confirmed, in words.
pub(super) fn confirmed(held: &Value) -> String {
    let number = |name: &str| plain(&held[name]);
    format!("may take version {}, without {} of its {} entities", number("version"), number("gone"), number("of"))
}

fn held(value: &Value) -> String {
    if value.is_null() {
        return "-".to_owned();
    }
    let number = |name: &str| plain(&value[name]);
    format!(
        "version {} would take {} of {} entities away; \"cp-lite node confirm\" lets it",
        number("version"),
        number("gone"),
        number("of")
    )
}

fn error(value: &Value) -> String {
    if value.is_null() {
        return "-".to_owned();
    }
    let entity = match (&value["kind"], &value["id"]) {
        (Value::Null, _) => String::new(),
        (kind, Value::Null) => format!(", {}", plain(kind)),
        (kind, id) => format!(", {}/{}", plain(kind), plain(id)),
    };
    let code = value["code"].as_str().filter(|code| !code.is_empty());
    let code = code.map_or_else(String::new, |code| format!(" {}", plain(&code.replace('_', " ").into())));
    format!("version {}{code}{entity}: {}", plain(&value["version"]), plain(&value["message"]))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= ERROR_CHARS_MAX {
        return text.to_owned();
    }
    let kept: String = text.chars().take(ERROR_CHARS_MAX - 1).collect();
    format!("{kept}…")
}

fn ago(at: &Value, now: i64) -> String {
    at.as_i64().map_or_else(|| "-".to_owned(), |at| format!("{} ago", span(now.saturating_sub(at).max(0))))
}

fn expiry(at: i64, now: i64) -> String {
    let left = at.saturating_sub(now);
    if left > 0 { format!("expires in {}", span(left)) } else { format!("expired {} ago", span(-left)) }
}

/// A time in its largest whole unit.
fn span(seconds: i64) -> String {
    match seconds {
        ..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn the_table_is_aligned_and_harmless() {
        let rows = [
            json!({"hostname": "edge-1", "id": "a", "version": "0.1.0", "connected": true, "sync_status": "normal",
                   "applied_version": 7, "durable_version": 7, "lag": 0, "last_seen": NOW - 3, "last_error": null}),
            json!({"hostname": "x\u{1b}[2J", "id": "b", "version": "0.1.0", "connected": false,
                   "sync_status": "unknown", "applied_version": 12, "durable_version": 11, "lag": null,
                   "last_seen": NOW - 7300,
                   "last_error": {"version": 13, "code": "does_not_compile", "kind": "routes", "id": "r", "message": "bad\nregex"}}),
        ];
        assert_eq!(
            list(&rows, NOW),
            "\
HOSTNAME  ID  SOFTWARE  CONNECTED  STATUS   APPLIED  DURABLE  LAG  LAST SEEN  LAST ERROR
edge-1    a   0.1.0     yes        normal   7        7        0    3 s ago    -
x[2J      b   0.1.0     no         unknown  12       11       -    2 h ago    version 13 does not compile, routes/r: badregex
"
        );
    }

    #[test]
    fn one_node_is_told_field_by_field() {
        let row = json!({"hostname": "edge-1", "id": "a", "ip": "10.0.0.1", "version": "0.1.0",
            "labels": {"site": "berlin", "rack": "4"}, "connected": true, "last_seen": NOW - 60,
            "cert_details": {"expiry_timestamp": NOW + 3 * DAY}, "last_error": {"version": 9, "message": "m"},
            "withheld": [{"message": "no"}, {"message": "nor that"}], "ignored": [{"kind": "routes", "field": "f"}]});
        let text = details(&row, NOW);
        for line in [
            "Labels       site:berlin, rack:4",
            "Last seen    1 min ago",
            "Last error   version 9: m",
            "Withheld     no; nor that",
            "Ignored      routes.f",
            "Durable      -",
            "Certificate  expires in 3 d",
        ] {
            assert!(text.lines().any(|told| told == line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn a_long_error_does_not_break_the_table() {
        let text = shortened(&"é".repeat(ERROR_CHARS_MAX + 1));
        assert_eq!(text.chars().count(), ERROR_CHARS_MAX);
        assert!(text.ends_with("é…"));
    }
}
