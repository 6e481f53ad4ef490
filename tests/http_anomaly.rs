//! What the anomaly worker found, over HTTP and by the command line: lists, histories, and what people say of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod api_support;
#[path = "postgres_support/mod.rs"]
mod postgres_support;
mod process;
mod server_support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_support::{Api, assert_problem, block_on, open, start};
use futures_util::future::BoxFuture;
use process::{Answer, request, tidegate};
use serde_json::{Value, json};
use tidegate::anomaly::bus::BusError;
use tidegate::anomaly::event::{Event, Feedback, Kind, Reason, Verdict};
use tidegate::anomaly::findings::embedded::Embedded;
use tidegate::anomaly::findings::{Findings as _, Tell};
use tidegate::config::database::{Database, DatabaseUrl};
use tidegate::core::adjustment::Effect;
use tidegate::core::clock::Micros;
use tidegate::core::subject::{Attribute, Subject};
use tidegate::rules::repository::Scope::{Operate, Read, ReadAnomalies, ReviewAnomalies, WriteRules};

/// Remembers what workers are told, unless they are away.
#[derive(Debug, Default)]
struct Told {
    away: AtomicBool,
    feedback: Mutex<Vec<Feedback>>,
}

impl Tell for Told {
    fn tell(&self, feedback: Feedback) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            if self.away.load(Ordering::Relaxed) {
                return Err(BusError::Away("it does not answer".into()));
            }
            self.feedback.lock().unwrap().push(feedback);
            Ok(())
        })
    }
}

fn told(api: &Api) -> Arc<Told> {
    let told = Arc::new(Told::default());
    api.running.context.feedback.set(told.clone()).unwrap();
    told
}

fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap()
}

fn event(incident: u64, at: u64, subject: Subject, kind: Kind) -> Event {
    let text = "48 requests a second, usually 0.4".to_owned();
    let reason = Reason { feature: "rate_10s".into(), usual: 0.4, present: 48.0, text };
    let (domain, reasons) = ("edge".to_owned(), vec![reason]);
    Event { at: Micros::from_secs(at), incident, domain, subject, kind, score: 0.75, requests: 10, reasons }
}

fn user(name: &str) -> Subject {
    Subject::User(name.into())
}

fn note(api: &Api, events: &[Event]) {
    block_on(api.running.context.findings.note(events)).unwrap();
}

/// A user whose limits were lowered, an address that was blocked and released, and a group.
fn some(api: &Api) {
    let now = now();
    let address = Subject::Address("203.0.113.7".parse().unwrap());
    let group = [(Attribute::Path, "/login".into()), (Attribute::UserAgent, "curl".into())];
    let factor = Effect::Factor { factor: 0.25, floor: 1 };
    let until = Micros::from_secs(now + 300);
    note(
        api,
        &[
            event(1, now - 7_200, address.clone(), Kind::Flag),
            event(2, now - 90, user("ada"), Kind::Flag),
            event(3, now - 80, Subject::Group(group.into_iter().collect()), Kind::Flag),
            event(2, now - 70, user("ada"), Kind::Tighten { effect: factor, expires: until, shadow: true }),
            event(1, now - 60, address.clone(), Kind::Block { expires: until, shadow: false }),
            Event { reasons: Vec::new(), ..event(1, now - 50, address, Kind::Release) },
        ],
    );
}

fn numbers(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let document = answer.json();
    let anomalies = document["anomalies"].as_array().unwrap();
    anomalies.iter().map(|anomaly| anomaly["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn anomalies_are_listed_with_whom_why_and_what_was_done() {
    let api = open();
    assert_eq!(api.get("/ddos/anomaly").json(), json!({ "anomalies": [], "next": null }), "without a worker, too");
    some(&api);
    let listed = api.get("/ddos/anomaly").json();
    let ada = &listed["anomalies"][1];
    assert_eq!((&ada["id"], &ada["user_id"], &ada["ip_address"]), (&json!("2"), &json!("ada"), &Value::Null));
    assert_eq!(
        (&ada["request_count"], &ada["anomaly_score"], &ada["domain"]),
        (&json!(20), &json!(0.75), &json!("edge"))
    );
    assert_eq!((&ada["state"], &ada["action"], &ada["shadow"]), (&json!("open"), &json!("tighten"), &json!(true)));
    let text = "limits are 0.25 of what the rules say, at least 1";
    assert_eq!(ada["effect"], json!({ "text": text, "factor": 0.25, "floor": 1 }));
    let reason = json!({
        "text": "48 requests a second, usually 0.4", "feature": "rate_10s", "usual": 0.4, "present": 48.0
    });
    assert_eq!((&ada["reasons"], &ada["review"]), (&json!([reason]), &Value::Null));
    for time in ["timestamp", "first_seen", "last_seen", "expires"] {
        assert!(ada[time].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{ada}");
    }
    assert!(ada.get("history").is_none());
    assert_eq!(listed["anomalies"][0]["group"], json!({ "path": "/login", "user_agent": "curl" }));

    let shown = api.get("/ddos/anomaly/1").json();
    assert_eq!((&shown["ip_address"], &shown["state"]), (&json!("203.0.113.7"), &json!("ended")));
    let steps: Vec<_> = shown["history"].as_array().unwrap().iter().map(|step| &step["what"]).collect();
    assert_eq!(steps, ["flag", "block", "release"]);
    assert_eq!(shown["history"][1]["effect"], json!({ "text": "nothing passes" }));
    assert_problem(&api.get("/ddos/anomaly/4"), 404, "there is no anomaly 4");
}

#[test]
fn lists_are_filtered_and_paged() {
    let api = open();
    some(&api);
    let cases = [
        ("", "3 2 1"),
        ("?user_id=ada", "2"),
        ("?ip_address=203.0.113.7", "1"),
        ("?domain=inner", ""),
        ("?state=ended", "1"),
        ("?state=open&action=flag", "3"),
        ("?min_score=0.76", ""),
        ("?since=1h", "3 2"),
        ("?until=1h", "1"),
        ("?since=2001-01-31T03:00:00Z&until=2001-02-01T03:00:00Z", ""),
    ];
    for (query, expected) in cases {
        assert_eq!(numbers(&api.get(&format!("/ddos/anomaly{query}"))).join(" "), expected, "{query}");
    }
    let first = api.get("/ddos/anomaly?limit=2&domain=edge");
    assert_eq!((numbers(&first), &first.json()["next"]), (vec!["3".to_owned(), "2".to_owned()], &json!("2")));
    assert_eq!(first.header("link"), Some("</ddos/anomaly?limit=2&domain=edge&after=2>; rel=\"next\""));
    let last = api.get("/ddos/anomaly?limit=2&domain=edge&after=2");
    assert_eq!((numbers(&last), &last.json()["next"], last.header("link")), (vec!["1".to_owned()], &Value::Null, None));
}

#[test]
fn bad_input_names_its_field() {
    let api = open();
    some(&api);
    for (query, detail) in [
        ("ip_address=somewhere", "ip_address: must be an IPv4 or IPv6 address"),
        ("state=shut", "state: must be open, ended, confirmed or dismissed"),
        ("action=hit", "action: must be none, flag, tighten or block"),
        ("min_score=2", "min_score: must be a number from 0 to 1"),
        ("min_score=NaN", "min_score: must be a number from 0 to 1"),
        ("since=yesterday", "since: must be a time as RFC 3339 has it"),
        ("until=9999999years", "until: must be a time"),
        ("limit=0", "limit: must be a number from 1 to 1000"),
        ("after=-1", "after: must be the number of an anomaly"),
        ("user_id=a%00b", "user_id: must not have a NUL character"),
        ("cursor=1", "cursor: unknown parameter; known are user_id"),
    ] {
        assert_problem(&api.get(&format!("/ddos/anomaly?{query}")), 400, detail);
    }
    assert_problem(&api.get("/ddos/anomaly/x"), 400, "id: must be the number of an anomaly");
    for (body, detail) in [
        (json!({ "note": 7 }), "note: must be a string"),
        (json!({ "note": "x".repeat(1_001) }), "note: is 1001 bytes long"),
        (json!({ "note": "a\0b" }), "note: must not have a NUL"),
        (json!({ "why": "x" }), "why: unknown field; known are note"),
    ] {
        assert_problem(&api.post("/ddos/anomaly/2/dismiss", body), 422, detail);
    }
    let plain =
        request(api.running.http_address, "POST", "/ddos/anomaly/2/dismiss", "content-type: text/plain\r\n", b"{}");
    assert_problem(&plain, 415, "must be application/json");
    assert_problem(&api.get("/ddos/anomaly/2/dismiss"), 405, "GET is not for");
    assert_eq!(api.get("/ddos/anomaly/2").json()["review"], Value::Null, "nothing was recorded");
}

#[test]
fn a_dismissal_is_recorded_and_told_and_can_be_repeated() {
    let api = open();
    some(&api);
    let without = api.call("POST", "/ddos/anomaly/3/dismiss", &[], None);
    assert_eq!((without.status, &without.json()["told"]), (200, &json!(false)), "recorded without a worker, too");

    let told = told(&api);
    let dismissed = api.post("/ddos/anomaly/2/dismiss", json!({ "note": "their load test" }));
    assert_eq!((dismissed.status, &dismissed.json()["told"]), (200, &json!(true)), "{dismissed:?}");
    let document = dismissed.json();
    assert_eq!((&document["state"], &document["review"]["verdict"]), (&json!("dismissed"), &json!("dismissed")));
    assert_eq!(document["review"]["by"], "(unauthenticated)");
    assert_eq!(document["review"]["note"], "their load test");
    assert_eq!(document["history"].as_array().unwrap().last().unwrap()["what"], "dismissed");
    let said = told.feedback.lock().unwrap().clone();
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].incident, &*said[0].domain, said[0].verdict), (2, "edge", Verdict::Dismissed));
    assert_eq!(said[0].subject, user("ada"));
    assert_eq!(numbers(&api.get("/ddos/anomaly?state=dismissed")), ["3", "2"]);

    told.away.store(true, Ordering::Relaxed);
    let failed = api.call("POST", "/ddos/anomaly/1/confirm", &[], None);
    let problem = assert_problem(&failed, 503, "it is recorded, but the workers were not told");
    assert_eq!((&problem["recorded"], &problem["told"]), (&json!(true), &json!(false)));
    assert!(failed.header("retry-after").is_some());
    let kept = api.get("/ddos/anomaly/1").json();
    assert_eq!(kept["state"], "confirmed");
    told.away.store(false, Ordering::Relaxed);
    let again = api.call("POST", "/ddos/anomaly/1/confirm", &[], None);
    assert_eq!((again.status, &again.json()["told"]), (200, &json!(true)));
    assert_eq!(again.json()["history"], kept["history"], "it is recorded once");
    assert_eq!(
        told.feedback.lock().unwrap().last().map(|said| (said.incident, said.verdict)),
        Some((1, Verdict::Confirmed))
    );
    assert_problem(&api.call("POST", "/ddos/anomaly/9/confirm", &[], None), 404, "there is no anomaly 9");
    assert_eq!(told.feedback.lock().unwrap().len(), 2, "nobody is told of what is not there");
}

#[test]
fn seeing_and_reviewing_need_scopes_of_their_own() {
    let api = start(|_| {});
    some(&api);
    assert_eq!(api.get("/ddos/anomaly").status, 200, "before the first token");
    assert_problem(&api.post("/ddos/anomaly/2/dismiss", json!({})), 403, "there is no token yet");
    let others = api.token("others", &[Read, WriteRules, Operate]);
    let (see, review) = (api.token("see", &[ReadAnomalies]), api.token("review", &[ReviewAnomalies]));
    let call =
        |token: &str, method, path| api.call(method, path, &[("authorization", &format!("Bearer {token}"))], None);
    for path in ["/ddos/anomaly", "/ddos/anomaly/2"] {
        assert_problem(&api.get(path), 401, "needs a token with the scope 'read-anomalies'");
        assert_problem(&call(&others, "GET", path), 403, "'others' lacks the scope 'read-anomalies'");
        assert_problem(&call(&review, "GET", path), 403, "'read-anomalies'");
        assert_eq!(call(&see, "GET", path).status, 200);
    }
    for path in ["/ddos/anomaly/2/dismiss", "/ddos/anomaly/2/confirm"] {
        assert_eq!(api.call("POST", path, &[], None).status, 401);
        assert_problem(&call(&others, "POST", path), 403, "'others' lacks the scope 'review-anomalies'");
        assert_problem(&call(&see, "POST", path), 403, "'review-anomalies'");
    }
    let done = call(&review, "POST", "/ddos/anomaly/2/confirm");
    assert_eq!((done.status, &done.json()["review"]["by"]), (200, &json!("review")));
    assert_eq!(call(&see, "GET", "/rate-limit/rules").status, 403);
}

#[test]
fn the_command_line_lists_shows_and_reviews() {
    let api = open();
    some(&api);
    let run = |arguments: &[&str]| {
        let server = format!("http://{}", api.running.http_address);
        let output = tidegate().arg("anomaly").args(arguments).env("TIDEGATE_API", server).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, listed, _) = run(&["list", "--since", "1h"]);
    assert_eq!((code, listed.lines().count()), (0, 2), "{listed}");
    for part in ["open", "tighten (shadow)", "0.75", "user ada", "48 requests a second, usually 0.4"] {
        assert!(listed.lines().nth(1).unwrap().contains(part), "{part} is not in {listed}");
    }
    assert!(listed.lines().next().unwrap().contains("path /login, user_agent curl"), "{listed}");
    let (_, first, more) = run(&["list", "--limit", "1"]);
    assert_eq!((first.lines().count(), more.as_str()), (1, "there are more: --after 3\n"));
    let (code, _, errors) = run(&["list", "--state", "shut"]);
    assert!(code == 1 && errors.contains("state: must be open"), "{errors}");

    let (code, said, _) = run(&["dismiss", "2", "--note", "their load test"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "dismissed 2 (user ada); no anomaly worker runs there, so nobody was told\n")
    );
    told(&api);
    assert_eq!(run(&["confirm", "1"]).1, "confirmed 1 (address 203.0.113.7)\n");
    let (_, shown, _) = run(&["show", "2"]);
    for part in ["user ada in edge", "0.75, 20 requests", "limits are 0.25 of what", "(their load test)", "flag"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    let (code, _, errors) = run(&["show", "9"]);
    assert!(code == 1 && errors.contains("there is no anomaly 9"), "{errors}");
    let (_, json, _) = run(&["show", "2", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["state"], "dismissed");
}

#[test]
fn findings_are_beside_the_file_of_the_rules_and_without_one_in_memory() {
    let place = tempfile::tempdir().unwrap();
    let store = Embedded::open(&place.path().join("rules.findings.redb")).unwrap();
    block_on(store.note(&[event(1, now(), user("ada"), Kind::Flag)])).unwrap();
    drop(store);
    let api = start(|config| {
        config.http.allow_unauthenticated = true;
        config.rules.repository_file = Some(place.path().join("rules.redb"));
    });
    assert_eq!(numbers(&api.get("/ddos/anomaly")), ["1"]);

    let rules = "domain: edge\ndescriptors: [{ key: user_id, rate_limit: { unlimited: true } }]\n";
    let server = server_support::start(rules, |config| config.http.allow_unauthenticated = true);
    block_on(server.running.context.findings.note(&[event(1, now(), user("ada"), Kind::Flag)])).unwrap();
    let answer = process::get(server.running.http_address, "/ddos/anomaly");
    assert_eq!(numbers(&answer), ["1"]);
}

#[test]
fn while_postgres_is_away_nothing_is_recorded_and_the_answer_says_so() {
    let server = postgres_support::Postgres::start();
    let time = Duration::from_secs(3);
    let api = start(|config| {
        config.http.allow_unauthenticated = true;
        config.rules.repository_file = None;
        config.database = Some(Database {
            url: DatabaseUrl::new(server.url("postgres", "postgres")),
            connect_timeout: time,
            acquire_timeout: time,
            statement_timeout: time,
            ..Database::default()
        });
    });
    some(&api);
    let told = told(&api);
    assert_eq!(numbers(&api.get("/ddos/anomaly?user_id=ada")), ["2"]);
    server.sigstop();
    let away = api.get("/ddos/anomaly");
    assert_problem(&away, 503, "findings cannot be read or written now");
    assert!(away.header("retry-after").is_some());
    assert_problem(
        &api.call("POST", "/ddos/anomaly/2/dismiss", &[], None),
        503,
        "findings cannot be read or written now",
    );
    assert!(told.feedback.lock().unwrap().is_empty(), "nobody is told of what is not recorded");
    server.sigcont();
    block_on(server_support::eventually("Postgres is back", async || {
        api.call("POST", "/ddos/anomaly/2/dismiss", &[], None).status == 200
    }));
    assert_eq!(api.get("/ddos/anomaly/2").json()["state"], "dismissed");
    assert_eq!(told.feedback.lock().unwrap().len(), 1);
}
