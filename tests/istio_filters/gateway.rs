//! `ratelimit-gateway.yaml` and `request-authentication.yaml`, together as they are applied.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::composition::Proxy;

const FILES: [&str; 2] = ["ratelimit-gateway.yaml", "request-authentication.yaml"];

async fn gateway() -> Proxy {
    Proxy::start(&FILES).await
}

#[tokio::test]
async fn every_address_has_its_limit() {
    let gateway = gateway().await;
    assert_eq!(gateway.client(1).allowed("/", &[], 150).await, 100);
    assert_eq!(gateway.client(2).status("/", &[]).await, 200);
    let denied = gateway.client(1).get("/", &[]).await;
    assert_eq!(denied.header("ratelimit-policy"), r#""per-address";q=100;w=60"#);
    assert_ne!(denied.header("retry-after"), "");
    gateway.envoy.assert_no_decision_was_lost().await;
}

/// One client, whose first address stands in a header that anyone can write.
#[tokio::test]
async fn a_forged_address_is_not_believed() {
    let gateway = gateway().await;
    for number in 0..100 {
        let address = format!("192.0.2.{number}");
        assert_eq!(gateway.client(1).status("/", &[("x-forwarded-for", &address)]).await, 200);
    }
    assert_eq!(gateway.client(1).status("/", &[("x-forwarded-for", "192.0.2.200")]).await, 429);
}

#[tokio::test]
async fn a_user_with_a_verified_token_has_a_limit_wherever_requests_come_from() {
    let gateway = gateway().await;
    let (alice, bob) = (gateway.issuer.bearer("alice"), gateway.issuer.bearer("bob"));
    for number in 1..=30 {
        assert_eq!(gateway.client(number).status("/", &[("authorization", &alice)]).await, 200);
    }
    assert_eq!(gateway.client(31).status("/", &[("authorization", &alice)]).await, 429);
    assert_eq!(gateway.client(31).status("/", &[("authorization", &bob)]).await, 200);
    // The users' header has no part in it: neither does it help alice, nor does it harm anyone.
    assert_eq!(gateway.client(31).status("/", &[("authorization", &alice), ("x-user-id", "carol")]).await, 429);
    assert_eq!(gateway.client(31).status("/", &[("x-user-id", "alice")]).await, 200);
    gateway.envoy.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_token_that_another_signed_is_refused_and_not_counted() {
    let gateway = gateway().await;
    let forged = crate::token::Issuer::new().bearer("alice");
    for _ in 0..31 {
        assert_eq!(gateway.client(1).status("/", &[("authorization", &forged)]).await, 401);
    }
    let alice = gateway.issuer.bearer("alice");
    assert_eq!(gateway.client(1).allowed("/", &[("authorization", &alice)], 40).await, 30);
}

/// What the services behind the gateway see, and with them the proxies further in.
#[tokio::test]
async fn services_see_users_that_were_verified_and_no_others() {
    let gateway = gateway().await;
    let alice = gateway.issuer.bearer("alice");
    let seen =
        async |headers: &[(&str, &str)]| gateway.client(1).get("/", headers).await.header("x-seen-user").to_owned();
    assert_eq!(seen(&[("authorization", &alice)]).await, "alice");
    assert_eq!(seen(&[("x-user-id", "mallory")]).await, "");
    assert_eq!(seen(&[("authorization", &alice), ("x-user-id", "mallory")]).await, "alice");
    assert_eq!(seen(&[("x-user-id", "mallory"), ("X-User-Id", "mallory")]).await, "");
}

#[tokio::test]
async fn a_named_route_has_limits_of_its_own_instead() {
    let gateway = gateway().await;
    let client = gateway.client(1);
    assert_eq!(client.allowed("/login", &[], 10).await, 5);
    // Not one of them counted for the address.
    assert_eq!(client.allowed("/", &[], 150).await, 100);
    let log = gateway.envoy.access_log(107).await;
    let denied = &log[5];
    assert_eq!((&denied["path"], &denied["status"]), (&json!("/login"), &json!(429)));
    assert_eq!(denied["details"], "request_rate_limited");
    assert_eq!(denied["ratelimit"]["domain"], "edge");
    assert_eq!(denied["ratelimit"]["rule"], "login");
    assert_eq!((&denied["ratelimit"]["limit"], &denied["ratelimit"]["remaining"]), (&json!(5), &json!(0)));
    assert_eq!((&log[6]["status"], &log[6]["ratelimit"]["rule"]), (&json!(200), &json!("per-address")));
}

/// The file's own time for a decision, 20 ms, and its failure mode.
#[tokio::test]
async fn without_decisions_requests_pass_after_the_timeout() {
    let gateway = Proxy::start_with(&FILES, |_| ()).await;
    gateway.tidegate.signal("STOP");
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(gateway.client(1).status("/", &[]).await, 200);
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(100), "5 requests took only {took:?}: was it stopped?");
    // Far more than 5 x 20 ms, for a busy machine, and far less than any other timeout on the way.
    assert!(took < Duration::from_secs(3), "5 requests took {took:?}");
    assert_eq!(gateway.envoy.stat("cluster.backend.ratelimit.failure_mode_allowed").await, 5);
}

/// THE SWITCH of the file, turned.
#[tokio::test]
async fn with_the_switch_turned_requests_without_decisions_are_refused() {
    let gateway = Proxy::start_with(&FILES, |filter| {
        assert_eq!(filter["failure_mode_deny"], false);
        filter["failure_mode_deny"] = json!(true);
    })
    .await;
    gateway.tidegate.signal("STOP");
    assert_eq!(gateway.client(1).status("/", &[]).await, 503);
    assert_eq!(gateway.backend.requests(), 0);
}
