//! Replays: of simulated logs by the real binary, and of small ones with a worker that acts by a script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod process;

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::Path;

use process::{texts, tidegate};
use serde_json::{Value, json};
use tidegate::anomaly::event::{Event, Kind, Reason};
use tidegate::anomaly::observation::{Observation, Outcome};
use tidegate::core::adjustment::Effect;
use tidegate::core::clock::Micros;
use tidegate::core::identity::Identities;
use tidegate::core::subject::{Attribute, Subject};
use tidegate::replay::enforcement::{Enforcement, site};
use tidegate::replay::html;
use tidegate::replay::log::Reader;
use tidegate::replay::run::{Replayed, Worker, run};

/// Holds `value` against the part of JSON Schema that the schema of reports is written in. A word it does not know
/// fails, so that nothing of the schema is passed over.
fn check(value: &Value, schema: &Value, root: &Value, place: &str) -> Result<(), String> {
    let fail = |what: String| Err(format!("{place}: {what}: {value}"));
    for (word, wanted) in schema.as_object().unwrap() {
        match &**word {
            "$schema" | "title" | "description" | "$defs" => {}
            "$ref" => {
                let target = root.pointer(wanted.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                check(value, target, root, place)?;
            }
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("unknown type {other}"),
                };
                let one_of = wanted.as_array().is_some_and(|names| names.iter().any(is));
                if !(one_of || wanted.is_string() && is(wanted)) {
                    return fail(format!("not of type {wanted}"));
                }
            }
            "enum" if wanted.as_array().unwrap().contains(value) => {}
            "enum" => return fail("not one of the values".to_owned()),
            "minimum" if value.as_f64().is_some_and(|number| number < wanted.as_f64().unwrap()) => {
                return fail("too small".to_owned());
            }
            "maximum" if value.as_f64().is_some_and(|number| number > wanted.as_f64().unwrap()) => {
                return fail("too large".to_owned());
            }
            "minimum" | "maximum" => {}
            "required" => {
                for name in wanted.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return fail(format!("{name} is missing"));
                    }
                }
            }
            "properties" | "additionalProperties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    let place = format!("{place}/{name}");
                    let known = schema.get("properties").and_then(|properties| properties.get(name));
                    match (&**word, known, wanted) {
                        ("properties", Some(known), _) => check(value, known, root, &place)?,
                        ("properties", None, _) | (_, Some(_), _) => {}
                        (_, None, Value::Bool(false)) => return Err(format!("{place}: unknown")),
                        (_, None, others) => check(value, others, root, &place)?,
                    }
                }
            }
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(item, wanted, root, &format!("{place}/{at}"))?;
                }
            }
            "oneOf" => {
                let choices = wanted.as_array().unwrap().iter();
                let fitting = choices.filter(|choice| check(value, choice, root, place).is_ok()).count();
                if fitting != 1 {
                    return fail(format!("fits {fitting} choices"));
                }
            }
            other => panic!("the schema has a word that this test does not know: {other}"),
        }
    }
    Ok(())
}

fn valid(report: &Value) -> Result<(), String> {
    let schema: Value = serde_json::from_str(include_str!("../docs/anomaly-report.schema.json")).unwrap();
    check(report, &schema, &schema, "")
}

/// Says what it is told to at each second since the start of the log.
#[derive(Default)]
struct Script {
    start: Option<u64>,
    events: Vec<(u64, Kind, Subject)>,
    ticks: u64,
    outcomes: Vec<Outcome>,
}

impl Worker for Script {
    fn interval(&self) -> Micros {
        Micros::SECOND
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        self.start.get_or_insert(observation.at.0 / 1_000_000);
        self.outcomes.push(observation.outcome);
    }

    fn tick(&mut self, now: Micros) -> Vec<Event> {
        self.ticks += 1;
        let second = now.0 / 1_000_000 - self.start.unwrap();
        let (due, later) = std::mem::take(&mut self.events).into_iter().partition(|(at, ..)| *at <= second);
        self.events = later;
        let due: Vec<_> = due;
        let event = |(_, kind, subject)| Event {
            at: now,
            incident: 1,
            domain: "site".to_owned(),
            subject,
            kind,
            score: 0.75,
            requests: 10,
            reasons: vec![Reason {
                feature: "rate".into(),
                usual: 0.4,
                present: 48.0,
                text: "<b>48</b> a second".to_owned(),
            }],
        };
        due.into_iter().map(event).collect()
    }
}

const START: u64 = 1_767_607_200;

/// One request a second of somebody legitimate, ten of an attacker with an unpleasant name.
fn log(seconds: u64) -> String {
    let mut log = String::new();
    for second in 0..seconds {
        let ts = START + second;
        let legit = json!({"ts": ts, "user_id": "alice", "ip_address": "192.0.2.1", "path": "/", "label": "legit"});
        writeln!(log, "{legit}").unwrap();
        for tenth in 0..10 {
            let ts = ts as f64 + f64::from(tenth) / 10.0;
            let attack = json!({"ts": ts, "user_id": NAME, "ip_address": "192.0.2.9", "path": "/a", "country": "VN",
                "user_agent": NAME, "label": LABEL});
            writeln!(log, "{attack}").unwrap();
        }
    }
    log
}

const NAME: &str = "<script>alert('&\"')</script>";
const LABEL: &str = "flood<img src=x onerror=alert(1)>";

fn replay(log: String, script: &mut Script) -> (Replayed, Value) {
    let reader = Reader::new(Cursor::new(log), None).unwrap();
    let mut rules = Enforcement::new(site().unwrap(), Identities::default()).unwrap();
    let replayed = run(reader, script, &mut rules, |_| {}).unwrap();
    let report = serde_json::to_value(&replayed.report).unwrap();
    valid(&report).unwrap();
    (replayed, report)
}

fn tighten(factor: f64, expires: u64) -> Kind {
    let effect = Effect::Factor { factor, floor: 1 };
    Kind::Tighten { effect, expires: Micros::from_secs(START + expires), shadow: false }
}

#[test]
fn actions_are_enforced_on_the_lines_that_follow_and_reported() {
    let attacker = Subject::User(NAME.into());
    let group =
        Subject::Group([(Attribute::Country, "VN".into()), (Attribute::Path, "/a".into())].into_iter().collect());
    let mut script = Script {
        events: vec![
            (10, Kind::Flag, attacker.clone()),
            (20, tighten(0.1, 40), attacker.clone()),
            (25, Kind::Held, attacker.clone()),
            (50, Kind::Block { expires: Micros::from_secs(START + 100), shadow: false }, group.clone()),
            (60, Kind::Release, group),
            (70, Kind::Block { expires: Micros::from_secs(START + 100), shadow: true }, attacker),
        ],
        ..Script::default()
    };
    let (replayed, report) = replay(log(90), &mut script);
    assert_eq!(report["lines"], 990);
    assert_eq!(report["span_s"], 89.9);
    assert_eq!(report["flags"].as_array().unwrap().len(), 1);
    assert_eq!(report["flags"][0]["ts"].as_f64().unwrap(), (START + 10) as f64);
    assert_eq!(report["flags"][0]["subject"], json!({"user_id": NAME}));
    assert_eq!(report["flags"][0]["reasons"], json!(["<b>48</b> a second"]));
    let actions: Vec<_> = report["actions"].as_array().unwrap().iter().map(|action| &action["kind"]).collect();
    // What was held, and what was only told, is none.
    assert_eq!(actions, ["flag", "tighten", "block", "release"]);
    assert_eq!(report["actions"][1]["factor"], 0.1);
    assert_eq!(report["actions"][1]["expires_ts"].as_f64().unwrap(), (START + 40) as f64);
    assert_eq!(report["actions"][2]["subject"], json!({"group": {"country": "VN", "path": "/a"}}));

    let (legit, attack) = (&report["labels"]["legit"], &report["labels"][LABEL]);
    assert_eq!((&legit["requests"], &legit["limited"]), (&json!(90), &json!(0)));
    assert_eq!((&legit["first_flag_ts"], &legit["first_action_ts"]), (&Value::Null, &Value::Null));
    assert_eq!(attack["requests"], 900);
    // 20 s of a tenth of 300 a minute, and 10 s of nothing at all.
    let limited = attack["limited_by_adjustment"].as_u64().unwrap();
    assert!((260..=300).contains(&limited), "{limited}");
    assert_eq!(attack["first_flag_ts"].as_f64().unwrap(), (START + 10) as f64);
    assert_eq!(attack["first_action_ts"].as_f64().unwrap(), (START + 20) as f64);
    // The worker sees what became of each request.
    let adjusted = script.outcomes.iter().filter(|outcome| **outcome == Outcome::LimitedByAdjustment).count();
    assert_eq!(adjusted as u64, limited);
    assert_eq!(script.outcomes.len(), 990);

    let page = html::page(NAME, &replayed);
    for hostile in ["<script", "<img", "<b>48"] {
        assert!(!page.contains(hostile), "{hostile} is in the page");
    }
    for needed in
        ["&lt;script&gt;", "&lt;img src=x", "&lt;b&gt;48&lt;/b&gt; a second", "limits times 0.100", "released"]
    {
        assert!(page.contains(needed), "{needed} is not in the page");
    }
    // It loads nothing.
    for outside in ["http://", "https://", "url(", "@import", "src=\"", "<link"] {
        assert!(!page.contains(outside), "{outside} is in the page");
    }
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let good = json!({"lines": 1, "span_s": 0.0, "flags": [], "actions": [], "labels": {}});
    valid(&good).unwrap();
    let action = json!({"ts": 1.0, "subject": {"user_id": "a"}, "kind": "flag", "factor": null, "expires_ts": null});
    let with = |change: &dyn Fn(&mut Value)| {
        let mut report = good.clone();
        report["actions"] = json!([action]);
        change(&mut report);
        valid(&report)
    };
    with(&|_| {}).unwrap();
    assert!(with(&|report| report["more"] = json!(1)).is_err());
    assert!(with(&|report| report["lines"] = json!(-1)).is_err());
    assert!(with(&|report| report["actions"][0]["kind"] = json!("hold")).is_err());
    assert!(with(&|report| report["actions"][0]["factor"] = json!(2)).is_err());
    assert!(with(&|report| report["actions"][0]["subject"] = json!({"user_id": "a", "ip_address": "b"})).is_err());
    assert!(with(&|report| report["labels"]["legit"] = json!({"requests": 1})).is_err());
}

#[test]
fn every_interval_ends_once_but_long_silence_is_cut_short() {
    let mut script = Script::default();
    replay(log(90), &mut script);
    assert_eq!(script.ticks, 90);
    // A month of silence.
    let mut script = Script::default();
    let later = log(2).replace("17676072", "17702072");
    replay(log(2) + &later, &mut script);
    assert!((3_600..3_620).contains(&script.ticks), "{}", script.ticks);
}

fn path(directory: &tempfile::TempDir, name: &str) -> String {
    directory.path().join(name).to_str().unwrap().to_owned()
}

fn run_command(arguments: &[&str]) -> (i32, String, String) {
    let output = tidegate().arg("anomaly").args(arguments).output().unwrap();
    let (text, errors) = texts(&output);
    (output.status.code().unwrap(), text, errors)
}

#[test]
fn simulated_logs_are_replayed_by_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let (log, again) = (path(&directory, "log.jsonl"), path(&directory, "again.jsonl"));
    for output in [&log, &again] {
        let options = ["--scenario", "single-source-flood", "--duration", "90s", "--rate", "20", "--nat"];
        let (code, _, errors) = run_command(&[&["simulate", "--output", output], &options[..]].concat());
        assert_eq!(code, 0, "{errors}");
    }
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(lines == std::fs::read_to_string(&again).unwrap(), "the same options write the same log");

    let (report, page) = (path(&directory, "report.json"), path(&directory, "page.html"));
    let (code, text, errors) = run_command(&["replay", "--input", &log, "--report", &report, "--html", &page]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(errors, "", "no progress bar without a terminal");
    assert!(text.contains(&format!("{} lines", lines.lines().count())), "{text}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    valid(&report).unwrap();
    assert_eq!(report["lines"], lines.lines().count());
    let labels: Vec<_> = report["labels"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(labels, ["legit", "single_source_flood"]);
    // 100 a second are more than the 1200 a minute that the rules allow an address.
    assert!(report["labels"]["single_source_flood"]["limited"].as_u64().unwrap() > 1_000, "{report}");
    assert!(std::fs::read_to_string(page).unwrap().starts_with("<!doctype html>"));
}

#[test]
fn a_combined_log_is_replayed_against_rules_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let (log, rules) = (path(&directory, "access.log"), path(&directory, "rules.yaml"));
    let line = "192.0.2.7 - - [05/Jan/2026:11:00:00 +0100] \"GET /a HTTP/1.1\" 200 1 \"-\" \"curl/8\"\n";
    std::fs::write(&log, format!("{}nonsense\n", line.repeat(10))).unwrap();
    let limit = "rate_limit: { unit: day, requests_per_unit: 4 }";
    std::fs::write(
        &rules,
        format!("domain: d\ndescriptors:\n  - {{ key: remote_address, {limit} }}\n  - {{ key: tenant, {limit} }}\n"),
    )
    .unwrap();
    let (code, text, errors) = run_command(&["replay", "--input", &log, "--rules", &rules]);
    assert_eq!(code, 0, "{errors}");
    for needed in
        ["11 lines", "lines that cannot be read: 1", "line 11: line: has no fields", "tell their values: tenant"]
    {
        assert!(text.contains(needed), "{needed} is not in\n{text}");
    }
}

#[test]
fn mistakes_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let empty = path(&directory, "empty");
    std::fs::write(&empty, "\n\n").unwrap();
    let missing = path(&directory, "missing");
    let out = "/nonexistent/report.json";
    for (arguments, code, wanted) in [
        (&["replay", "--input", &missing][..], 1, "No such file"),
        (&["replay", "--input", &empty], 1, "the log is empty"),
        (&["replay", "--input", &empty, "--domain", "other"], 1, "there is no such domain; there are site"),
        (&["simulate", "--scenario", "peace"], 2, "there are calm, flash_crowd"),
        (&["simulate", "--scenario", "calm", "--overlap", "2"], 1, "--overlap: 2 is not in the range 0 to 1"),
        (&["simulate", "--scenario", "calm", "--output", out], 1, "cannot write /nonexistent/report.json"),
        (&["simulate"], 2, "--scenario <NAME>"),
    ] {
        let (got, _, errors) = run_command(arguments);
        assert_eq!(got, code, "{arguments:?}: {errors}");
        assert!(errors.contains(wanted), "{arguments:?}: {errors}");
    }
    assert!(!Path::new(out).exists());
    let (code, text, _) = run_command(&["simulate", "--list"]);
    assert_eq!((code, text.lines().count()), (0, 8));
}
