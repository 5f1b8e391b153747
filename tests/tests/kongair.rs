//! Real input: Kong's demo airline. Its OpenAPI documents go the way of Kong's users, `openapi-2-kong` from npm, our
//! `config convert`, real decK, and answer through a data plane; its declarative file is judged thing by thing.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tests::lab::{Daemon, Lab, program};
use tests::origin::Origin;
use tests::pair::{Pair, head};

const DOCUMENTS: [&str; 4] = ["bookings", "customer", "flights", "routes"];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/kongair").join(name)
}

fn run(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    command.output().unwrap_or_else(|error| panic!("{shown}: {error}; tests/run installs it"))
}

fn succeeds(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = run(command);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}: {}\n{text}", output.status);
    text
}

/// The four documents as `openapi-2-kong` makes them (`_format_version` 1.1), converted to 3.0.
fn converted(lab: &Lab) -> Vec<PathBuf> {
    let tools = std::env::var_os("EDGE_TOOLS").map(PathBuf::from);
    let tools = tools.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"));
    let script = "const fs = require('fs'), o2k = require('openapi-2-kong'), [input, output] = process.argv.slice(1);\
        o2k.generate(input, 'kong-declarative-config', ['OAS3_import'])\
          .then(result => fs.writeFileSync(output, JSON.stringify((result.documents || result)[0])));";
    let convert = |name: &str| {
        let (old, new) = (lab.path().join(format!("{name}-1.1.json")), lab.path().join(format!("{name}.yaml")));
        let input = data(&format!("{name}.openapi.yaml"));
        succeeds(
            Command::new("node")
                .arg("-e")
                .arg(script)
                .args([&input, &old])
                .env("NODE_PATH", tools.join("node_modules")),
        );
        let written: Value = serde_json::from_str(&fs::read_to_string(&old).unwrap()).unwrap();
        assert_eq!(written["_format_version"], "1.1");
        succeeds(Command::new(program("cp-lite")).args(["config", "convert"]).args([&old, &new]));
        new
    };
    DOCUMENTS.iter().map(|name| convert(name)).collect()
}

fn deck(cp: &mut Daemon, verb: &str, files: &[PathBuf]) -> Command {
    let mut command = Command::new("deck");
    command.arg(verb).args(["--kong-addr", &format!("http://{}", cp.address("admin"))]).env("HOME", "/nonexistent");
    command.args(files.iter().flat_map(|file| [Path::new("-s"), file.as_path()]));
    command
}

/// Method, path template and title of every operation of a document.
fn operations(name: &str) -> (String, Vec<(String, String)>) {
    let text = fs::read_to_string(data(&format!("{name}.openapi.yaml"))).unwrap();
    let document: Value = serde_saphyr::from_str(&text).expect("a document");
    let title = document["info"]["title"].as_str().expect("a title").to_owned();
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item
            .as_object()
            .expect("operations")
            .keys()
            .filter(|key| ["get", "post", "put", "delete"].contains(&key.as_str()));
        methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    (title, paths.iter().flat_map(of_path).collect())
}

#[test]
fn every_operation_answers_from_its_own_service_after_one_sync_of_real_deck() {
    let mut pair = Pair::start();
    let files = converted(&pair.lab);
    let synced = succeeds(&mut deck(&mut pair.cp, "sync", &files));
    assert!(synced.contains("Created:") && !synced.contains("Created: 0"), "{synced}");
    let again = succeeds(deck(&mut pair.cp, "diff", &files).arg("--non-zero-exit-code"));
    assert!(again.contains("Created: 0") && again.contains("Updated: 0") && again.contains("Deleted: 0"), "{again}");

    let dump = pair.lab.path().join("dump.yaml");
    succeeds(deck(&mut pair.cp, "dump", &[]).arg("-o").arg(&dump));
    succeeds(deck(&mut pair.cp, "diff", std::slice::from_ref(&dump)).arg("--non-zero-exit-code"));
    succeeds(&mut deck(&mut pair.cp, "sync", &[dump]));

    // The documents' server is api.kong-air.com over TLS; an upstream of that name leads to the origin of this test.
    let origin = Origin::start_tls("api.kong-air.com");
    pair.cp.admin_ok("POST", "/upstreams", &json!({ "name": "api.kong-air.com" }));
    let target = json!({ "target": origin.address().to_string() });
    pair.cp.admin_ok("POST", "/upstreams/api.kong-air.com/targets", &target);
    pair.settle();

    let proxy = pair.dp.address("proxy");
    let mut answered = 0;
    for name in DOCUMENTS {
        let (title, operations) = operations(name);
        for (method, template) in operations {
            let path = template
                .split('/')
                .map(|part| if part.starts_with('{') { "KD924" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let asked = format!("{path}?date=2024-03-20");
            let answer = tests::http::request(proxy, &method, &asked, &[("Kong-Debug", "1")], b"").expect("an answer");
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
            let seen = answer.json();
            assert_eq!((seen["uri"].as_str(), seen["method"].as_str()), (Some(asked.as_str()), Some(method.as_str())));
            assert_eq!(seen["origin"], "api.kong-air.com");
            if path != "/health" {
                assert_eq!(
                    answer.header("kong-service-name"),
                    Some(title.replace(' ', "_").as_str()),
                    "{method} {path}"
                );
                answered += 1;
            }
        }
    }
    assert!(answered >= 8, "only {answered} operations");
    assert_eq!(tests::http::get(proxy, "/flights/KD924/nonsense", &[]).unwrap().status, 404);
}

#[test]
fn what_is_not_to_be_had_is_named_with_line_and_field_and_nothing_is_applied() {
    let mut pair = Pair::start();
    let file = data("kong.yaml");
    let output = run(Command::new(program("cp-lite")).args(["config", "validate"]).arg(&file));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(78), "{text}");
    let lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    let line_of = |wanted: &str| lines.iter().position(|line| line.contains(wanted)).expect("it is in the file") + 1;
    // A group is named where it is declared, and where a consumer wants to be in it.
    let wanted = [
        ("consumer_group 'gold'", line_of("- name: gold")),
        ("consumer_group 'lifetime'", line_of("- name: lifetime")),
        ("consumer_group 'platinum'", line_of("- name: platinum")),
        ("consumer_group 'silver'", line_of("- name: silver")),
        ("consumer 'dfreese' groups", line_of("- groups:")),
        ("consumer 'jdoe' groups", line_of("username: dfreese") + 1),
        ("consumer 'jsmith' groups", line_of("username: jdoe") + 1),
        ("plugin 'acme' name", line_of("name: acme")),
        ("plugin 'graphql-proxy-cache-advanced' name", line_of("name: graphql-proxy-cache-advanced")),
        ("plugin 'graphql-rate-limiting-advanced' name", line_of("name: graphql-rate-limiting-advanced")),
    ];
    for (thing, line) in wanted {
        let place = format!("kong.yaml:{line}:");
        assert!(text.lines().any(|line| line.contains(&place) && line.contains(thing)), "{thing} at {place}\n{text}");
    }
    assert_eq!(
        text.lines().filter(|line| line.contains("kong.yaml:")).count(),
        wanted.len() + 1,
        "and a line that counts them\n{text}"
    );
    assert!(!text.contains("jwt"), "what is to be had must not be named:\n{text}");

    let admin = format!("http://{}", pair.cp.address("admin"));
    let before = head(&mut pair.cp);
    let output =
        run(Command::new(program("cp-lite")).args(["config", "apply"]).arg(&file).args(["--admin-url", &admin]));
    assert!(!output.status.success());
    assert_eq!(head(&mut pair.cp), before);
    assert_eq!(pair.cp.admin_ok("GET", "/services", &Value::Null)["data"], json!([]));

    // With those taken out it applies, templates and all.
    let mut document: Value = serde_saphyr::from_str(&lines.join("\n")).expect("YAML");
    let object = document.as_object_mut().expect("an object");
    object.remove("consumer_groups");
    object.remove("plugins");
    for consumer in object["consumers"].as_array_mut().expect("consumers") {
        consumer.as_object_mut().expect("an object").remove("groups");
    }
    for service in object["services"].as_array_mut().expect("services") {
        if let Some(plugins) = service.get_mut("plugins").and_then(Value::as_array_mut) {
            plugins.retain(|plugin| !plugin["name"].as_str().unwrap_or_default().starts_with("graphql"));
        }
    }
    let rest = pair.lab.path().join("rest.json");
    fs::write(&rest, document.to_string()).unwrap();
    succeeds(Command::new(program("cp-lite")).args(["config", "apply"]).arg(&rest).args(["--admin-url", &admin]));
    pair.settle();
    // Its routes want TLS, and the bookings want a token.
    assert_eq!(pair.dp.get("/flights", &[]).status, 426);
    let plugins = pair.cp.admin_ok("GET", "/services/bookings-service/plugins", &Value::Null);
    assert_eq!(plugins["data"][0]["config"]["key_claim_name"], "iss");
}
