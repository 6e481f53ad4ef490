//! Who may use the API: tokens and their scopes, the Unix socket, and what is open before there is a token.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod api_support;
mod process;
mod server_support;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use api_support::{Api, assert_problem, block_on, rule, start};
use process::{Answer, PATIENCE, get, texts, tidegate};
use serde_json::{Value, json};
use tidegate::config::Config;
use tidegate::rules::repository::Scope::{Operate, Read, WriteRules};
use tidegate::server::access::attempts::PER_MINUTE;
use tidegate::server::admin::proto::admin_client::AdminClient;
use tidegate::server::admin::proto::{CountersRequest, DescribeRulesRequest, Entry};
use tonic::Code;
use tonic::transport::Channel;

const RULE: &str = "/rate-limit/rules/edge/user_id=1";

fn with_token(api: &Api, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    api.call(method, path, &[("authorization", &format!("Bearer {token}"))], body)
}

#[test]
fn before_the_first_token_everybody_reads_and_nobody_changes() {
    let api = start(|_| {});
    assert_eq!(api.get("/rate-limit/rules").status, 200);
    assert_eq!(api.post("/rate-limit", json!({ "user_id": "1" })).status, 200);
    assert_problem(&api.put(RULE, rule(1)), 403, "make one with `tidegate token create`");
    assert_problem(&api.delete(RULE), 403, "there is no token yet");
    assert_problem(&api.get("/tokens"), 403, "there is no token yet");
    assert_problem(&api.call("POST", "/rate-limit/rules:accept", &[], None), 403, "there is no token yet");
    // A proxy may hand its client's header on.
    assert_eq!(with_token(&api, "theirs", "POST", "/rate-limit", Some(json!({ "user_id": "1" }))).status, 200);
    assert_problem(&with_token(&api, "tg_wrong", "GET", "/rate-limit/rules", None), 401, "the token is not known");
}

#[test]
fn each_call_needs_its_scope() {
    let api = start(|_| {});
    let (read, write, operate) =
        (api.token("reader", &[Read]), api.token("writer", &[WriteRules]), api.token("operator", &[Operate]));
    let refused = api.put(RULE, rule(1));
    assert_problem(&refused, 401, "needs a token with the scope 'write-rules'");
    assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert_problem(&with_token(&api, &read, "PUT", RULE, Some(rule(1))), 403, "'reader' lacks the scope 'write-rules'");
    let made = with_token(&api, &write, "PUT", RULE, Some(rule(1)));
    assert_eq!((made.status, &made.json()["created_by"]), (201, &json!("writer")));
    assert_problem(&with_token(&api, &write, "GET", RULE, None), 403, "'writer' lacks the scope 'read'");
    assert_eq!(with_token(&api, &read, "GET", RULE, None).status, 200);
    for path in [RULE, "/rate-limit/rules", "/rate-limit/history", "/rate-limit/overrides", "/tokens"] {
        assert_eq!(api.get(path).status, 401, "{path}");
    }
    // Decisions, too; health and the document stay open.
    let question = json!({ "user_id": "1" });
    assert_problem(&api.post("/rate-limit", question.clone()), 401, "'read'");
    assert_eq!(api.post("/json", json!({})).status, 401);
    assert_eq!(with_token(&api, &read, "POST", "/rate-limit", Some(question)).status, 200);
    for path in ["/healthcheck", "/livez", "/readyz", "/openapi.json", "/docs"] {
        assert_eq!(api.get(path).status, 200, "{path}");
    }
    assert_problem(&with_token(&api, &write, "GET", "/tokens", None), 403, "'operate'");
    assert_eq!(with_token(&api, &operate, "GET", "/tokens", None).status, 200);
    let basic = api.call("GET", RULE, &[("authorization", "Basic dTpw")], None);
    assert_problem(&basic, 401, "must be: Bearer");
}

#[test]
fn tokens_are_made_shown_once_and_revoked() {
    let api = start(|_| {});
    let operate = api.token("operator", &[Operate]);
    let made =
        with_token(&api, &operate, "POST", "/tokens", Some(json!({ "name": "ci", "scopes": ["read"], "for": "1h" })));
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")), "{made:?}");
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("tg_"));
    assert_eq!(made.json()["created_by"], "operator");
    assert_eq!(with_token(&api, &token, "GET", "/rate-limit/rules", None).status, 200, "known at once");
    let listed = with_token(&api, &operate, "GET", "/tokens", None);
    assert!(!listed.body.contains(&token) && listed.body.contains("\"ci\""), "{listed:?}");
    let create = |body| with_token(&api, &operate, "POST", "/tokens", Some(body));
    assert_problem(&create(json!({ "name": "ci", "scopes": ["read"] })), 409, "there is a token 'ci' already");
    assert_problem(&create(json!({ "name": "a b", "scopes": ["read"] })), 422, "name: must be 1 to 64");
    assert_problem(&create(json!({ "name": "x", "scopes": [] })), 422, "scopes: is empty");
    assert_problem(&create(json!({ "name": "x", "scopes": ["root"] })), 422, "scopes[0]: unknown variant `root`");
    assert_problem(
        &create(json!({ "name": "x", "scopes": ["read"], "expires": "2020-01-01T00:00:00Z" })),
        422,
        "expires",
    );
    assert_eq!(with_token(&api, &operate, "DELETE", "/tokens/ci", None).status, 204);
    assert_problem(&with_token(&api, &token, "GET", "/rate-limit/rules", None), 401, "was revoked");
    assert_problem(&with_token(&api, &operate, "DELETE", "/tokens/ci", None), 404, "no token of that name");
    // With the last token revoked, nothing is open again.
    assert_eq!(with_token(&api, &operate, "DELETE", "/tokens/operator", None).status, 204);
    assert_eq!(api.get("/rate-limit/rules").status, 401);
}

#[test]
fn wrong_tokens_are_limited_and_right_ones_are_not() {
    let api = start(|_| {});
    let read = api.token("reader", &[Read]);
    for _ in 0..PER_MINUTE {
        assert_eq!(with_token(&api, "tg_guess", "GET", RULE, None).status, 401);
    }
    let limited = with_token(&api, "tg_guess", "GET", RULE, None);
    assert_problem(&limited, 429, "too many wrong tokens");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(with_token(&api, &read, "GET", "/rate-limit/rules", None).status, 200);
    assert_eq!(api.get(RULE).status, 401, "no token is no guess");
    let metrics = get(api.running.admin_address, "/metrics").body;
    for line in [
        &format!("tidegate_refused_calls_total{{reason=\"wrong_token\"}} {}", PER_MINUTE + 1),
        "tidegate_refused_calls_total{reason=\"limited\"} 1",
        "tidegate_refused_calls_total{reason=\"no_token\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

fn over_socket(path: &Path, head: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "{head}\r\nhost: t\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_unix_socket_is_its_owners_and_needs_no_token() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("api.sock");
    let api = start(|config| config.http.unix_socket = Some(path.clone()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let made = over_socket(&path, &format!("PUT {RULE} HTTP/1.1"), &rule(1).to_string());
    assert!(made.starts_with("HTTP/1.1 201 "), "{made}");
    assert!(made.contains("\"created_by\":\"(uid "), "{made}");
    // The first token can be made so; from then on the port is closed, and the socket is not.
    let token = over_socket(&path, "POST /tokens HTTP/1.1", r#"{"name":"first","scopes":["read"]}"#);
    assert!(token.starts_with("HTTP/1.1 201 "), "{token}");
    assert_eq!(api.get(RULE).status, 401);
    assert!(over_socket(&path, &format!("GET {RULE} HTTP/1.1"), "").starts_with("HTTP/1.1 200 "));
    api.running.shutdown();
    block_on(api.running.wait());
    assert!(!path.exists(), "the socket file is removed");
}

async fn admin(api: &Api) -> AdminClient<Channel> {
    AdminClient::new(server_support::channel(api.running.admin_address).await)
}

fn bearing<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// The rules built in, in memory, instead of none.
fn with_examples(config: &mut Config) {
    config.rules.repository_file = None;
}

fn counters() -> CountersRequest {
    CountersRequest {
        domain: "edge".into(),
        entries: vec![Entry { key: "remote_address".into(), value: "192.0.2.1".into() }],
        limit: String::new(),
    }
}

#[test]
fn administration_asks_for_the_same_tokens() {
    let api = start(with_examples);
    block_on(async {
        let mut client = admin(&api).await;
        assert!(client.describe_rules(DescribeRulesRequest::default()).await.is_ok());
        assert!(client.get_counters(counters()).await.is_ok());
        let refused = client.reset_counters(counters()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("there is no token yet"), "{refused}");
    });
    let (read, operate) = (api.token("reader", &[Read]), api.token("operator", &[Operate]));
    block_on(async {
        let mut client = admin(&api).await;
        let refused = client.describe_rules(DescribeRulesRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(client.describe_rules(bearing(&read, DescribeRulesRequest::default())).await.is_ok());
        let refused = client.reset_counters(bearing(&read, counters())).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(client.reset_counters(bearing(&operate, counters())).await.is_ok());
        let refused = client.get_counters(bearing("tg_wrong", counters())).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    });
    assert_eq!(get(api.running.admin_address, "/metrics").status, 200);
    assert_eq!(get(api.running.admin_address, "/rlconfig").status, 401);
}

#[test]
fn commands_take_their_token_from_the_environment_or_a_file() {
    let api = start(with_examples);
    let operate = api.token("operator", &[Operate, Read]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{operate}\n")).unwrap();
    let server = format!("http://{}", api.running.admin_address);
    let reset = |variable: Option<(&str, &str)>| {
        let mut command = tidegate();
        command.args(["counters", "reset", "--domain", "edge", "remote_address=192.0.2.1", "--server", &server]);
        let output = command.envs(variable).output().unwrap();
        (output.status.code().unwrap(), texts(&output).1)
    };
    assert_eq!(reset(Some(("TIDEGATE_TOKEN", &operate))).0, 0);
    assert_eq!(reset(Some(("TIDEGATE_TOKEN_FILE", file.to_str().unwrap()))).0, 0);
    let (code, errors) = reset(None);
    assert_eq!(code, 1);
    assert!(errors.contains("needs a token with the scope 'operate'") && errors.contains("TIDEGATE_TOKEN"), "{errors}");
}

#[test]
fn whoever_asks_for_it_lets_in_everybody() {
    let api = start(|config| {
        with_examples(config);
        config.http.allow_unauthenticated = true;
    });
    assert_eq!(api.put(RULE, rule(1)).status, 201);
    block_on(async { assert!(admin(&api).await.reset_counters(counters()).await.is_ok()) });
    assert_problem(&with_token(&api, "tg_wrong", "GET", RULE, None), 401, "not known");
}
