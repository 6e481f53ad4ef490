//! Rules change while requests flow.

use std::path::Path;

use crate::harness::{Configuration, Gateway, TidegateOptions, Traffic, eventually, repository};

/// Puts a file in place as careful tools do: whole, by renaming.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn new_rules_hold_without_a_failed_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    let rules = std::fs::read_to_string(repository("deploy/envoy/rules/edge.yaml")).unwrap();
    assert_eq!(rules.matches("requests_per_unit: 30").count(), 1);
    put(&file, &rules);
    let options = TidegateOptions { rules: file.clone(), ..TidegateOptions::default() };
    let gateway = Gateway::start_with(Configuration::ratelimit(), options).await;
    let client = gateway.client(1);
    let traffic = Traffic::start(gateway.envoy.address, 4);
    traffic.flows(50).await;

    // A user who has used 10 of 30 keeps the counter: of 12, 2 are left.
    assert_eq!(client.allowed("/", &[("x-user-id", "alice")], 10).await, 10);
    put(&file, &rules.replace("requests_per_unit: 30", "requests_per_unit: 12"));
    in_force(&gateway, 12).await;
    assert_eq!(client.allowed("/", &[("x-user-id", "alice")], 30).await, 2);
    assert_eq!(gateway.client(2).allowed("/", &[("x-user-id", "bob")], 30).await, 12);

    // Broken rules change nothing.
    put(&file, &rules.replace("requests_per_unit: 30", "requests_per_minute: 1"));
    eventually("the mistake is noticed", || async {
        let metrics = gateway.tidegate.metrics().await;
        metrics.lines().any(|line| line == r#"tidegate_rule_set_loads_total{outcome="error"} 1"#).then_some(())
    })
    .await;
    assert_eq!(gateway.client(3).allowed("/", &[("x-user-id", "carol")], 30).await, 12);

    // And back.
    put(&file, &rules);
    in_force(&gateway, 30).await;
    assert_eq!(gateway.client(4).allowed("/", &[("x-user-id", "dave")], 60).await, 30);
    traffic.flows(50).await;
    traffic.end().await;
    gateway.assert_no_decision_was_lost().await;
}

/// Waits until users may send so many requests a minute.
async fn in_force(gateway: &Gateway, limit: u64) {
    let rule = format!("edge.user_id: unit=MINUTE requests_per_unit={limit},");
    eventually("the new rules are in force", || async {
        let rules = gateway.tidegate.admin.get("/rlconfig", &[]).await;
        String::from_utf8(rules.body.to_vec()).unwrap().contains(&rule).then_some(())
    })
    .await;
}
