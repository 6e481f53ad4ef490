//! Tidegate is away, or does not answer.

use std::time::{Duration, Instant};

use crate::harness::{Backend, Configuration, Envoy, Gateway, Site, Tidegate, TidegateOptions, eventually};

const ALICE: (&str, &str) = ("x-user-id", "alice");

fn fail_closed(configuration: Configuration) -> Configuration {
    configuration.replace("failure_mode_deny: false", "failure_mode_deny: true")
}

async fn lost(envoy: &Envoy) -> (u64, u64) {
    let stat = |name: &'static str| async move { envoy.stat(&format!("cluster.backend.ratelimit.{name}")).await };
    (stat("error").await, stat("failure_mode_allowed").await)
}

#[tokio::test]
async fn without_tidegate_requests_pass_until_it_is_there() {
    let site = Site::new();
    let backend = Backend::start(&site);
    let address = site.free_address();
    let envoy = Envoy::start(&site, Configuration::ratelimit(), &[address], backend.address).await;
    let client = crate::harness::Client::new(envoy.address, [127, 1, 1, 1].into());
    for _ in 0..40 {
        let answer = client.get("/", &[ALICE]).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, ""));
    }
    assert_eq!(lost(&envoy).await, (40, 40));

    let _tidegate = Tidegate::start_at(&site, address, TidegateOptions::default()).await;
    envoy.finds_healthy("tidegate", 1).await;
    assert_eq!(client.allowed("/", &[ALICE], 60).await, 30);
    assert_eq!(lost(&envoy).await, (40, 40));
}

#[tokio::test]
async fn without_tidegate_requests_are_refused_where_envoy_fails_closed() {
    let site = Site::new();
    let backend = Backend::start(&site);
    let address = site.free_address();
    let envoy = Envoy::start(&site, fail_closed(Configuration::ratelimit()), &[address], backend.address).await;
    let client = crate::harness::Client::new(envoy.address, [127, 1, 1, 1].into());
    assert_eq!(client.status("/", &[ALICE]).await, 503);
    assert_eq!((lost(&envoy).await, backend.requests()), ((1, 0), 0));

    let _tidegate = Tidegate::start_at(&site, address, TidegateOptions::default()).await;
    envoy.finds_healthy("tidegate", 1).await;
    assert_eq!(client.allowed("/", &[ALICE], 60).await, 30);
}

/// The file's own time for a decision, 20 ms.
#[tokio::test]
async fn when_tidegate_hangs_requests_pass_after_the_timeout() {
    let gateway = Gateway::start_with(Configuration::read("ratelimit.yaml"), TidegateOptions::default()).await;
    let client = gateway.client(1);
    assert_eq!(client.status("/", &[]).await, 200);

    gateway.tidegate.signal("STOP");
    let (before, _) = lost(&gateway.envoy).await;
    let start = Instant::now();
    for _ in 0..5 {
        let answer = client.get("/", &[ALICE]).await;
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
    let configuration = fail_closed(Configuration::read("ratelimit.yaml"));
    let gateway = Gateway::start_with(configuration, TidegateOptions::default()).await;
    gateway.tidegate.signal("STOP");
    let before = gateway.backend.requests();
    assert_eq!(gateway.client(1).status("/", &[ALICE]).await, 503);
    assert_eq!(gateway.backend.requests(), before);
}
