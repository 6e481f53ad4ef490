//! The gRPC port as Envoy sees it: real sockets, a real client.

mod server_support;

use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use server_support::{OK, OVER_LIMIT, eventually, headers, request, start};
use tonic::Code;

const RULES: &str = r#"
domain: edge
descriptors:
  - key: user
    rate_limit: { name: per-user, unit: hour, requests_per_unit: 3 }
  - key: free
    rate_limit: { unlimited: true }
  - key: blocked
    rate_limit: { unit: day, requests_per_unit: 0 }
"#;

#[tokio::test]
async fn a_limit_is_counted_down_and_then_denies() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    for left in [2, 1, 0] {
        let answer = client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap().into_inner();
        assert_eq!(answer.overall_code, OK);
        let status = &answer.statuses[0];
        assert_eq!((status.code, status.limit_remaining), (OK, left));
        let limit = status.current_limit.as_ref().unwrap();
        assert_eq!((limit.name.as_str(), limit.requests_per_unit, limit.unit), ("per-user", 3, 3));
        let reset = status.duration_until_reset.as_ref().unwrap().seconds;
        assert!((1..=3600).contains(&reset), "{reset}");
        assert_eq!(headers(&answer, "ratelimit-policy"), [r#""per-user";q=3;w=3600"#]);
        assert_eq!(headers(&answer, "ratelimit"), [format!(r#""per-user";r={left};t={reset}"#)]);
        assert!(headers(&answer, "retry-after").is_empty());
        assert!(answer.raw_body.is_empty());
    }
    let answer = client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap().into_inner();
    assert_eq!((answer.overall_code, answer.statuses[0].code), (OVER_LIMIT, OVER_LIMIT));
    let reset = answer.statuses[0].duration_until_reset.as_ref().unwrap().seconds;
    assert_eq!(headers(&answer, "retry-after"), [reset.to_string()]);
    assert_eq!(headers(&answer, "content-type"), ["application/problem+json"]);
    let body: serde_json::Value = serde_json::from_slice(&answer.raw_body).unwrap();
    assert_eq!(body["violated-policies"], serde_json::json!(["per-user"]));
    assert_eq!(body["status"], 429);
    let answer = client.should_rate_limit(request("edge", &[&[("user", "b")]])).await.unwrap().into_inner();
    assert_eq!(answer.overall_code, OK, "another value has another counter");
}

#[tokio::test]
async fn what_matches_nothing_passes() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    for (domain, key) in [("unknown", "user"), ("edge", "nothing")] {
        let answer = client.should_rate_limit(request(domain, &[&[(key, "a")]])).await.unwrap().into_inner();
        assert_eq!(answer.overall_code, OK);
        assert_eq!(answer.statuses.len(), 1);
        assert_eq!(answer.statuses[0].code, OK);
        assert_eq!(answer.statuses[0].current_limit, None);
        assert_eq!(answer.statuses[0].duration_until_reset, None);
        assert!(answer.response_headers_to_add.is_empty());
    }
    let answer = client.should_rate_limit(request("edge", &[&[("free", "a")]])).await.unwrap().into_inner();
    assert_eq!(answer.statuses[0].limit_remaining, u32::MAX);
    assert_eq!(answer.statuses[0].current_limit, None);
}

#[tokio::test]
async fn a_limit_of_zero_denies_and_invites_nobody_back() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    let answer = client.should_rate_limit(request("edge", &[&[("blocked", "a")]])).await.unwrap().into_inner();
    assert_eq!(answer.overall_code, OVER_LIMIT);
    assert!(headers(&answer, "retry-after").is_empty());
    assert_eq!(headers(&answer, "ratelimit-policy"), [r#""blocked";q=0;w=86400"#]);
}

#[tokio::test]
async fn requests_without_meaning_are_told_so() {
    let server = start(RULES, |_| {});
    let mut client = server.client().await;
    let no_domain = client.should_rate_limit(request("", &[&[("user", "a")]])).await.unwrap_err();
    assert_eq!((no_domain.code(), no_domain.message()), (Code::InvalidArgument, "rate limit domain must not be empty"));
    let empty = RateLimitRequest { domain: "edge".to_owned(), ..RateLimitRequest::default() };
    let no_descriptors = client.should_rate_limit(empty).await.unwrap_err();
    assert_eq!(
        (no_descriptors.code(), no_descriptors.message()),
        (Code::InvalidArgument, "rate limit descriptor list must not be empty")
    );
}

#[tokio::test]
async fn an_end_lets_go_of_everything() {
    let server = start(RULES, |config| config.shutdown.drain_period = Duration::from_millis(50));
    let mut client = server.client().await;
    client.should_rate_limit(request("edge", &[&[("user", "a")]])).await.unwrap();
    server.running.shutdown();
    tokio::time::timeout(server_support::SOON, server.running.wait()).await.expect("it ends");
    eventually("the port's refusal", async || tokio::net::TcpStream::connect(server.address()).await.is_err()).await;
}
