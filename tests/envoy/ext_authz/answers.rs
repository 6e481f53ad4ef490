//! What clients, operators and the backend get to see of a decision.

use http::Method;
use serde_json::{Value, json};

use super::{ALLOWED, DENIED, gateway};
use crate::harness::Client;

/// The headers that the backend got.
async fn upstream(client: &Client, headers: &[(&str, &str)]) -> Value {
    let answer = client.get("/echo", headers).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_denial_tells_which_limit_and_when_to_retry() {
    let (gateway, _) = gateway().await;
    let client = gateway.client(1);
    for left in (0..5).rev() {
        let answer = client.get("/login", &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, "served\n");
        assert_eq!(answer.header("ratelimit-policy"), r#""login";q=5;w=3600"#);
        assert_eq!(answer.parameter("ratelimit", "r"), left);
        assert_eq!(answer.header("retry-after"), "");
    }
    let denied = client.get("/login", &[]).await;
    assert_eq!(denied.status, 429);
    assert_eq!(denied.header("ratelimit-policy"), r#""login";q=5;w=3600"#);
    assert_eq!(denied.parameter("ratelimit", "r"), 0);
    let wait = denied.parameter("ratelimit", "t");
    assert!((3590..=3600).contains(&wait), "{denied:?}");
    assert_eq!(denied.header("retry-after"), wait.to_string());

    // Once, although Envoy gives bodies of its own making text/plain.
    let types: Vec<_> = denied.headers.get_all("content-type").iter().collect();
    assert_eq!(types, ["application/problem+json"]);
    let problem: Value = serde_json::from_slice(&denied.body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!((&problem["status"], &problem["violated-policies"]), (&json!(429), &json!(["login"])));

    let head = client.send(Method::HEAD, "/login", &[]).await.unwrap();
    assert_eq!((head.status.as_u16(), head.body.len()), (429, 0));
    assert_ne!(head.header("retry-after"), "");

    // However the path is written, it is the path.
    for path in ["/login/", "//login", "/a/../login", "/%6cogin", "/login?x", "/./login"] {
        assert_eq!(client.status(path, &[]).await, 429, "{path}");
    }
    // Another client has another counter, and what is never asked about passes.
    assert_eq!(gateway.client(2).status("/login", &[]).await, 200);
    let health = client.get("/healthz", &[]).await;
    assert_eq!((health.status.as_u16(), health.header("ratelimit")), (200, ""));
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_route_says_what_a_call_costs() {
    let (gateway, _) = gateway().await;
    assert_eq!(gateway.client(1).allowed("/export", &[], 10).await, 4);
}

#[tokio::test]
async fn users_are_those_of_tokens_that_envoy_has_verified() {
    let (gateway, issuer) = gateway().await;
    let (alice, bob) =
        (issuer.bearer(json!({ "sub": "alice" })), issuer.bearer(json!({ "sub": "bob", "plan": "gold" })));
    let forged = super::Issuer::new().bearer(json!({ "sub": "carol" }));
    let from = |token: &'static str| [("authorization", token)];
    let [alice, bob, forged] = [alice, bob, forged].map(|token| from(token.leak()));
    // Of several addresses, since each has a limit of its own.
    assert_eq!(gateway.client(1).allowed("/", &alice, 99).await, 30);
    assert_eq!(gateway.client(2).allowed("/", &alice, 99).await, 0);
    assert_eq!(gateway.client(3).allowed("/", &bob, 99).await, 60);
    assert_eq!(gateway.client(4).status("/", &forged).await, 401);
    assert_eq!(gateway.client(4).status("/", &[]).await, 200);

    let got = upstream(&gateway.client(5), &issuer_headers(&issuer, "dave")).await;
    assert_eq!((&got["x-user-id"], &got["x-plan"]), (&json!(["dave"]), &json!(["standard"])));
    gateway.assert_no_decision_was_lost().await;
}

fn issuer_headers(issuer: &super::Issuer, user: &str) -> [(&'static str, &'static str); 1] {
    [("authorization", issuer.bearer(json!({ "sub": user })).leak())]
}

#[tokio::test]
async fn a_clients_own_words_never_reach_the_backend() {
    let issuer = super::Issuer::new();
    // Without what the file does at the edge: Tidegate's answer alone does it, too.
    let edge = "                        - remove: x-user-id\n                        - remove: x-plan\n";
    let other = "                        - remove: x-nobody-sends-this\n";
    let configuration = super::trusting(super::Configuration::ext_authz().replace(edge, other), &issuer);
    let gateway = super::Gateway::start_with(configuration, super::tidegate(super::settings())).await;
    let own = [("x-user-id", "admin"), ("X-User-Id", "root"), ("x-plan", "gold"), ("x-plan", "platinum")];

    let got = upstream(&gateway.client(1), &own).await;
    assert_eq!((&got["x-user-id"], &got["x-plan"]), (&Value::Null, &json!(["standard"])));
    let token = issuer_headers(&issuer, "erin");
    let got = upstream(&gateway.client(2), &[&own[..], &token[..]].concat()).await;
    assert_eq!((&got["x-user-id"], &got["x-plan"]), (&json!(["erin"]), &json!(["standard"])));
    // Nor where nothing is counted.
    let got = upstream(&gateway.client(ALLOWED), &own).await;
    assert_eq!((&got["x-user-id"], &got["x-plan"]), (&Value::Null, &json!(["standard"])));
    // What a user is called cannot be more than a value.
    let token = issuer_headers(&issuer, "a\r\nx-evil: 1\u{e9}");
    let got = upstream(&gateway.client(3), &token).await;
    assert_eq!(got["x-evil"], Value::Null);
    assert!(got["x-user-id"][0].as_str().is_some_and(|name| name.starts_with('a') && name.is_ascii()), "{got}");
}

#[tokio::test]
async fn lists_speak_before_limits() {
    let (gateway, _) = gateway().await;
    let denied = gateway.client(DENIED).get("/", &[]).await;
    assert_eq!((denied.status.as_u16(), denied.header("ratelimit")), (403, ""));
    assert_eq!(denied.header("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_slice(&denied.body).unwrap();
    assert_eq!(
        problem,
        json!({ "type": "about:blank", "title": "Forbidden", "status": 403, "detail": "Access is denied." })
    );
    assert_eq!(gateway.client(ALLOWED).allowed("/login", &[], 20).await, 20);

    let log = gateway.envoy.access_log(2).await;
    assert_eq!(
        [&log[0]["ext_authz"]["code"], &log[0]["ext_authz"]["list"], &log[0]["ext_authz"]["rule"]],
        [&json!("DENIED"), &json!("deny"), &Value::Null]
    );
    assert!(log[0]["ext_authz"]["entry"].as_str().is_some_and(|entry| entry.starts_with("127.1.1.66")), "{}", log[0]);
    assert_eq!(
        [&log[1]["ext_authz"]["code"], &log[1]["ext_authz"]["list"], &log[1]["ext_authz"]["route"]],
        [&json!("OK"), &json!("allow"), &json!("login")]
    );
    let metrics = gateway.tidegate.metrics().await;
    for line in [
        r#"tidegate_ext_authz_answers_total{answered_by="deny_list"} 1"#,
        r#"tidegate_ext_authz_answers_total{answered_by="allow_list"} 20"#,
        r#"tidegate_ext_authz_answers_total{answered_by="limits"} 0"#,
    ] {
        assert!(metrics.lines().any(|each| each == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn the_access_log_tells_which_rule_decided() {
    let (gateway, issuer) = gateway().await;
    let client = gateway.client(1);
    assert_eq!(client.status("/", &issuer_headers(&issuer, "alice")).await, 200);
    assert_eq!(client.allowed("/login", &[], 10).await, 5);
    let log = gateway.envoy.access_log(7).await;

    let first = &log[0];
    assert_eq!((&first["client"], &first["status"]), (&json!("127.1.1.1"), &json!(200)));
    let decision = &first["ext_authz"];
    assert_eq!(
        [&decision["code"], &decision["domain"], &decision["rule"], &decision["algorithm"], &decision["route"]],
        ["OK", "api", "per-user", "sliding_window_log", "all"]
    );
    assert_eq!((&decision["limit"], &decision["remaining"]), (&json!(30), &json!(29)));
    assert!(decision["reset"].as_u64().is_some_and(|reset| (50..=60).contains(&reset)), "{decision}");
    assert!(decision["revision"].as_u64().is_some_and(|revision| revision > 0), "{decision}");

    let denied = &log[6];
    assert_eq!((&denied["status"], &denied["details"]), (&json!(429), &json!("ext_authz_denied")));
    let decision = &denied["ext_authz"];
    assert_eq!(
        [&decision["code"], &decision["rule"], &decision["remaining"], &decision["route"]],
        [&json!("OVER_LIMIT"), &json!("login"), &json!(0), &json!("login")]
    );
}
