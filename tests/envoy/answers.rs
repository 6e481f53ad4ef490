//! What clients and operators get to see of a decision.

use serde_json::{Value, json};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Configuration, Gateway, TidegateOptions};

const ALICE: (&str, &str) = ("x-user-id", "alice");

#[tokio::test]
async fn a_denial_tells_which_limit_and_when_to_retry() {
    let gateway = Gateway::start().await;
    let client = gateway.client(1);
    for left in (0..5).rev() {
        let answer = client.get("/login", &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, "served\n");
        assert_eq!(answer.header("ratelimit-policy"), r#""login";q=5;w=3600"#);
        assert_eq!(answer.parameter("ratelimit", "r"), left);
        assert!((3590..=3600).contains(&answer.parameter("ratelimit", "t")), "{answer:?}");
        assert_eq!(answer.header("retry-after"), "");
    }
    let denied = client.get("/login", &[]).await;
    assert_eq!(denied.status, 429);
    assert_eq!(denied.header("ratelimit-policy"), r#""login";q=5;w=3600"#);
    assert_eq!(denied.parameter("ratelimit", "r"), 0);
    let wait = denied.parameter("ratelimit", "t");
    assert!((3590..=3600).contains(&wait), "{denied:?}");
    assert_eq!(denied.header("retry-after"), wait.to_string());
    assert_eq!(denied.header("x-envoy-ratelimited"), "true");

    // Once, although Envoy gives bodies of its own making text/plain.
    let types: Vec<_> = denied.headers.get_all("content-type").iter().collect();
    assert_eq!(types, ["application/problem+json"]);
    let problem: Value = serde_json::from_slice(&denied.body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"], json!(["login"]));
    assert!(problem["detail"].as_str().unwrap().contains(&format!("try again in {wait} s")), "{problem}");
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn other_header_families_are_sent_when_configured() {
    let settings = vec![("TIDEGATE_LIMITER__RESPONSE_HEADERS", "draft,legacy,x")];
    let options = TidegateOptions { settings, ..TidegateOptions::default() };
    let gateway = Gateway::start_with(Configuration::ratelimit(), options).await;
    let client = gateway.client(1);
    assert_eq!(client.allowed("/login", &[], 5).await, 5);
    let denied = client.get("/login", &[]).await;
    assert_eq!(denied.status, 429);
    assert_eq!(denied.header("ratelimit-policy"), r#""login";q=5;w=3600"#);
    for family in ["ratelimit", "x-ratelimit"] {
        assert_eq!(denied.header(&format!("{family}-limit")), "5");
        assert_eq!(denied.header(&format!("{family}-remaining")), "0");
        assert_eq!(denied.header(&format!("{family}-reset")), denied.header("retry-after"));
    }
    assert_ne!(denied.header("retry-after"), "");
}

#[tokio::test]
async fn the_access_log_tells_which_rule_decided() {
    let gateway = Gateway::start().await;
    let client = gateway.client(1);
    assert_eq!(client.status("/", &[ALICE]).await, 200);
    assert_eq!(client.allowed("/login", &[], 10).await, 5);
    let log = gateway.envoy.access_log(7).await;

    let first = &log[0];
    assert_eq!((&first["client"], &first["status"]), (&json!("127.1.1.1"), &json!(200)));
    let decision = &first["ratelimit"];
    assert_eq!(
        [&decision["domain"], &decision["rule"], &decision["algorithm"]],
        ["edge", "per-user", "sliding_window_log"]
    );
    assert_eq!((&decision["limit"], &decision["remaining"]), (&json!(30), &json!(29)));
    assert!(decision["reset"].as_u64().is_some_and(|reset| (50..=60).contains(&reset)), "{decision}");

    let denied = &log[6];
    assert_eq!((&denied["status"], &denied["details"]), (&json!(429), &json!("request_rate_limited")));
    assert_eq!((&denied["ratelimit"]["rule"], &denied["ratelimit"]["remaining"]), (&json!("login"), &json!(0)));
}

#[tokio::test]
async fn a_limited_grpc_call_gets_resource_exhausted() {
    let gateway = Gateway::start().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", gateway.envoy.address)).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    for _ in 0..30 {
        let mut request = Request::new(HealthCheckRequest::default());
        request.metadata_mut().insert(ALICE.0, ALICE.1.parse().unwrap());
        client.check(request).await.unwrap();
    }
    let mut request = Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert(ALICE.0, ALICE.1.parse().unwrap());
    let status = client.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.metadata().get("retry-after").is_some(), "{status:?}");
    // Other users are served on the same connection.
    client.check(Request::new(HealthCheckRequest::default())).await.unwrap();
    gateway.assert_no_decision_was_lost().await;
}
