//! How much a request counts: the ways in which Envoy 1.40 can say it.

use crate::harness::{Configuration, Gateway, TidegateOptions};

const ALICE: (&str, &str) = ("x-user-id", "alice");

#[tokio::test]
async fn a_route_can_cost_a_fixed_number() {
    let gateway = Gateway::start().await;
    let client = gateway.client(1);
    for left in [75, 50, 25, 0] {
        let answer = client.get("/export", &[ALICE]).await;
        assert_eq!((answer.status.as_u16(), answer.parameter("ratelimit", "r")), (200, left));
    }
    assert_eq!(client.status("/export", &[ALICE]).await, 429);
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn the_cost_can_come_from_the_request() {
    let configuration = Configuration::ratelimit()
        .replace("hits_addend: { number: 25 }", r#"hits_addend: { format: "%REQ(x-cost)%" }"#);
    let gateway = Gateway::start_with(configuration, TidegateOptions::default()).await;
    let client = gateway.client(1);
    for (cost, status, left) in [("60", 200, 40), ("41", 429, 0), ("0", 200, 40), ("40", 200, 0), ("1", 429, 0)] {
        let answer = client.get("/export", &[ALICE, ("x-cost", cost)]).await;
        assert_eq!((answer.status.as_u16(), answer.parameter("ratelimit", "r")), (status, left), "cost {cost}");
    }
    gateway.assert_no_decision_was_lost().await;
}

/// A filter before the rate limit filter puts the cost into filter state; it is then the cost of the whole request, for
/// each descriptor without one of its own.
#[tokio::test]
async fn the_cost_can_come_from_filter_state() {
    let filter = "                  - name: envoy.filters.http.ratelimit\n";
    let set_state = r#"                  - name: envoy.filters.http.set_filter_state
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config
                      on_request_headers:
                        - object_key: envoy.ratelimit.hits_addend
                          format_string: { text_format_source: { inline_string: "%REQ(x-cost)%" } }
"#;
    let configuration = Configuration::ratelimit().replace(filter, &format!("{set_state}{filter}"));
    let gateway = Gateway::start_with(configuration, TidegateOptions::default()).await;
    let client = gateway.client(1);
    let answer = client.get("/", &[ALICE, ("x-cost", "20")]).await;
    assert_eq!((answer.status.as_u16(), answer.parameter("ratelimit", "r")), (200, 10));
    let answer = client.get("/", &[ALICE, ("x-cost", "11")]).await;
    assert_eq!((answer.status.as_u16(), answer.parameter("ratelimit", "r")), (429, 0));
    gateway.assert_no_decision_was_lost().await;
}

/// A descriptor can give hits back.
#[tokio::test]
async fn negative_hits_are_a_refund() {
    let configuration = Configuration::ratelimit().replace(
        "hits_addend: { number: 25 }",
        r#"hits_addend: { format: "%REQ(x-refund)%", is_negative_hits: true }"#,
    );
    // The same user and rule, charged on another route.
    let configuration = configuration.replace(
        "                        - match: { prefix: / }\n",
        r#"                        - match: { path: /charge }
                          route: { cluster: backend }
                          typed_per_filter_config:
                            envoy.filters.http.ratelimit:
                              "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute
                              rate_limits:
                                - actions:
                                    - generic_key: { descriptor_value: export }
                                    - request_headers: { header_name: x-user-id, descriptor_key: user_id }
                                  hits_addend: { number: 100 }
                        - match: { prefix: / }
"#,
    );
    let gateway = Gateway::start_with(configuration, TidegateOptions::default()).await;
    let client = gateway.client(1);
    assert_eq!(client.status("/charge", &[ALICE]).await, 200);
    assert_eq!(client.status("/charge", &[ALICE]).await, 429);
    assert_eq!(client.status("/export", &[ALICE, ("x-refund", "99")]).await, 200);
    assert_eq!(client.status("/charge", &[ALICE]).await, 429);
    assert_eq!(client.status("/export", &[ALICE, ("x-refund", "1")]).await, 200);
    assert_eq!(client.status("/charge", &[ALICE]).await, 200);
    gateway.assert_no_decision_was_lost().await;
}
