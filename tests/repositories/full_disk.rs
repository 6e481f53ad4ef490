//! A disk that takes no more, and then does again.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tidegate::core::clock::SystemClock;
use tidegate::rules::repository::{Change, Embedded, RepositoryError, RuleRepository as _};

use crate::sample::{amount, commit, limit, put, revision, rule, try_commit};

/// Set in the process whose files may not grow: the file.
const FILE: &str = "TIDEGATE_TEST_FULL_FILE";
/// What it says at the end.
const RECOVERED: &str = "it has recovered";

fn rules(amount: u64) -> Vec<Change> {
    (0..20_000).map(|number| put(rule(&format!("user_id={number}")), limit(amount))).collect()
}

/// Not a test of its own, but the process that [`a_full_disk_is_survived`] starts.
#[tokio::test]
async fn writes_to_a_full_disk() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let repository = Embedded::open(&path, SystemClock::new()).await.unwrap();
    let before = commit(&repository, vec![put(rule("user_id=1"), limit(1))]).await;
    let unlimited = getrlimit(Resource::Fsize);
    let size = std::fs::metadata(&path).unwrap().len();
    setrlimit(Resource::Fsize, Rlimit { current: Some(size), ..unlimited }).unwrap();
    let mut refused = 0;
    for attempt in 2..5 {
        match try_commit(&repository, rules(attempt)).await {
            Err(RepositoryError::Unavailable { .. } | RepositoryError::OutcomeUnknown { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 3);
    setrlimit(Resource::Fsize, unlimited).unwrap();
    let record = repository.get(&rule("user_id=1")).await.unwrap().unwrap();
    assert_eq!((amount(&record), revision(&repository).await), (1, before), "nothing is half done");
    let made = commit(&repository, rules(9)).await;
    assert_eq!(made.0, before.0 + 1);
    drop(repository);
    let repository = Embedded::open(&path, SystemClock::new()).await.unwrap();
    assert_eq!(
        (revision(&repository).await, amount(&repository.get(&rule("user_id=7")).await.unwrap().unwrap())),
        (made, 9)
    );
    println!("\n{RECOVERED}");
}

#[test]
fn a_full_disk_is_survived() {
    let directory = TempDir::new().unwrap();
    // The signal that comes with a file that cannot grow would end the process; a full disk sends none.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "full_disk::writes_to_a_full_disk", "--nocapture"])
        .env(FILE, directory.path().join("rules.redb"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(RECOVERED), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
