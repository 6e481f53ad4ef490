//! The API's document: `docs/openapi.json` is what the code says, and what the server serves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod process;

use std::collections::BTreeSet;
use std::path::Path;

use process::{Server, get};
use serde_json::Value;
use tidegate::server::http::openapi;

const RULES: &str = "domain: edge\ndescriptors: [{ key: user_id, rate_limit: { unlimited: true } }]\n";

#[test]
fn the_copy_in_the_documentation_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, openapi::text()).unwrap();
    }
    let copy = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(copy == openapi::text(), "docs/openapi.json is old; TIDEGATE_BLESS=1 cargo test --test openapi renews it");
}

#[test]
fn the_server_serves_it_and_a_page_that_needs_nothing_else() {
    let server = Server::start(RULES);
    let document = get(server.http, "/openapi.json");
    assert_eq!((document.status, document.header("content-type")), (200, Some("application/json")));
    assert_eq!(document.body, openapi::text());
    let page = get(server.http, "/docs");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    for elsewhere in ["http://", "https://", "src="] {
        assert!(!page.body.contains(elsewhere), "{elsewhere}");
    }
}

/// Every reference in a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name() {
    let document: Value = serde_json::from_str(openapi::text()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let names: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}
