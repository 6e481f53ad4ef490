//! `deploy/envoy/token-budget.yaml`: nothing before the request, the real cost after the response.

use crate::harness::{Client, Configuration, Gateway, TidegateOptions, eventually};

async fn gateway() -> Gateway {
    Gateway::start_with(Configuration::token_budget(), TidegateOptions::default()).await
}

/// A completion of so many tokens; waits until Envoy has reported them, which it does after the response.
async fn completion(gateway: &Gateway, client: &Client, user: &str, tokens: u64) -> u16 {
    let before = reports(gateway).await;
    let status = client.status("/v1/chat/completions", &[("x-user-id", user), ("x-tokens", &tokens.to_string())]).await;
    if status == 200 {
        // One call asked whether there is anything left, one reported the cost.
        eventually("the cost is reported", || async { (reports(gateway).await >= before + 2).then_some(()) }).await;
    }
    status
}

/// Answers that Envoy got from Tidegate.
async fn reports(gateway: &Gateway) -> u64 {
    gateway.envoy.stat("cluster.tidegate.upstream_rq_completed").await
}

#[tokio::test]
async fn a_budget_of_1000_is_used_up_by_two_completions_of_500() {
    let gateway = gateway().await;
    let client = gateway.client(1);
    assert_eq!(completion(&gateway, &client, "alice", 500).await, 200);
    assert_eq!(completion(&gateway, &client, "alice", 500).await, 200);
    assert_eq!(completion(&gateway, &client, "alice", 500).await, 429);
    assert_eq!(completion(&gateway, &client, "bob", 500).await, 200);
    assert_eq!(gateway.backend.requests(), 3);
    gateway.assert_no_decision_was_lost().await;

    let log = gateway.envoy.access_log(4).await;
    let told: Vec<_> = log.iter().map(|line| (line["status"].clone(), line["tokens"].clone())).collect();
    assert_eq!(told[..3], [(200.into(), 500.into()), (200.into(), 500.into()), (429.into(), 0.into())]);
}

#[tokio::test]
async fn a_budget_may_be_overdrawn_once() {
    let gateway = gateway().await;
    let client = gateway.client(1);
    assert_eq!(completion(&gateway, &client, "alice", 999).await, 200);
    assert_eq!(completion(&gateway, &client, "alice", 5000).await, 200);
    assert_eq!(completion(&gateway, &client, "alice", 1).await, 429);
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_response_without_usage_costs_nothing() {
    let gateway = gateway().await;
    let client = gateway.client(1);
    assert_eq!(completion(&gateway, &client, "alice", 999).await, 200);
    for _ in 0..3 {
        assert_eq!(client.status("/v1/models", &[("x-user-id", "alice")]).await, 200);
    }
    // One is still left.
    assert_eq!(completion(&gateway, &client, "alice", 1).await, 200);
    assert_eq!(completion(&gateway, &client, "alice", 1).await, 429);
    gateway.assert_no_decision_was_lost().await;
}
