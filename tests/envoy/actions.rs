//! What Envoy's rate limit actions send, and what the rules make of it.

use std::time::Instant;

use crate::harness::Gateway;

const USER: &str = "x-user-id";

#[tokio::test]
async fn remote_address_limits_each_client() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.client(1).allowed("/", &[], 200).await, 100);
    assert_eq!(gateway.client(2).status("/", &[]).await, 200);
    assert_eq!(gateway.client(1).status("/", &[]).await, 429);
    // The backend saw only what was allowed.
    assert_eq!(gateway.backend.requests(), 101);
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn request_headers_limit_each_value() {
    let gateway = Gateway::start().await;
    let client = gateway.client(1);
    assert_eq!(client.allowed("/", &[(USER, "alice")], 60).await, 30);
    // From anywhere, but nobody else.
    assert_eq!(gateway.client(2).status("/", &[(USER, "alice")]).await, 429);
    assert_eq!(client.status("/", &[(USER, "bob")]).await, 200);
    assert_eq!(client.status("/", &[]).await, 200);
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn header_value_match_limits_all_that_match_together() {
    let gateway = Gateway::start().await;
    let crawler = [("user-agent", "ExampleBot/1.0 (+https://example.org)")];
    let start = Instant::now();
    let allowed = gateway.client(1).allowed("/", &crawler, 60).await;
    // A bucket of 10, to which one comes every 6 seconds.
    let refilled = usize::try_from(start.elapsed().as_secs() / 6 + 1).unwrap();
    assert!((10..=10 + refilled).contains(&allowed), "{allowed} of 10 + {refilled}");
    assert_eq!(gateway.client(1).status("/", &[("user-agent", "Mozilla/5.0")]).await, 200);
    assert_eq!(gateway.client(1).status("/", &[]).await, 200);
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn generic_key_limits_a_route() {
    let gateway = Gateway::start().await;
    let client = gateway.client(1);
    assert_eq!(client.allowed("/login", &[], 20).await, 5);
    assert_eq!(client.status("/", &[]).await, 200);
    // The rule is one level deeper: the route and the address.
    assert_eq!(gateway.client(2).status("/login", &[]).await, 200);
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_request_with_several_descriptors_must_satisfy_all() {
    let gateway = Gateway::start().await;
    let client = gateway.client(1);
    let both = client.get("/", &[(USER, "alice")]).await;
    assert_eq!(both.header("ratelimit-policy"), r#""per-address";q=100;w=60, "per-user";q=30;w=60"#);
    // The one with the least left is told.
    assert!(both.header("ratelimit").starts_with(r#""per-user";r=29;"#), "{both:?}");

    // Four users, each within their own limit, exhaust the address: 1 + 29 + 30 + 30 + 10.
    for (user, expected) in [("alice", 29), ("bob", 30), ("carol", 30), ("dave", 10)] {
        assert_eq!(client.allowed("/", &[(USER, user)], expected).await, expected, "{user}");
    }
    let denied = client.get("/", &[(USER, "dave")]).await;
    assert_eq!(denied.status, 429);
    assert!(denied.header("ratelimit").starts_with(r#""per-address";r=0;"#), "{denied:?}");
    assert_eq!(gateway.client(2).status("/", &[(USER, "dave")]).await, 200);
    gateway.assert_no_decision_was_lost().await;
}
