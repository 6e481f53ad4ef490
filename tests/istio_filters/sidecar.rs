//! `ratelimit-sidecar.yaml`.

use serde_json::json;

use crate::composition::Proxy;

#[tokio::test]
async fn a_user_has_a_limit_whoever_asks() {
    let sidecar = Proxy::start(&["ratelimit-sidecar.yaml"]).await;
    const ALICE: (&str, &str) = ("x-user-id", "alice");
    for number in 0..60 {
        assert_eq!(sidecar.client(1 + number % 3).status("/", &[ALICE]).await, 200);
    }
    assert_eq!(sidecar.client(4).status("/", &[ALICE]).await, 429);
    assert_eq!(sidecar.client(4).status("/", &[("x-user-id", "bob")]).await, 200);
    assert_eq!(sidecar.client(4).status("/", &[]).await, 200);
    let log = sidecar.envoy.access_log(63).await;
    assert_eq!((&log[60]["status"], &log[60]["ratelimit"]["domain"]), (&json!(429), &json!("mesh")));
    assert_eq!(log[60]["ratelimit"]["rule"], "per-user");
    assert_eq!((&log[62]["status"], &log[62]["ratelimit"]["rule"]), (&json!(200), &json!("backend-total")));
    sidecar.envoy.assert_no_decision_was_lost().await;
}

/// 200 at once; while they are sent, 100 a second come back, so somewhat more pass until the first is denied.
#[tokio::test]
async fn a_workload_has_a_limit_of_all_its_callers() {
    let sidecar = Proxy::start(&["ratelimit-sidecar.yaml"]).await;
    let burst = (0..100).map(|number| {
        let client = sidecar.client(number);
        async move {
            let mut denied = 0;
            for _ in 0..10 {
                match client.status("/", &[]).await {
                    200 => {}
                    429 => denied += 1,
                    other => panic!("status {other}"),
                }
            }
            denied
        }
    });
    let start = std::time::Instant::now();
    let denied: usize = futures_util::future::join_all(burst).await.into_iter().sum();
    let came_back = start.elapsed().as_millis() as usize / 10;
    let allowed = 1000 - denied;
    assert!((200..=201 + came_back).contains(&allowed), "{allowed} of 1000 allowed, {came_back} came back");
    assert_eq!(sidecar.backend.requests(), allowed);
    sidecar.envoy.assert_no_decision_was_lost().await;
}
