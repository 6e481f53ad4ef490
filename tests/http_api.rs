//! The HTTP listener of the real binary, over real sockets: decisions, health, and every kind of bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod process;

use std::io::{ErrorKind, Write as _};
use std::time::{Duration, Instant};

use process::{Answer, PATIENCE, Server, connect, get, post, read_answer, request};
use serde_json::json;

const RULES: &str = "
domain: edge
descriptors:
  - key: user_id
    rate_limit: { name: per-user, unit: day, requests_per_unit: 3 }
  - key: ip_address
    rate_limit: { unit: day, requests_per_unit: 1000 }
  - key: user_id
    value: watched
    shadow_mode: true
    rate_limit: { unit: day, requests_per_unit: 1 }
  - key: path
    value: /login
    rate_limit: { unit: day, requests_per_unit: 2 }
  - key: api
    rate_limit: { unit: day, requests_per_unit: 5 }
";

/// A problem document with this status.
fn assert_problem(answer: &Answer, status: u16, detail: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let document = answer.json();
    assert_eq!(document["status"], status, "{document}");
    assert!(document["detail"].as_str().unwrap().contains(detail), "{document}");
}

#[test]
fn requests_pass_until_the_limit_and_then_get_a_problem_with_retry_after() {
    let server = Server::start(RULES);
    let body = r#"{"user_id": "alice", "ip_address": "192.0.2.1"}"#;
    for left in [2, 1, 0] {
        let answer = server.rate_limit(body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let document = answer.json();
        assert_eq!(document["allowed"], true);
        assert_eq!(document["rule"], "user_id");
        assert_eq!(document["name"], "per-user");
        assert_eq!(document["limit"], 3);
        assert_eq!(document["remaining"], left);
        assert_eq!(answer.header("ratelimit-policy").unwrap().matches("per-user").count(), 1);
        assert!(answer.header("ratelimit").unwrap().starts_with(&format!("\"per-user\";r={left};t=")), "{answer:?}");
        assert_eq!(answer.header("retry-after"), None);
    }
    let denied = server.rate_limit(body);
    assert_problem(&denied, 429, "per-user");
    let document = denied.json();
    assert_eq!(document["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(document["violated-policies"], json!(["per-user"]));
    assert_eq!(document["allowed"], false);
    let retry_after = denied.header("retry-after").unwrap();
    assert_eq!(document["retry_after_seconds"].to_string(), retry_after);
    assert_eq!(server.rate_limit(r#"{"user_id": "bob"}"#).status, 200, "others have counters of their own");
}

#[test]
fn zero_hits_ask_and_consume_nothing() {
    let server = Server::start(RULES);
    for _ in 0..5 {
        assert_eq!(server.rate_limit(r#"{"user_id": "alice", "hits": 0}"#).json()["remaining"], 3);
    }
    let all = server.rate_limit(r#"{"user_id": "alice", "hits": 3}"#);
    assert_eq!((all.status, all.json()["remaining"].as_u64()), (200, Some(0)));
    assert_eq!(server.rate_limit(r#"{"user_id": "alice", "hits": 4294967295}"#).status, 429);
}

#[test]
fn what_no_rule_speaks_of_is_allowed_with_a_note() {
    let server = Server::start(RULES);
    let answer = server.rate_limit(r#"{"user_id": "alice", "domain": "nowhere"}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["rule"], json!(null));
    assert_eq!(answer.json()["note"], "no rules for domain 'nowhere'");
}

#[test]
fn shadow_mode_is_told_and_denies_nothing() {
    let server = Server::start(RULES);
    server.rate_limit(r#"{"user_id": "watched"}"#);
    let answer = server.rate_limit(r#"{"user_id": "watched"}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["shadowed"], true);
}

#[test]
fn paths_have_limits_too() {
    let server = Server::start(RULES);
    let codes: Vec<u16> = (0..3)
        .map(|at| server.rate_limit(&format!(r#"{{"user_id": "u{at}", "path": "/login", "method": "POST"}}"#)).status)
        .collect();
    assert_eq!(codes, [200, 200, 429]);
}

#[test]
fn not_json_is_refused_with_line_and_column() {
    let server = Server::start(RULES);
    assert_problem(&server.rate_limit("{\n  \"user_id\": alice\n}"), 400, "line 2 column 14");
    assert_problem(&server.rate_limit(""), 400, "body: is empty");
    assert_problem(&server.rate_limit("[1, 2]"), 422, "body: must be an object, got a list");
    assert_problem(
        &post(server.http, "/rate-limit", "application/json", b"{\"user_id\": \"\xff\"}"),
        400,
        "not valid JSON",
    );
    assert_problem(&server.rate_limit(&"[".repeat(10_000)), 400, "recursion limit");
    assert_eq!(server.rate_limit(r#"{"user_id": "alice"}"#).status, 200, "the server keeps answering");
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let server = Server::start(RULES);
    let answer = server.rate_limit(r#"{"user_id": "alice", "usr": 1}"#);
    assert_problem(&answer, 422, "usr: unknown field");
    assert_eq!(answer.json()["errors"][0]["field"], "usr");
    let answer = server.json(r#"{"domain": "edge", "descriptors": [{"entries": [{"key": "api", "val": ""}]}]}"#);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, "descriptors[0].entries[0].val: unknown field; known are key, value\n");
}

#[test]
fn negative_and_huge_numbers_are_refused_by_name() {
    let server = Server::start(RULES);
    for hits in ["-1", "4294967296", "1e30", "1.5", "\"1\"", "99999999999999999999999999"] {
        let answer = server.rate_limit(&format!(r#"{{"user_id": "alice", "hits": {hits}}}"#));
        assert_problem(&answer, 422, "hits: must be a whole number from 0 to 4294967295, got ");
    }
    let answer = server.json(r#"{"domain": "edge", "hitsAddend": -5, "descriptors": []}"#);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, "hits_addend: must be a whole number from 0 to 4294967295, got -5\n");
    assert_eq!(server.rate_limit(r#"{"user_id": "alice", "hits": 0}"#).json()["remaining"], 3, "nothing was charged");
}

#[test]
fn wrong_values_are_refused_by_name() {
    let server = Server::start(RULES);
    assert_problem(&server.rate_limit("{}"), 422, "user_id or ip_address must be given");
    assert_problem(&server.rate_limit(r#"{"ip_address": "10.0.0.256"}"#), 422, "ip_address: must be an IPv4 or IPv6");
    assert_problem(&server.rate_limit(r#"{"user_id": 7}"#), 422, "user_id: must be a string, got 7");
    let form = post(server.http, "/rate-limit", "application/x-www-form-urlencoded", b"{}");
    assert_problem(&form, 415, "must be application/json, got 'application/x-www-form-urlencoded'");
}

#[test]
fn unknown_paths_and_methods_are_problems() {
    let server = Server::start(RULES);
    assert_problem(&get(server.http, "/nothing"), 404, "/nothing");
    let answer = get(server.http, "/rate-limit");
    assert_problem(&answer, 405, "GET is not for /rate-limit");
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[test]
fn bodies_that_are_too_large_are_refused_without_being_read() {
    let server = Server::start_with(RULES, &[], &[("TIDEGATE_HTTP__MAX_BODY_BYTES", "4096")]);
    let large = format!(r#"{{"user_id": "{}"}}"#, "x".repeat(5000));
    assert_problem(&server.rate_limit(&large), 413, "body: larger than");
    assert_eq!(server.json(&large).status, 413);
    // Not announced: cut once it is too large.
    let mut stream = connect(server.http);
    stream.write_all(b"POST /rate-limit HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    while stream.write_all(chunk.as_bytes()).is_ok() {}
    assert_problem(&read_answer(&mut stream), 413, "body: larger than");
    // Announced, and never sent.
    let mut stream = connect(server.http);
    stream
        .write_all(b"POST /rate-limit HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 9999999999\r\n\r\n")
        .unwrap();
    assert_problem(&read_answer(&mut stream), 413, "body: larger than");
    assert_eq!(server.rate_limit(r#"{"user_id": "alice"}"#).status, 200, "the server keeps answering");
}

#[test]
fn a_body_that_never_ends_is_cut() {
    let server = Server::start_with(RULES, &[], &[("TIDEGATE_HTTP__REQUEST_TIMEOUT", "200ms")]);
    let mut stream = connect(server.http);
    stream
        .write_all(b"POST /rate-limit HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        .unwrap();
    assert_problem(&read_answer(&mut stream), 408, "not complete within 200ms");
}

#[test]
fn slow_clients_are_cut_while_others_are_served() {
    let server = Server::start(RULES);
    // One says nothing, one dribbles a head that never ends.
    let mut silent = connect(server.http);
    let mut dribbling = connect(server.http);
    dribbling.write_all(b"POST /rate-limit HTTP/1.1\r\nhost: t\r\n").unwrap();
    let writer = dribbling.try_clone().unwrap();
    let dribble = std::thread::spawn(move || {
        let mut writer = writer;
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if writer.write_all(b"x-slow: 1\r\n").is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    });
    assert_eq!(server.rate_limit(r#"{"user_id": "alice"}"#).status, 200);
    // Reading ends when the server closes; PATIENCE is more than its limit.
    let mut rest = Vec::new();
    assert!(std::io::Read::read_to_end(&mut silent, &mut rest).is_ok(), "the silent client is still connected");
    assert!(dribble.join().unwrap(), "the dribbling client is still connected");
}

#[test]
fn clients_that_ask_and_never_read_are_cut() {
    let server = Server::start(RULES);
    let mut stream = connect(server.http);
    let started = Instant::now();
    // Both sides' buffers fill, then writing waits until the server gives up; PATIENCE is more than its limit.
    let error = loop {
        if let Err(error) = stream.write_all(&b"GET /nothing HTTP/1.1\r\nhost: t\r\n\r\n".repeat(1000)) {
            break error;
        }
        assert!(started.elapsed() < PATIENCE, "the server keeps answering into the void");
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "still connected: {error}");
}

#[test]
fn health_says_what_it_is_made_of() {
    let server = Server::start(RULES);
    assert_eq!((get(server.http, "/healthcheck").status, get(server.http, "/healthcheck").body.as_str()), (200, "OK"));
    assert_eq!(get(server.http, "/livez").status, 200);
    assert_eq!(get(server.http, "/readyz").status, 200);
    let verbose = get(server.http, "/readyz?verbose").json();
    assert_eq!(verbose["ready"], true);
    assert_eq!(verbose["components"]["rules_loaded"], true);
}

#[test]
fn json_answers_as_envoyproxy_ratelimit() {
    let server = Server::start(RULES);
    let body = r#"{"domain": "edge", "descriptors": [{"entries": [{"key": "api", "value": "x"}], "hitsAddend": "2"}]}"#;
    let first = server.json(body);
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.header("content-type"), Some("application/json"));
    let document = first.json();
    assert_eq!(document["overallCode"], "OK");
    let status = &document["statuses"][0];
    assert_eq!(status["code"], "OK");
    assert_eq!(status["currentLimit"], json!({ "requestsPerUnit": 5, "unit": "DAY" }));
    assert_eq!(status["limitRemaining"], 3);
    assert!(status["durationUntilReset"].as_str().unwrap().ends_with('s'));
    // Any method, and the names in snake_case.
    let put = request(server.http, "PUT", "/json", "", body.replace("hitsAddend", "hits_addend").as_bytes());
    assert_eq!(put.json()["statuses"][0]["limitRemaining"], 1);
    let denied = server.json(body);
    assert_eq!(denied.status, 429);
    assert_eq!(denied.json()["overallCode"], "OVER_LIMIT");
    // A refund of all that was recorded makes room again.
    let refund = body.replace("\"hitsAddend\"", "\"isNegativeHits\": true, \"hitsAddend\"");
    assert_eq!(server.json(&refund).status, 200);
    assert_eq!(server.json(&refund).json()["statuses"][0]["limitRemaining"], 3);
}

#[test]
fn json_without_meaning_says_so() {
    let server = Server::start(RULES);
    let refused = |body: &str| {
        let answer = server.json(body);
        assert_eq!(answer.status, 400, "{answer:?}");
        answer.body
    };
    assert!(refused(r#"{"descriptors": [{}]}"#).contains("domain must not be empty"));
    assert!(refused(r#"{"domain": "edge"}"#).contains("descriptor list must not be empty"));
    assert!(refused("nonsense").contains("line 1 column 2"));
    assert!(
        refused(r#"{"domain": "edge", "descriptors": [{"limit": {"unit": "FORTNIGHT"}}]}"#)
            .starts_with("descriptors[0].limit.unit: must be one of SECOND, MINUTE")
    );
    let many = format!(r#"{{"domain": "edge", "descriptors": [{}]}}"#, vec!["{}"; 2000].join(","));
    assert!(refused(&many).contains("2000 in one request, at most 100 are allowed"));
}
