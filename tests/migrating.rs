//! The guides for those who come from other rate limiters: complete, and true where a machine can tell.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod process;

use std::fs;
use std::path::Path;

use process::{texts, tidegate};
use serde_json::Value;
use tidegate::config::compat::{TABLE, Treatment};
use tidegate::config::{Config, LoadOptions};
use tidegate::rules::files::load_text;
use tidegate::rules::import::{Format, import};

const ENVOY: &str = include_str!("../docs/migrating-from-envoyproxy-ratelimit.md");
const LIMITADOR: &str = include_str!("../docs/migrating-from-limitador.md");

const VERDICTS: [&str; 4] = ["same", "different", "not needed", "not supported"];

/// The rows of all tables with a verdict: the first cell, the verdict, the rest.
fn rows(document: &str) -> Vec<(String, String, String)> {
    let row = |line: &str| {
        let line = line.replace(r"\|", "OR");
        let cells: Vec<String> = line.strip_prefix('|')?.split('|').map(|cell| cell.trim().to_owned()).collect();
        let [first, verdict, rest, ..] = &cells[..] else { return None };
        let is_row = !matches!(&**verdict, "here" | "---") && cells.len() == 4;
        is_row.then(|| (first.clone(), verdict.clone(), rest.clone()))
    };
    document.lines().filter_map(row).collect()
}

/// The fenced blocks of a language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    document.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_row_has_a_verdict() {
    for document in [ENVOY, LIMITADOR] {
        let rows = rows(document);
        assert!(rows.len() > 30, "{}", rows.len());
        for (first, verdict, rest) in rows {
            assert!(VERDICTS.contains(&&*verdict), "{first}: {verdict}");
            assert!(verdict == "same" || !rest.is_empty(), "{first} is {verdict} for no reason");
        }
    }
}

#[test]
fn every_setting_of_envoyproxy_is_told_as_it_is_treated() {
    let rows = rows(ENVOY);
    for entry in TABLE {
        let told: Vec<_> = rows.iter().filter(|(names, ..)| quoted(names).contains(&entry.name)).collect();
        let [(_, verdict, _)] = &told[..] else { panic!("{} is told {} times", entry.name, told.len()) };
        let fits: &[&str] = match entry.treatment {
            Treatment::Field(_) | Treatment::Switch(_) => &["same", "different"],
            Treatment::Special => &VERDICTS,
            Treatment::Unneeded(_) => &["not needed"],
            Treatment::Unsupported(_) | Treatment::UnsupportedIfTrue(_) => &["not supported"],
        };
        assert!(fits.contains(&&**verdict), "{} is {verdict}, but treated as {:?}", entry.name, entry.treatment);
    }
}

/// What `limitador-server` 2 can be told.
const LIMITADOR_SETTINGS: [&str; 40] = [
    "LIMITS_FILE",
    "ENVOY_RLS_HOST",
    "ENVOY_RLS_PORT",
    "HTTP_API_HOST",
    "HTTP_API_PORT",
    "TRACING_ENDPOINT",
    "LIMIT_NAME_IN_PROMETHEUS_LABELS",
    "DISK_PATH",
    "DISK_OPTIMIZE",
    "REDIS_URL",
    "REDIS_LOCAL_CACHE_ENABLED",
    "REDIS_LOCAL_CACHE_FLUSHING_PERIOD_MS",
    "REDIS_LOCAL_CACHE_BATCH_SIZE",
    "RATE_LIMIT_HEADERS",
    "RUST_LOG",
    "--rls-ip",
    "--rls-port",
    "--http-ip",
    "--http-port",
    "--limit-name-in-labels",
    "--custom-metric-labels",
    "--metric-labels-default",
    "--tracing-endpoint",
    "-v",
    "--structured-logs",
    "--validate",
    "--rate-limit-headers",
    "--grpc-reflection-service",
    "memory",
    "--cache",
    "disk",
    "--optimize",
    "redis",
    "redis_cached",
    "--batch-size",
    "--flush-period",
    "--max-cached",
    "--response-timeout",
    "distributed",
    "-S",
];

#[test]
fn every_setting_of_limitador_is_told_once() {
    let rows = rows(LIMITADOR);
    for name in LIMITADOR_SETTINGS {
        let told = rows.iter().filter(|(names, ..)| quoted(names).contains(&name)).count();
        assert_eq!(told, 1, "{name}");
    }
}

#[test]
fn every_name_in_capitals_is_one_of_theirs() {
    let is_name = |word: &&str| word.len() > 3 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    for (names, ..) in rows(ENVOY) {
        for name in quoted(&names).into_iter().filter(is_name) {
            assert!(TABLE.iter().any(|entry| entry.name == name), "{name} is no setting of envoyproxy/ratelimit");
        }
    }
}

/// Settings that a file, or an environment, gives.
fn settings(file: Option<&Path>, env: &str) -> Config {
    let assignments = env.lines().filter_map(|line| line.split_once('='));
    let env = assignments.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let options = LoadOptions { file: file.map(Path::to_owned), env, flags: Vec::new() };
    let loaded = Config::load(&options).unwrap_or_else(|errors| panic!("{errors}"));
    let warnings: Vec<_> = loaded.notes.iter().filter(|note| note.text.contains("no effect")).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    loaded.config
}

#[test]
fn the_settings_of_the_guides_load() {
    let env = blocks(ENVOY, "env");
    assert_eq!(env.len(), 1);
    let config = settings(None, &env[0]);
    assert!(config.redis.is_some() && config.telemetry.metrics.prometheus_address.is_some(), "{config:?}");
    let file = blocks(LIMITADOR, "yaml").into_iter().find(|block| block.starts_with("rules:\n")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidegate.yaml");
    fs::write(&path, file).unwrap();
    assert!(settings(Some(&path), "").redis.is_some());
}

#[test]
fn every_setting_that_a_guide_points_to_exists() {
    let known = include_str!("../docs/configuration.md");
    let sections = ["grpc.", "http.", "admin.", "rules.", "limiter.", "redis.", "shutdown.", "telemetry."];
    for document in [ENVOY, LIMITADOR] {
        for word in document.lines().flat_map(quoted) {
            let field = word.split([':', ' ']).next().unwrap();
            if sections.iter().any(|section| field.starts_with(section)) && !field.ends_with('*') {
                assert!(known.contains(&format!("`{field}`")), "{field} is no setting");
            }
        }
    }
}

/// Runs the commands of the shell blocks in a directory, and returns what the first one told.
fn run(document: &str, directory: &Path) -> String {
    let mut told = Vec::new();
    for command in blocks(document, "sh").iter().flat_map(|block| block.lines()) {
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("tidegate"), "{command}");
        let output = tidegate().args(words).current_dir(directory).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}: {output:?}");
        told.push(texts(&output).1);
    }
    assert!(told.len() >= 2, "{told:?}");
    told.swap_remove(0)
}

#[test]
fn the_commands_of_the_envoyproxy_guide_run() {
    let directory = tempfile::tempdir().unwrap();
    let rules = blocks(ENVOY, "yaml");
    assert_eq!(rules.len(), 1);
    let loaded = load_text("edge.yaml", &rules[0]).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.rules.rule_count(), 2);
    fs::create_dir(directory.path().join("config")).unwrap();
    fs::write(directory.path().join("config/edge.yaml"), &rules[0]).unwrap();
    run(ENVOY, directory.path());
    let written = fs::read_to_string(directory.path().join("checked/edge.yaml")).unwrap();
    assert_eq!(load_text("edge.yaml", &written).unwrap().rules.rule_count(), 2);
}

#[test]
fn the_commands_of_the_limitador_guide_run_and_tell_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let limits = blocks(LIMITADOR, "yaml").into_iter().find(|block| block.starts_with("- namespace")).unwrap();
    fs::write(directory.path().join("limits.yaml"), limits).unwrap();
    let told = run(LIMITADOR, directory.path());
    let report = blocks(LIMITADOR, "text").into_iter().find(|block| block.starts_with("limits.yaml")).unwrap();
    for line in report.lines() {
        assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
    }
    // What Envoy is made to send is what the rules need.
    let envoy = blocks(LIMITADOR, "yaml").into_iter().find(|block| block.starts_with("rate_limits")).unwrap();
    let envoy: Value = serde_saphyr::from_str(&envoy).unwrap();
    let keys = |item: &Value| -> Vec<String> {
        let actions = item["actions"].as_array().unwrap();
        actions.iter().map(|action| action["request_headers"]["descriptor_key"].as_str().unwrap().to_owned()).collect()
    };
    let sent: Vec<Vec<String>> = envoy["rate_limits"].as_array().unwrap().iter().map(keys).collect();
    let imported = import(Format::Limitador, &[directory.path().join("limits.yaml")], false).unwrap();
    let needed = imported.descriptors.iter().map(|one| one.entries.iter().map(|(key, _)| key.clone()).collect());
    assert_eq!(sent, needed.collect::<Vec<Vec<String>>>());
}
