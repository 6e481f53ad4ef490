//! Envoy lets a request pass when its authorization fails. So nothing that a client sends may keep Tidegate from
//! deciding, or Envoy from understanding the answer.

use std::collections::HashSet;

use super::settings;
use crate::harness::{Configuration, Gateway, TidegateOptions};
use crate::hostile::{shown, values};

const RULES: &str = r#"
domain: api
descriptors:
  - key: user_id
    value_to_metric: true
    rate_limit: { unit: year, requests_per_unit: 1 }
"#;

/// A header names the user, which a client writes, and the upstream gets it.
async fn gateway(raw: bool) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("hostile.yaml");
    std::fs::write(&rules, RULES).unwrap();
    let mut configuration = Configuration::ext_authz().replace("- remove: x-user-id", "- remove: x-nobody-sends-this");
    if raw {
        let switch = "include_tls_session: true";
        let indent = " ".repeat(22);
        configuration = configuration.replace(switch, &format!("{switch}\n{indent}encode_raw_headers: true"));
    }
    let settings =
        settings().replace("{ claim: sub }", "{ header: x-user-id }").replace("[plan, user_id]", "[user_id]");
    let options = TidegateOptions { rules, file: Some(settings), ..TidegateOptions::default() };
    (Gateway::start_with(configuration, options).await, folder)
}

#[tokio::test]
async fn no_value_of_a_limited_header_escapes_its_limit() {
    for raw in [false, true] {
        let (gateway, _rules) = gateway(raw).await;
        let client = gateway.client(1);
        let mut seen = HashSet::new();
        for value in values() {
            // Envoy writes "!" for what is no UTF-8, unless it sends headers as they are; an empty header is none.
            let new =
                seen.insert(if raw { value.clone() } else { String::from_utf8_lossy(&value).into_owned().into() });
            let first = client.get_raw("/", &[("x-user-id", &value)]).await;
            if new || value.is_empty() {
                let ambiguous = !raw && std::str::from_utf8(&value).is_err();
                assert!(first.status == 200 || ambiguous, "{} bytes: {}", value.len(), shown(&value));
            }
            let second = client.get_raw("/", &[("x-user-id", &value)]).await;
            let expected = if value.is_empty() { 200 } else { 429 };
            assert_eq!(second.status, expected, "{} bytes, raw {raw}: {}", value.len(), shown(&value));
        }
        // Nor many of them: Envoy sends all joined, or one by one.
        let names: Vec<String> = (0..90).map(|number| format!("joined-{number}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| ("x-user-id", name.as_str())).collect();
        for expected in [200, 429] {
            assert_eq!(client.status("/", &many).await, expected, "raw {raw}");
        }
        gateway.assert_no_decision_was_lost().await;
        assert!(gateway.tidegate.metrics().await.lines().count() < 30_000);
    }
}

#[tokio::test]
async fn nothing_else_helps_a_limited_client() {
    let (gateway, _rules) = gateway(false).await;
    let client = gateway.client(1);
    let alice = ("x-user-id", &b"alice"[..]);
    assert_eq!(client.get_raw("/", &[alice]).await.status, 200);
    let names = [
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
        "x-envoy-expected-rq-timeout-ms",
        "traceparent",
        "grpc-timeout",
        "content-type",
        "cookie",
        "expect",
    ];
    for value in values().into_iter().step_by(7).chain([b"application/grpc".to_vec()]) {
        for name in names {
            let answer = client.get_raw("/", &[alice, (name, &value)]).await;
            // Limited, in gRPC's way if the client asked for it; or refused by Envoy.
            let limited = answer.status == 429 || answer.header("grpc-status") == "8";
            let refused = matches!(answer.status.as_u16(), 400 | 417 | 431);
            assert!(limited || refused, "{name}: {} gave {answer:?}", shown(&value));
        }
    }
    // As many headers as Envoy takes, before and after the one that counts.
    let names: Vec<String> = (0..90).map(|number| format!("x-other-{number}")).collect();
    let mut many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"v"[..])).collect();
    many.insert(45, alice);
    assert_eq!(client.get_raw("/", &many).await.status, 429);
    let long = format!("/{}?{}", "a/".repeat(10_000), "q".repeat(20_000));
    assert_eq!(client.get_raw(&long, &[alice]).await.status, 429);
    assert_eq!(gateway.backend.requests(), 1);
    gateway.assert_no_decision_was_lost().await;
}
