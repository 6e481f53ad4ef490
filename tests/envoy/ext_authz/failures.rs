//! Tidegate is away, or does not answer.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{envoy_asking, settings, tidegate};
use crate::harness::{Client, Configuration, Envoy, Gateway, Site, Tidegate, eventually};

fn fail_closed(configuration: Configuration) -> Configuration {
    configuration.replace("failure_mode_allow: true", "failure_mode_allow: false")
}

async fn lost(envoy: &Envoy) -> (u64, u64) {
    let stat = |name: &'static str| async move { envoy.stat(&format!("cluster.backend.ext_authz.{name}")).await };
    (stat("error").await, stat("failure_mode_allowed").await)
}

fn client(envoy: &Envoy) -> Client {
    Client::new(envoy.address, [127, 1, 1, 1].into())
}

#[tokio::test]
async fn without_tidegate_requests_pass_until_it_is_there() {
    let site = Site::new();
    let address = site.free_address();
    let (envoy, _backend) = envoy_asking(&site, Configuration::ext_authz(), address).await;
    let client = client(&envoy);
    for _ in 0..10 {
        let answer = client.get("/login", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, ""));
    }
    // What a client says of itself does not reach the backend all the same.
    let answer = client.get("/echo", &[("x-user-id", "admin"), ("x-plan", "gold")]).await;
    let got: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&got["x-user-id"], &got["x-plan"]), (&Value::Null, &Value::Null));
    assert_eq!(lost(&envoy).await, (11, 11));

    let _tidegate = Tidegate::start_at(&site, address, tidegate(settings())).await;
    envoy.finds_healthy("tidegate", 1).await;
    assert_eq!(client.allowed("/login", &[], 20).await, 5);
    assert_eq!(lost(&envoy).await, (11, 11));
}

#[tokio::test]
async fn without_tidegate_requests_are_refused_where_envoy_fails_closed() {
    let site = Site::new();
    let address = site.free_address();
    let (envoy, backend) = envoy_asking(&site, fail_closed(Configuration::ext_authz()), address).await;
    let client = client(&envoy);
    assert_eq!(client.status("/", &[]).await, 503);
    assert_eq!((lost(&envoy).await, backend.requests()), ((1, 0), 0));

    let _tidegate = Tidegate::start_at(&site, address, tidegate(settings())).await;
    envoy.finds_healthy("tidegate", 1).await;
    assert_eq!(client.allowed("/login", &[], 20).await, 5);
}

/// The file's own time for a decision, 20 ms.
#[tokio::test]
async fn when_tidegate_hangs_requests_pass_after_the_timeout() {
    let gateway = Gateway::start_with(Configuration::read("ext-authz.yaml"), tidegate(settings())).await;
    let client = gateway.client(1);
    assert_eq!(client.status("/", &[]).await, 200);

    gateway.tidegate.signal("STOP");
    let (before, _) = lost(&gateway.envoy).await;
    let start = Instant::now();
    for _ in 0..5 {
        let answer = client.get("/", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, ""));
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(100), "5 requests took only {took:?}: was it stopped?");
    // Far more than 5 x 20 ms, for a busy machine, and far less than any other timeout on the way.
    assert!(took < Duration::from_secs(3), "5 requests took {took:?}");
    let (after, _) = lost(&gateway.envoy).await;
    assert_eq!(after, before + 5);

    gateway.tidegate.signal("CONT");
    eventually("decisions are back", || async {
        let answer = client.get("/", &[]).await;
        assert_eq!(answer.status, 200);
        (!answer.header("ratelimit").is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn when_tidegate_hangs_requests_are_refused_where_envoy_fails_closed() {
    let configuration = fail_closed(Configuration::read("ext-authz.yaml"));
    let gateway = Gateway::start_with(configuration, tidegate(settings())).await;
    gateway.tidegate.signal("STOP");
    let before = gateway.backend.requests();
    assert_eq!(gateway.client(1).status("/", &[]).await, 503);
    assert_eq!(gateway.backend.requests(), before);
}
