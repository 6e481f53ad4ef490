//! What an answer tells Envoy to do.

use tidegate::config::HeaderFamily;

use crate::site::{allowed, denied, get, metadata, names, request, server, server_with, values};

const ALICE: [(&str, &str); 1] = [("x-user", "alice")];

#[tokio::test]
async fn a_limit_is_counted_down_and_then_denies() {
    let mut site = server("").await;
    for left in ["2", "1", "0"] {
        let answer = site.check(get("/", &ALICE)).await;
        let told = metadata(&answer);
        let reset: u64 = told["reset"].parse().unwrap();
        assert!((1..=3600).contains(&reset), "{told:?}");
        let expected = [
            ("code", "OK"),
            ("domain", "api"),
            ("rule", "per-user"),
            ("algorithm", "fixed_window"),
            ("limit", "3"),
            ("remaining", left),
            ("revision", "1"),
            ("route", "users"),
        ];
        assert_eq!(told.len(), expected.len() + 1, "{told:?}");
        for (name, value) in expected {
            assert_eq!(told[name], value, "{name}");
        }
        let response = allowed(answer);
        assert_eq!(names(&response.headers), [""; 0]);
        assert_eq!(response.headers_to_remove, [""; 0]);
        let headers = &response.response_headers_to_add;
        assert_eq!(values(headers, "ratelimit-policy", false), [r#""per-user";q=3;w=3600"#]);
        assert_eq!(values(headers, "ratelimit", false), [format!(r#""per-user";r={left};t={reset}"#)]);
        assert_eq!(headers.len(), 2);
    }
    let answer = site.check(get("/", &ALICE)).await;
    assert_eq!(answer.status.as_ref().unwrap().code, 8);
    let told = metadata(&answer);
    assert_eq!((&*told["code"], &*told["rule"], &*told["remaining"]), ("OVER_LIMIT", "per-user", "0"));
    let response = denied(answer);
    assert_eq!(response.status.unwrap().code, 429);
    assert_eq!(names(&response.headers), ["RateLimit-Policy", "RateLimit", "Retry-After", "Content-Type"]);
    assert_eq!(values(&response.headers, "retry-after", true), [told["reset"].as_str()]);
    assert_eq!(values(&response.headers, "content-type", true), ["application/problem+json"]);
    let problem: serde_json::Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!((&problem["status"], &problem["violated-policies"][0]), (&429.into(), &"per-user".into()));
    site.allowed(get("/", &[("x-user", "bob")])).await;
}

#[tokio::test]
async fn what_is_not_asked_about_passes() {
    let mut site = server("").await;
    let answer = site.check(get("/free", &ALICE)).await;
    let told = metadata(&answer);
    assert_eq!((told.len(), &*told["code"], &*told["route"]), (2, "OK", "free"));
    assert_eq!(allowed(answer).response_headers_to_add, []);
    // Nor where the value is missing.
    for _ in 0..5 {
        let answer = site.check(get("/", &[])).await;
        assert_eq!(metadata(&answer)["route"], "users");
        assert_eq!(allowed(answer).response_headers_to_add, []);
    }
    let metrics = site.server.running.context.metrics.encode();
    for line in [
        r#"tidegate_ext_authz_answers_total{answered_by="nothing"} 6"#,
        r#"tidegate_ext_authz_answers_total{answered_by="limits"} 0"#,
        r#"tidegate_worker_requests_total{worker="0"} 6"#,
    ] {
        assert!(metrics.lines().any(|each| each == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn the_upstream_gets_what_the_settings_say_and_nothing_of_the_clients() {
    let more = r#"
  answer:
    upstream_headers: { x-user-id: "user {user}", x-tier: basic }
    remove_headers: [x-user, Cookie]
"#;
    let mut site = server(more).await;
    let both = site.allowed(get("/", &[("x-user", "alice\u{e9}\r\nx-evil: 1"), ("x-user-id", "admin")])).await;
    assert_eq!(values(&both.headers, "x-tier", true), ["basic"]);
    let user = values(&both.headers, "x-user-id", true);
    assert!(user.len() == 1 && user[0].starts_with("user alice"), "{user:?}");
    assert!(user[0].bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{user:?}");
    assert_eq!(both.headers.len(), 2);
    assert_eq!(both.headers_to_remove, ["cookie", "x-user"]);

    // On every way to an OK.
    for path in ["/", "/free"] {
        let one = site.allowed(get(path, &[("x-user-id", "admin")])).await;
        assert_eq!(names(&one.headers), ["x-tier"]);
        let mut removed = one.headers_to_remove;
        removed.sort_unstable();
        assert_eq!(removed, ["cookie", "x-user", "x-user-id"]);
    }
}

#[tokio::test]
async fn headers_and_metadata_follow_the_settings() {
    let yaml = format!("{}  answer: {{ response_headers: false }}\n", crate::site::SECTION);
    let change = |config: &mut tidegate::config::Config| {
        config.limiter.response_headers = vec![HeaderFamily::Legacy];
        config.limiter.dynamic_metadata = false;
    };
    let mut site = server_with(&yaml, change).await;
    let answer = site.check(get("/", &ALICE)).await;
    assert_eq!(answer.dynamic_metadata, None);
    assert_eq!(allowed(answer).response_headers_to_add, []);
    // A denial has them all the same.
    let denied = site.denied(get("/blocked", &ALICE)).await;
    assert_eq!(
        names(&denied.headers),
        ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Content-Type"],
        "and nobody is invited back where nothing ever passes"
    );
}

#[tokio::test]
async fn shadow_mode_lets_pass_and_tells() {
    let mut site = server_with(crate::site::SECTION, |config| config.limiter.shadow_mode = true).await;
    let answer = site.check(get("/blocked", &ALICE)).await;
    let told = metadata(&answer);
    assert_eq!((&*told["code"], &*told["shadow"]), ("OK", "true"));
    allowed(answer);
}

#[tokio::test]
async fn clients_of_grpc_get_a_status_of_theirs() {
    let mut site = server("").await;
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"] {
        let denied = site.denied(get("/blocked", &[("x-user", "a"), ("content-type", kind)])).await;
        assert_eq!(denied.status.unwrap().code, 429, "Envoy takes it for a status of gRPC");
        assert_eq!(values(&denied.headers, "grpc-status", true), ["8"]);
        assert_eq!(
            values(&denied.headers, "grpc-message", true),
            ["The limit 'blocked' of 0 per 86400s can never hold a request of this cost."]
        );
        assert_eq!(names(&denied.headers), ["RateLimit-Policy", "RateLimit", "grpc-status", "grpc-message"]);
        assert_eq!(denied.body, "");
    }
    let denied = site.denied(get("/odd", &[("x-user", "a"), ("content-type", "application/grpc")])).await;
    let message = values(&denied.headers, "grpc-message", true)[0];
    assert!(message.starts_with("The limit 'a \"<b>\" %C3%A9%25%0D%0AX-Evil: 1' of 0 per "), "{message}");
}

#[tokio::test]
async fn head_gets_no_body() {
    let mut site = server("").await;
    let denied = site.denied(request("HEAD", "192.0.2.1", "/blocked", &ALICE)).await;
    assert_eq!((denied.status.unwrap().code, &*denied.body), (429, ""));
    assert_eq!(names(&denied.headers), ["RateLimit-Policy", "RateLimit"]);
}
