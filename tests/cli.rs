//! The command line of the real binary: output, exit codes, and errors that say what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod process;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use process::{PATIENCE, Server, texts, tidegate};
use serde_json::{Value, json};

const RULES: &str = "\
domain: edge
descriptors:
  - key: user_id
    rate_limit: { name: per-user, unit: day, requests_per_unit: 2 }
  - key: a
    descriptors:
      - key: b
        rate_limit: { unit: hour, requests_per_unit: 7 }
";

fn run(arguments: &[&str]) -> Output {
    tidegate().args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Standard error, of a command that failed with one line.
fn one_line(output: &Output) -> String {
    let (_, errors) = texts(output);
    assert_eq!(code(output), 1, "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors
}

#[test]
fn help_teaches_ports_and_a_first_request() {
    let (help, _) = texts(&run(&["--help"]));
    for needed in ["8081", "8080", "6070", "tidegate demo", "tidegate check --domain", "curl"] {
        assert!(help.contains(needed), "{needed} is not in\n{help}");
    }
    for command in [&["serve"][..], &["demo"], &["rules", "validate"], &["rules", "describe"], &["check"], &["explain"]]
    {
        let output = run(&[command, &["--help"]].concat());
        assert!(texts(&output).0.contains("Examples:"), "{command:?}");
    }
}

#[test]
fn check_allows_then_denies_with_exit_code_3() {
    let server = Server::start(RULES);
    let check = |arguments: &[&str]| server.ask(&[&["check", "--domain", "edge"], arguments].concat());
    let first = check(&["user_id=alice", "a=1,b=2"]);
    let (text, errors) = texts(&first);
    assert_eq!(code(&first), 0, "{errors}");
    assert!(text.starts_with("OK\n"), "{text}");
    assert!(text.contains("user_id=alice  OK          2 per day (per-user), 1 left, reset in"), "{text}");
    assert!(text.contains("a=1,b=2        OK          7 per hour, 6 left"), "{text}");
    assert_eq!(code(&check(&["user_id=alice"])), 0);
    assert_eq!(code(&check(&["--peek", "user_id=alice"])), 0, "a peek passes a counter that is just full");
    let denied = check(&["user_id=alice"]);
    assert_eq!(code(&denied), 3);
    assert!(texts(&denied).0.contains("OVER_LIMIT"), "{denied:?}");
    assert_eq!(code(&check(&["--peek", "user_id=alice"])), 3);
    assert_eq!(code(&check(&["--hits", "3", "user_id=bob"])), 3);
}

#[test]
fn a_peek_consumes_nothing() {
    let server = Server::start(RULES);
    for _ in 0..4 {
        let output = server.ask(&["check", "--domain", "edge", "--peek", "--format", "json", "user_id=alice"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["overallCode"], "OK");
        assert_eq!(document["statuses"][0]["limitRemaining"], 2);
    }
}

#[test]
fn check_says_what_to_do_when_nobody_answers() {
    // A port that was just free: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let refused = one_line(&run(&["check", "--domain", "d", "a=1", "--server", &url]));
    assert!(refused.contains(&url) && refused.to_lowercase().contains("refused"), "{refused}");
    assert!(refused.contains("is `tidegate serve` running") && refused.contains("8081"), "{refused}");
    let refused = one_line(&run(&["explain", "--domain", "d", "a=1", "--server", &url]));
    assert!(refused.contains("6070"), "{refused}");
    let scheme = one_line(&run(&["check", "--domain", "d", "a=1", "--server", "https://localhost:1"]));
    assert!(scheme.contains("write http://host:port"), "{scheme}");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let started = Instant::now();
    let error = one_line(&run(&["check", "--domain", "d", "a=1", "--timeout", "300ms", "--server", &url]));
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert!(error.contains("300ms"), "{error}");
}

#[test]
fn the_wrong_port_is_named() {
    let server = Server::start(RULES);
    let admin = format!("http://{}", server.admin);
    let error = one_line(&run(&["check", "--domain", "d", "a=1", "--server", &admin]));
    assert!(error.contains("is it its gRPC port, 8081 unless configured"), "{error}");
    let grpc = format!("http://{}", server.grpc);
    let error = one_line(&run(&["explain", "--domain", "d", "a=1", "--server", &grpc]));
    assert!(error.contains("administration port"), "{error}");
}

#[test]
fn descriptors_are_checked_before_anybody_is_asked() {
    let output = run(&["check", "--domain", "d", "=1"]);
    assert_eq!(code(&output), 2);
    assert!(texts(&output).1.contains("entry 1 has no key; write key=value"), "{output:?}");
}

#[test]
fn valid_rules_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edge.yaml");
    std::fs::write(&file, RULES).unwrap();
    let path = file.to_str().unwrap();
    let output = run(&["rules", "validate", path]);
    assert_eq!(code(&output), 0);
    assert!(texts(&output).0.starts_with("OK: 1 file, 1 domain, 2 rules, 0 warnings ("), "{output:?}");
    let output = run(&["rules", "validate", "--format", "json", path]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((document["valid"].as_bool(), document["rules"].as_u64()), (Some(true), Some(2)));
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edge.yaml");
    std::fs::write(
        &file,
        "domain: edge\ndescriptors:\n  - key: a\n    ratelimit: { unit: day, requests_per_unit: 2 }\n  - key: b\n    \
         rate_limit: { unit: fortnight, requests_per_unit: 2 }\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let output = run(&["rules", "validate", path]);
    assert_eq!(code(&output), 1);
    let (text, _) = texts(&output);
    assert!(text.contains("edge.yaml:4:5: error:") && text.contains("ratelimit"), "{text}");
    assert!(text.contains("edge.yaml:6:25: error:") && text.contains("fortnight"), "{text}");
    assert!(text.contains("2 errors, 0 warnings"), "{text}");
    let output = run(&["rules", "validate", "--format", "json", path]);
    assert_eq!(code(&output), 1);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["valid"], &document["errors"]), (&json!(false), &json!(2)));
    assert_eq!(document["diagnostics"][0]["line"], 4);
}

#[test]
fn the_rules_in_force_are_listed() {
    let many: String = (0..1_500)
        .map(|n| format!("  - key: k{n}\n    rate_limit: {{ unit: day, requests_per_unit: {} }}\n", n + 1))
        .collect();
    let server = Server::start(&format!("domain: many\ndescriptors:\n{many}"));
    let output = server.ask(&["rules", "describe"]);
    let (text, errors) = texts(&output);
    assert_eq!(code(&output), 0, "{errors}");
    assert_eq!(text.lines().count(), 1_501, "more than a page");
    assert!(text.starts_with("many k0  1 per 86400s, fixed_window, denied hits are counted  ("), "{text:.200}");
    assert!(text.ends_with("1500 rules, revision 1\n"), "{}", &text[text.len() - 100..]);
    let other = server.ask(&["rules", "describe", "--domain", "none"]);
    assert_eq!(texts(&other).0, "0 rules, revision 1\n");
}

#[test]
fn strict_and_merge_domains_are_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let warned = write(
        "warned.yaml",
        "domain: w\ndescriptors:\n  - key: a\n    rate_limit: { unit: day, requests_per_unit: 1, domain: x }\n",
    );
    let lenient = run(&["rules", "validate", &warned]);
    assert_eq!(code(&lenient), 0, "{lenient:?}");
    assert!(texts(&lenient).0.contains("warning:"), "{lenient:?}");
    assert_eq!(code(&run(&["rules", "validate", "--strict", &warned])), 1);
    let one =
        write("one.yaml", "domain: d\ndescriptors:\n  - key: a\n    rate_limit: { unit: day, requests_per_unit: 1 }\n");
    let two =
        write("two.yaml", "domain: d\ndescriptors:\n  - key: b\n    rate_limit: { unit: day, requests_per_unit: 1 }\n");
    assert_eq!(code(&run(&["rules", "validate", &one, &two])), 1);
    assert_eq!(code(&run(&["rules", "validate", "--merge-domains", &one, &two])), 0);
}

#[test]
fn settings_are_printed_with_their_sources() {
    let output = tidegate()
        .args(["serve", "--print-config", "--grpc-address", "127.0.0.1:9999"])
        .env("TIDEGATE_LIMITER__SHADOW_MODE", "true")
        .output()
        .unwrap();
    let (text, errors) = texts(&output);
    assert_eq!(code(&output), 0, "{errors}");
    let line =
        |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part} in\n{text}"));
    assert!(line("127.0.0.1:9999").ends_with("# from --grpc-address"), "{text}");
    assert!(line("shadow_mode: true").ends_with("# from TIDEGATE_LIMITER__SHADOW_MODE"), "{text}");
    assert!(line("6070").ends_with("# from default"), "{text}");
}

#[test]
fn serve_refuses_what_it_cannot_do_in_time() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        run(&["serve", "--grpc-address", &address, "--http-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"]);
    let (_, errors) = texts(&output);
    assert_eq!(code(&output), 1);
    assert!(errors.contains(&format!("gRPC port {address} is taken")), "{errors}");
    let output = run(&["serve", "--rules", "/nowhere/rules.yaml"]);
    assert_eq!(code(&output), 1);
    assert!(texts(&output).1.contains("/nowhere/rules.yaml"), "{output:?}");
}

#[test]
fn serve_ends_with_0_on_sigterm() {
    let mut server = Server::start(RULES);
    let killed = std::process::Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "still running");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_demo_catches_an_attack_and_releases_it() {
    let mut child = tidegate()
        .args(["demo", "--for", "58s", "--rate", "40", "--attack", "single_source_flood"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // What is told of the attacker, in order; after its release the demo has shown everything.
    let mut steps = ["flagged", "limited", "released"].into_iter().peekable();
    while let Some(step) = steps.peek() {
        let Some(line) = lines.next() else { panic!("no attacker was {step} in\n{text}") };
        let line = line.unwrap();
        if line.contains(&format!(" s  {step} ")) && line.contains("(attacker)") {
            steps.next();
        }
        text.push_str(&line);
        text.push('\n');
    }
    let told = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    text.extend(lines.map(|line| line.unwrap() + "\n"));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", texts(&output).1);

    assert!(text.contains("tidegate check --server 127.0.0.1:"), "{text}");
    let summary = &text[text.rfind("hits on").unwrap()..];
    let line = |begin: &str| {
        let found = summary.lines().find(|line| line.trim_start().starts_with(begin));
        found.unwrap_or_else(|| panic!("{begin} in\n{text}"))
    };
    let number = |begin: &str, after: &str| {
        line(begin).split(after).nth(1)?.split_whitespace().next()?.trim_end_matches(',').parse::<u64>().ok()
    };
    assert!(number("Legitimate:", ":").unwrap() > 500, "{text}");
    assert!(line("Legitimate:").contains(" 0 limited by the anomaly worker, 0 by the rules"), "{text}");
    assert!(number("Attack 1:", "; ").unwrap() >= 50, "per cent stopped\n{text}");
    assert!(number("edge.remote_address", "limited").unwrap() > 0, "the rules limit it at once\n{text}");
    assert_eq!(number("edge.method ", "limited"), Some(0), "shadow mode denies nothing\n{text}");
    assert!(number("edge.method ", "shadow").unwrap() > 0, "{text}");
    assert!(!summary.contains("failed"), "{text}");
}

#[test]
fn the_demo_shows_attacks_that_it_can_show() {
    let output = run(&["demo", "--attack", "slow_scraper"]);
    let (_, errors) = texts(&output);
    assert_eq!(code(&output), 2, "{errors}");
    assert!(errors.contains("tidegate anomaly simulate --scenario slow_scraper"), "{errors}");
}

#[test]
fn the_demo_tells_what_is_wrong_with_an_envoy() {
    let error = one_line(&run(&["demo", "--for", "1s", "--envoy", "/nowhere/envoy"]));
    assert!(error.contains("/nowhere/envoy"), "{error}");
}
