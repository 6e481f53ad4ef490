//! SIGKILL at any point: what was acknowledged is there, and nothing is there by half.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tidegate::core::clock::SystemClock;
use tidegate::rules::repository::{Change, Content, Embedded, Revision, RuleRepository as _, Subject};

use crate::sample::{commit, delete, limit, page, put, revision, rule};

/// Set in the process that is killed: the file.
const FILE: &str = "TIDEGATE_TEST_CRASH_FILE";
const RULES: u64 = 24;

/// What a revision makes of a rule: each changes a different part of them.
fn content(number: u64, revision: u64) -> Option<Option<Content>> {
    match (number + revision) % 5 {
        0 => None,
        1 => Some(None),
        _ => Some(Some(limit(revision))),
    }
}

fn subject(number: u64) -> Subject {
    rule(&format!("user_id={number}"))
}

fn changes(revision: u64) -> Vec<Change> {
    let change = |number| {
        Some(match content(number, revision)? {
            Some(content) => put(subject(number), content),
            None => delete(subject(number)),
        })
    };
    (0..RULES).filter_map(change).collect()
}

/// Not a test of its own, but the process that [`a_killed_process_leaves_its_last_commit`] kills.
#[test]
fn commits_until_it_is_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let repository = Embedded::open(path, SystemClock::new()).await.unwrap();
        loop {
            let next = revision(&repository).await.0 + 1;
            let made = commit(&repository, changes(next)).await;
            println!("\nacknowledged {made}");
        }
    });
}

#[test]
fn a_killed_process_leaves_its_last_commit() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.redb");
    let mut random = fastrand::Rng::with_seed(6);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut before = 0;
    for round in 0..16 {
        // In the first rounds while it is being made, or opened.
        let wait_for = if round < 4 { 0 } else { random.u64(1..12) };
        let acknowledged = run_and_kill(&path, before, wait_for, Duration::from_micros(random.u64(0..15_000)));
        before = runtime.block_on(check(&path, acknowledged));
    }
    assert!(before > 20, "it was killed before it did anything: {before} commits");
}

/// The last revision that was acknowledged.
fn run_and_kill(path: &Path, before: u64, wait_for: u64, delay: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::commits_until_it_is_killed", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let number = |line: &str| line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok());
    let mut last = before;
    for _ in 0..wait_for {
        last = lines.by_ref().find_map(|line| number(&line.unwrap())).expect("it commits until it is killed");
    }
    // Not to wait for anything, but to be somewhere in the middle of it.
    thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had still said.
    lines.map_while(Result::ok).filter_map(|line| number(&line)).last().unwrap_or(last)
}

/// Holds the repository against what was committed; its revision.
async fn check(path: &Path, acknowledged: u64) -> u64 {
    let repository = Embedded::open(path, SystemClock::new()).await.unwrap();
    let head = revision(&repository).await.0;
    // The one in flight may have been made.
    assert!((acknowledged..=acknowledged + 1).contains(&head), "{head}, but {acknowledged} was acknowledged");
    for number in 0..RULES {
        let subject = subject(number);
        let mut expected = None;
        for revision in 1..=head {
            if let Some(content) = content(number, revision) {
                expected = content.map(|content| (revision, content));
            }
            let there = repository.content_at(&subject, Revision(revision)).await.unwrap().map(Result::unwrap);
            assert_eq!(there.as_ref(), expected.as_ref().map(|(_, content)| content), "{subject} at {revision}");
        }
        let record = repository.get(&subject).await.unwrap();
        let found = record.map(|record| (record.revision.0, record.content.unwrap().unwrap()));
        assert_eq!(found, expected, "{subject}");
    }
    let newest = repository.history(None, page(1)).await.unwrap();
    assert!(newest.iter().all(|version| version.revision.0 == head));
    head
}
