//! Changing rules over HTTP: every route, what it writes, and every kind of bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod api_support;
mod process;
mod server_support;

use api_support::{assert_problem, open, rule};
use process::{Server, request};
use serde_json::json;

#[test]
fn a_customers_limit_is_set_in_a_line_and_changed_and_deleted() {
    let api = open();
    let made = api.put("/rate-limit/rules", json!({ "user_id": "123", "limit_per_minute": 5 }));
    assert_eq!((made.status, made.header("etag")), (201, Some("\"1\"")), "{made:?}");
    let document = made.json();
    assert_eq!(document["domain"], "edge");
    assert_eq!(document["path"], "user_id=123");
    assert_eq!(document["descriptor"], json!([{ "key": "user_id", "value": "123" }]));
    let limit = json!({
        "requests_per_unit": 5, "unit": "minute", "algorithm": "sliding_window_log", "over": "drop"
    });
    assert_eq!(document["rate_limit"], limit);
    assert_eq!((&document["revision"], &document["in_force"]), (&json!(1), &json!(true)));
    assert_eq!(document["created_by"], "(unauthenticated)");

    let changed = api.put("/rate-limit/rules", json!({ "user_id": "123", "limit_per_minute": 6 }));
    assert_eq!((changed.status, changed.header("etag")), (200, Some("\"2\"")));
    assert_eq!(changed.json()["created_at"], document["created_at"]);
    let same = api.put("/rate-limit/rules", json!({ "user_id": "123", "limit_per_minute": 6 }));
    assert_eq!((same.status, same.header("etag")), (200, Some("\"2\"")), "what is there already takes no revision");

    let shown = api.get("/rate-limit/rules/edge/user_id=123");
    assert_eq!((shown.status, shown.header("etag")), (200, Some("\"2\"")));
    assert_eq!(shown.json()["rate_limit"]["requests_per_unit"], 6);
    let deleted = api.delete("/rate-limit/rules/edge/user_id=123");
    assert_eq!(
        (deleted.status, &deleted.json()["deleted"], &deleted.json()["revision"]),
        (200, &json!(true), &json!(3))
    );
    assert_problem(&api.get("/rate-limit/rules/edge/user_id=123"), 404, "there is no rule user_id=123 of domain edge");
    assert_problem(&api.delete("/rate-limit/rules/edge/user_id=123"), 404, "there is no rule");
    let again = api.put("/rate-limit/rules", json!({ "user_id": "123", "limit_per_minute": 6 }));
    assert_eq!(again.status, 201);
}

#[test]
fn the_short_form_knows_users_addresses_windows_and_large_limits() {
    let api = open();
    let path = |body| api.put("/rate-limit/rules", body).json()["path"].clone();
    assert_eq!(path(json!({ "ip_address": "2001:DB8:0::1", "limit_per_second": 1 })), "ip_address=2001:db8::1");
    let both = json!({ "ip_address": "::ffff:192.0.2.1", "user_id": "a=b", "limit_per_hour": 1, "domain": "inner" });
    assert_eq!(path(both), "user_id=a%3Db,ip_address=192.0.2.1");
    let several = api.put("/rate-limit/rules", json!({ "user_id": "x", "limit_per_second": 1, "limit_per_day": 9 }));
    let limits = several.json()["rate_limits"].clone();
    assert_eq!((&limits[0]["unit"], &limits[1]["unit"]), (&json!("second"), &json!("day")));
    let large = api.put("/rate-limit/rules", json!({ "user_id": "y", "limit_per_minute": 10_001 })).json();
    assert_eq!(large["rate_limit"]["algorithm"], "sliding_window_counter");
    assert!(large["notes"][0].as_str().unwrap().starts_with("limit_per_minute: above 10000"), "{large}");
}

#[test]
fn the_full_form_takes_a_path_or_a_descriptor() {
    let api = open();
    let mut body = rule(5);
    body["path"] = json!("user_id=1,path=/a");
    body["tags"] = json!(["gold"]);
    body["domain"] = json!("inner");
    assert_eq!(api.put("/rate-limit/rules", body).status, 201);
    let shown = api.get("/rate-limit/rules/inner/user_id=1%2Cpath=%2Fa");
    assert_eq!((shown.status, &shown.json()["tags"]), (200, &json!(["gold"])), "{shown:?}");
    let mut body = rule(5);
    body["descriptor"] = json!([{ "key": "user_id", "value": "a,b" }, { "key": "path" }]);
    assert_eq!(api.put("/rate-limit/rules", body).json()["path"], "user_id=a%2Cb,path");
    assert_eq!(
        api.get("/rate-limit/rules/edge/user_id=a%252Cb,path").status,
        200,
        "percent-encoded once more in a URL"
    );
}

#[test]
fn every_mistake_names_its_field_and_nothing_is_written() {
    let api = open();
    let cases = [
        (json!({ "user_id": "1" }), 422, "limit_per_minute: how much?"),
        (json!({ "limit_per_minute": 5 }), 422, "user_id: user_id or ip_address must be given"),
        (json!({ "user_id": "", "limit_per_minute": 5 }), 422, "user_id: must not be empty"),
        (json!({ "user_id": "a*", "limit_per_minute": 5 }), 422, "user_id: has a '*'"),
        (json!({ "user_id": 7, "limit_per_minute": 5 }), 422, "user_id: must be a string"),
        (json!({ "ip_address": "10.0.0.256", "limit_per_minute": 5 }), 422, "ip_address: must be an IPv4"),
        (json!({ "user_id": "1", "limit_per_minute": -5 }), 422, "limit_per_minute: must be a whole number from 0"),
        (json!({ "user_id": "1", "limit_per_minute": 5_000_000_000_u64 }), 422, "limit_per_minute: must be a whole"),
        (json!({ "user_id": "1", "limit_per_minute": 5, "tags": [] }), 422, "tags: is no field of the short form"),
        (json!({ "user_id": "1", "limit_per_minute": 5, "domain": "" }), 422, "domain: must not be empty"),
        (json!({ "user_id": "1", "limit_per_minute": 5, "reason": "x".repeat(1001) }), 422, "reason: is 1001 bytes"),
        (json!({ "rate_limit": {} }), 422, "path: is missing"),
        (json!({ "path": "a,,b" }), 422, "path: entry 2 has no key"),
        (json!({ "path": "a", "descriptor": [{ "key": "a" }] }), 422, "descriptor: path and descriptor say the same"),
        (json!({ "descriptor": [{ "key": "a", "vale": "x" }] }), 422, "descriptor[0].vale: unknown field"),
        (json!({ "descriptor": [{ "value": "x" }] }), 422, "descriptor[0].key: is missing"),
        (json!({ "descriptor": [] }), 422, "descriptor: a descriptor path has at least one entry"),
        (json!({ "path": "a", "rate_limt": {} }), 422, "rate_limt: unknown field"),
        (json!({ "path": "a", "rate_limit": { "unit": "day" } }), 422, "rate_limit.requests_per_unit: is missing"),
        (json!([1]), 422, "body: must be an object"),
    ];
    for (body, status, detail) in cases {
        let document = assert_problem(&api.put("/rate-limit/rules", body), status, detail);
        let field = detail.split(':').next().unwrap();
        assert_eq!(document["errors"][0]["field"], field, "{document}");
    }
    let two = json!({ "path": "a", "rate_limit": { "requests_per_unit": 1, "unit": "x", "algorithm": "y" } });
    assert_eq!(api.put("/rate-limit/rules", two).json()["errors"].as_array().unwrap().len(), 2);
    let address = api.running.http_address;
    let text = request(address, "PUT", "/rate-limit/rules", "content-type: application/json\r\n", b"{\n\"a\": }");
    assert_problem(&text, 400, "line 2 column 6");
    assert_problem(&request(address, "PUT", "/rate-limit/rules", "", b"{}"), 415, "must be application/json, got none");
    assert_problem(&api.get("/rate-limit/rules/edge/a%2C%2Cb"), 400, "path: entry 2 has no key");
    assert_problem(&api.get("/rate-limit/rules/edge/%FF"), 400, "path: '%' must begin");
    assert_problem(&api.get("/rate-limit/rules?kin=rule"), 400, "kin: unknown parameter");
    assert_problem(&api.get("/rate-limit/rules?limit=1001"), 400, "limit: must be a number from 1 to 1000");
    assert_problem(&api.get("/rate-limit/rules?tag=a&tag=b"), 400, "tag: stands twice");
    assert_problem(&api.get("/rate-limit/rules?cursor=x"), 400, "cursor: is none of ours");
    assert_problem(&api.call("POST", "/rate-limit/rules", &[], None), 405, "POST is not for");
    assert_eq!(api.revision(), 0);
}

#[test]
fn preconditions_hold_or_nothing_is_written() {
    let api = open();
    let at = "/rate-limit/rules/edge/user_id=1";
    let put = |headers: &[(&str, &str)], amount| api.call("PUT", at, headers, Some(rule(amount)));
    assert_problem(&put(&[("if-match", "*")], 1), 412, "there is none, not present");
    assert_eq!(put(&[("if-none-match", "*")], 1).status, 201);
    let document = assert_problem(&put(&[("if-none-match", "*")], 2), 412, "is at revision 1, not absent");
    assert_eq!(document["current_revision"], 1);
    assert_eq!(put(&[("if-match", "\"1\"")], 2).status, 200);
    assert_problem(&put(&[("if-match", "\"1\"")], 3), 412, "is at revision 2, not at revision 1");
    assert_problem(&put(&[("if-match", "1")], 3), 400, "If-Match: must be one revision in quotes");
    assert_problem(&api.call("DELETE", at, &[("if-match", "\"1\"")], None), 412, "is at revision 2");
    assert_eq!(api.call("GET", at, &[("if-none-match", "\"2\"")], None).status, 304);
    assert_eq!(api.call("GET", at, &[("if-none-match", "\"1\"")], None).status, 200);
    assert_eq!(api.get(at).json()["rate_limit"]["requests_per_unit"], 2);
    assert_eq!(api.call("DELETE", at, &[("if-match", "\"2\"")], None).status, 200);
    assert_problem(&api.call("DELETE", at, &[("if-match", "\"2\"")], None), 412, "there is none");
}

#[test]
fn lists_are_filtered_and_paged() {
    let api = open();
    for user in 0..7 {
        let mut body = rule(5);
        body["tags"] = json!([if user % 2 == 0 { "even" } else { "odd" }]);
        body["enabled"] = json!(user != 3);
        assert_eq!(api.put(&format!("/rate-limit/rules/edge/user_id={user}"), body).status, 201);
    }
    api.put("/rate-limit/rules/inner/path", rule(1));
    api.put("/rate-limit/domains/inner", json!({}));
    let paths = |query: &str| {
        let answer = api.get(&format!("/rate-limit/rules{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let records = answer.json()["records"].as_array().unwrap().clone();
        records.iter().map(|record| record["path"].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths("").len(), 8);
    assert_eq!(paths("?domain=inner"), ["path"]);
    assert_eq!(paths("?kind=any&domain=inner"), ["", "path"]);
    assert_eq!(paths("?tag=odd"), ["user_id=1", "user_id=3", "user_id=5"]);
    assert_eq!(paths("?enabled=false"), ["user_id=3"]);
    assert_eq!(paths("?path=user_id%3D3"), ["user_id=3"]);

    let mut seen = Vec::new();
    let mut next = Some("/rate-limit/rules?limit=3&tag=even".to_owned());
    let mut pages = 0;
    while let Some(path) = next {
        let answer = api.get(&path);
        let records = answer.json()["records"].as_array().unwrap().clone();
        seen.extend(records.iter().map(|record| record["path"].as_str().unwrap().to_owned()));
        let link = answer.header("link").map(|link| link.trim_start_matches('<').split('>').next().unwrap().to_owned());
        assert_eq!(link.is_some(), answer.json()["next"].is_string());
        next = link;
        pages += 1;
    }
    assert_eq!((seen.len(), pages), (4, 2), "{seen:?}");
}

#[test]
fn history_says_who_and_why_and_a_rule_goes_back() {
    let api = open();
    let at = "/rate-limit/rules/edge/user_id=1";
    let mut first = rule(1);
    first["reason"] = json!("trial");
    api.put(at, first);
    api.call("PUT", at, &[("x-change-reason", "paid")], Some(rule(100)));
    api.put("/rate-limit/rules/edge/user_id=2", rule(2));
    let history = api.get(&format!("{at}/history")).json();
    let versions = history["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!((&versions[0]["revision"], &versions[0]["reason"]), (&json!(2), &json!("paid")));
    assert_eq!(versions[0]["before"]["rate_limit"]["requests_per_unit"], 1);
    assert_eq!(versions[0]["after"]["rate_limit"]["requests_per_unit"], 100);
    assert_eq!((&versions[1]["reason"], &versions[1]["before"]), (&json!("trial"), &json!(null)));
    assert_eq!(api.get("/rate-limit/history").json()["versions"].as_array().unwrap().len(), 3);

    let back = api.post(&format!("{at}/rollback"), json!({ "revision": 1 }));
    assert_eq!((back.status, &back.json()["rate_limit"]["requests_per_unit"]), (200, &json!(1)));
    let latest = &api.get(&format!("{at}/history?limit=1")).json()["versions"][0];
    assert_eq!(latest["reason"], "back to revision 1");
    let gone = api.post("/rate-limit/rules/edge/user_id=2/rollback", json!({ "revision": 1 }));
    assert_eq!((gone.status, &gone.json()["deleted"]), (200, &json!(true)), "there was none at revision 1");
    let there = api.post("/rate-limit/rules/edge/user_id=2/rollback", json!({ "revision": 4 }));
    assert_eq!(there.status, 201);
    assert_problem(&api.post(&format!("{at}/rollback"), json!({ "revision": 99 })), 422, "revision: has not been yet");
    assert_problem(&api.post(&format!("{at}/rollback"), json!({})), 422, "revision: is missing");
}

#[test]
fn everything_goes_back_at_once() {
    let api = open();
    api.put("/rate-limit/rules/edge/user_id=1", rule(1));
    api.put("/rate-limit/rules/edge/user_id=1", rule(2));
    api.put("/rate-limit/rules/edge/user_id=2", rule(2));
    api.put("/rate-limit/domains/edge", json!({ "charge": "independent" }));
    let moved =
        api.call("POST", "/rate-limit/rules:rollback", &[("if-match", "\"1\"")], Some(json!({ "revision": 1 })));
    assert_problem(&moved, 412, "the rules are at revision 4, not 1");
    let back = api.post("/rate-limit/rules:rollback", json!({ "revision": 1 }));
    assert_eq!(
        (back.status, &back.json()["changed"], &back.json()["revision"]),
        (200, &json!(3), &json!(5)),
        "{back:?}"
    );
    assert_eq!(api.get("/rate-limit/rules/edge/user_id=1").json()["rate_limit"]["requests_per_unit"], 1);
    assert_eq!(api.get("/rate-limit/rules/edge/user_id=2").status, 404);
    assert_eq!(api.get("/rate-limit/domains/edge").status, 404);
    let accepted = api.call("POST", "/rate-limit/rules:accept", &[], None);
    assert_eq!((accepted.status, &accepted.json()["revision"]), (200, &json!(6)));
    assert_ne!(accepted.json()["epoch"], back.json()["epoch"]);
}

const TEXT: &str = "\
domain: edge
descriptors:
  - key: user_id
    rate_limit: { unit: minute, requests_per_unit: 5 }
  - key: user_id
    value: gold
    rate_limit: { unit: minute, requests_per_unit: 50 }
---
domain: inner
charge: all_or_nothing
descriptors:
  - key: path
    rate_limit: { unlimited: true }
";

#[test]
fn whole_domains_are_applied_and_exported() {
    let api = open();
    api.put("/rate-limit/rules/edge/old", rule(1));
    api.put("/rate-limit/rules/other/kept", rule(1));
    let tried = api.apply("?dry_run=true", "", TEXT);
    assert_eq!(tried.status, 200, "{tried:?}");
    let document = tried.json();
    assert_eq!(
        (&document["dry_run"], &document["changed"], &document["revision"]),
        (&json!(true), &json!(6), &json!(2))
    );
    let lines: Vec<_> = document["diff"].as_str().unwrap().lines().collect();
    assert!(lines.contains(&"- rule edge old"), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("+ rule edge user_id=gold")), "{lines:?}");
    assert!(document["warnings"][0].as_str().unwrap().contains("domain edge loses 1 of its 1 rules"), "{document}");
    assert_eq!(api.revision(), 2);

    assert_problem(&api.apply("", "if-match: \"1\"\r\n", TEXT), 412, "the rules are at revision 2, not 1");
    let applied = api.apply("", "if-match: \"2\"\r\nx-change-reason: launch\r\n", TEXT);
    assert_eq!(
        (applied.status, &applied.json()["revision"], &applied.json()["in_force"]),
        (200, &json!(3), &json!(true))
    );
    assert_eq!(api.get("/rate-limit/rules/edge/old").status, 404);
    assert_eq!(api.get("/rate-limit/rules/other/kept").status, 200);
    assert_eq!(api.get("/rate-limit/history?limit=1").json()["versions"][0]["reason"], "launch");

    let exported = api.get("/rate-limit/rules:export");
    assert_eq!((exported.status, exported.header("content-type")), (200, Some("application/yaml")));
    assert_eq!(exported.header("etag"), Some("\"3\""));
    let again = api.apply("", "", &exported.body);
    assert_eq!((&again.json()["changed"], &again.json()["revision"]), (&json!(0), &json!(3)), "{again:?}");
    let one = api.get("/rate-limit/rules:export?domain=inner").body;
    assert!(one.starts_with("domain: inner") && !one.contains("edge"), "{one}");
}

#[test]
fn texts_without_meaning_are_refused_line_by_line() {
    let api = open();
    let broken = api.apply("", "", &TEXT.replace("requests_per_unit: 50", "requests_per_unit: -1"));
    let document = assert_problem(&broken, 422, "line 7, column");
    assert!(document["errors"][0]["field"].as_str().unwrap().starts_with("line 7, column"), "{document}");
    assert_problem(&api.apply("", "", &format!("{TEXT}---\ndomain: edge\n")), 422, "'edge' stands twice");
    assert_problem(&api.apply("", "", "domain: [\n"), 422, "line ");
    assert_problem(&api.apply("?dry-run=true", "", TEXT), 400, "dry-run: unknown parameter");
    let address = api.running.http_address;
    assert_problem(&request(address, "POST", "/rate-limit/rules:apply", "", b"{}"), 415, "must be one of");
    assert_eq!(api.revision(), 0);
    let headers = "content-type: application/json\r\n";
    let json = r#"{"domain": "inner", "descriptors": [{"key": "a", "rate_limit": {"unlimited": true}}]}"#;
    let applied = request(address, "POST", "/rate-limit/rules:apply", headers, json.as_bytes());
    assert_eq!((applied.status, &applied.json()["changed"]), (200, &json!(2)), "{applied:?}");
}

#[test]
fn most_rules_are_not_lost_by_mistake() {
    let api = open();
    let descriptor = |user: usize| json!({ "key": "user_id", "value": user.to_string(), "rate_limit": { "unit": "day", "requests_per_unit": 1 } });
    let many = json!({ "domain": "edge", "descriptors": (0..20).map(descriptor).collect::<Vec<_>>() }).to_string();
    assert_eq!(api.apply("", "", &many).status, 200);
    let few = json!({ "domain": "edge", "descriptors": [descriptor(1)] }).to_string();
    let detail = "19 of 20 rules would be gone; repeat it with accept_loss=true";
    assert_problem(&api.apply("", "", &few), 409, detail);
    let tried = api.apply("?dry_run=true", "", &few).json();
    assert!(tried["warnings"].to_string().contains("19 of 20 rules would be gone"), "{tried}");
    let meant = api.apply("?accept_loss=true", "", &few).json();
    assert_eq!((&meant["changed"], &meant["in_force"]), (&json!(19), &json!(true)), "{meant}");
    assert_eq!(api.post("/rate-limit/rules:rollback", json!({ "revision": 1 })).status, 200);
    assert_problem(
        &api.post("/rate-limit/rules:rollback", json!({ "revision": 0 })),
        409,
        "20 of 20 rules would be gone",
    );
    let back = api.post("/rate-limit/rules:rollback?accept_loss=true", json!({ "revision": 0 }));
    assert_eq!((back.status, &back.json()["in_force"]), (200, &json!(true)), "{back:?}");
    assert_eq!(api.get("/rate-limit/rules").json()["records"], json!([]));
}

#[test]
fn a_limit_holds_when_its_answer_says_so() {
    let api = open();
    let ask = || api.post("/rate-limit", json!({ "user_id": "123" })).status;
    assert_eq!(ask(), 200);
    let made = api.put("/rate-limit/rules", json!({ "user_id": "123", "limit_per_hour": 2 }));
    assert_eq!(made.json()["in_force"], true);
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
    let exempt = json!({ "rate_limit": { "unlimited": true }, "for": "1h" });
    assert_eq!(api.put("/rate-limit/overrides/edge/user_id=123", exempt).json()["in_force"], true);
    assert_eq!(ask(), 200);
    assert_eq!(api.delete("/rate-limit/overrides/edge/user_id=123").json()["in_force"], true);
    assert_eq!(ask(), 429);
    assert_eq!(api.delete("/rate-limit/rules/edge/user_id=123").json()["in_force"], true);
    assert_eq!(ask(), 200);
}

#[test]
fn settings_of_domains_are_read_and_written() {
    let api = open();
    assert_problem(&api.get("/rate-limit/domains/edge"), 404, "there is no domain edge");
    let made = api.put("/rate-limit/domains/edge", json!({ "default_algorithm": "token_bucket" }));
    assert_eq!((made.status, &made.json()["charge"]), (201, &json!("all_or_nothing")));
    assert_problem(&api.put("/rate-limit/domains/edge", json!({ "charge": "all" })), 422, "charge: unknown charge");
    // It is what limits are that name none.
    let written = api.put("/rate-limit/rules/edge/user_id", rule(5)).json();
    assert_eq!(written["rate_limit"]["algorithm"], "token_bucket");
}

#[test]
fn overrides_hold_for_a_time() {
    let api = open();
    let at = "/rate-limit/overrides/edge/user_id=1";
    let exempt = json!({ "rate_limit": { "unlimited": true }, "for": "2h", "reason": "migration" });
    let made = api.put(at, exempt);
    assert_eq!(made.status, 201, "{made:?}");
    let until: jiff::Timestamp = made.json()["until"].as_str().unwrap().parse().unwrap();
    let left = until.duration_since(jiff::Timestamp::now());
    assert!(left.as_secs() > 7_000 && left.as_secs() <= 7_200, "{left:?}");
    let limit = json!({ "requests_per_unit": 50, "unit": "minute" });
    let mistakes = [
        (json!({ "rate_limit": limit }), "until: is missing"),
        (json!({ "rate_limit": limit, "for": "2" }), "for: \"2\" is no length of time; the unit is missing"),
        (json!({ "rate_limit": limit, "for": "0s" }), "for: is no length of time"),
        (json!({ "rate_limit": limit, "for": "99999999999h" }), "for: is no length"),
        (json!({ "rate_limit": limit, "for": "2h", "until": "2030-01-01T00:00:00Z" }), "for: until and for exclude"),
        (json!({ "rate_limit": limit, "until": "2020-01-01T00:00:00Z" }), "until: is over already"),
        (json!({ "rate_limit": limit, "until": "soon" }), "until: "),
        (json!({ "for": "2h" }), "rate_limit: is missing"),
    ];
    for (body, detail) in mistakes {
        assert_problem(&api.put(at, body), 422, detail);
    }
    assert_eq!(api.get(at).json()["rate_limit"]["unlimited"], true);
    assert_eq!(api.get("/rate-limit/overrides").json()["records"].as_array().unwrap().len(), 1);
    assert_eq!(api.get("/rate-limit/rules").json()["records"], json!([]));
    assert_eq!(api.delete(at).status, 200);
    assert_eq!(api.get(at).status, 404);
}

#[test]
fn requests_have_names() {
    let api = open();
    let given = api.call("GET", "/rate-limit/rules/edge/none", &[("x-request-id", "abc-1")], None);
    assert_eq!(given.header("x-request-id"), Some("abc-1"));
    assert_eq!(given.json()["request_id"], "abc-1");
    let insane = api.call("GET", "/livez", &[("x-request-id", "a b")], None);
    let other = api.get("/livez");
    assert_eq!(insane.header("x-request-id").unwrap().len(), 32);
    assert_ne!(insane.header("x-request-id"), other.header("x-request-id"));
}

#[test]
fn rules_that_come_from_files_are_changed_there() {
    let server = Server::start("domain: edge\ndescriptors: [{ key: user_id, rate_limit: { unlimited: true } }]\n");
    for method in ["GET", "PUT"] {
        let answer = request(server.http, method, "/rate-limit/rules", "content-type: application/json\r\n", b"{}");
        assert_problem(&answer, 409, "the rules of this server come from files");
    }
}
