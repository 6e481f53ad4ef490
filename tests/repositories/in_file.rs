//! What is particular to a repository in a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use redb::{Database, TableDefinition};
use tempfile::TempDir;
use tidegate::core::clock::{ManualClock, Micros, SystemClock};
use tidegate::rules::repository::{Embedded, RepositoryError, Revision, RuleRepository as _};

use crate::sample::{commit, limit, put, rule};

async fn open(path: &std::path::Path) -> Result<Embedded, RepositoryError> {
    Embedded::open(path, SystemClock::new()).await
}

fn told(opened: Result<Embedded, RepositoryError>) -> String {
    let Err(RepositoryError::Unusable(text)) = opened else { panic!("{opened:?}") };
    text
}

#[tokio::test]
async fn it_is_there_again_when_opened_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("some/where/rules.redb");
    let repository = open(&path).await.unwrap();
    commit(&repository, vec![put(rule("a"), limit(1))]).await;
    let (head, record) = (repository.head().await.unwrap(), repository.get(&rule("a")).await.unwrap());
    drop(repository);
    let repository = open(&path).await.unwrap();
    assert_eq!(repository.head().await.unwrap(), head);
    assert_eq!(repository.get(&rule("a")).await.unwrap(), record);
    assert_eq!(*repository.announced().borrow(), Revision(1));
}

#[tokio::test]
async fn nobody_else_may_read_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("some/where/rules.redb");
    let _repository = open(&path).await.unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let mut names: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["rules.redb", "rules.redb.lock"]);
}

#[tokio::test]
async fn every_new_one_has_an_epoch_of_its_own() {
    let directory = TempDir::new().unwrap();
    let first = open(&directory.path().join("1")).await.unwrap().head().await.unwrap();
    let second = open(&directory.path().join("2")).await.unwrap().head().await.unwrap();
    assert_ne!(first.epoch, second.epoch);
}

#[tokio::test]
async fn stamps_are_of_the_clock() {
    let clock = ManualClock::at(Micros(1_800_000_000_000_001));
    let repository = Embedded::in_memory(clock.clone()).unwrap();
    commit(&repository, vec![put(rule("a"), limit(1))]).await;
    clock.advance(Micros::SECOND);
    commit(&repository, vec![put(rule("a"), limit(2))]).await;
    let record = repository.get(&rule("a")).await.unwrap().unwrap();
    assert_eq!(record.created.at.as_microsecond(), 1_800_000_000_000_001);
    assert_eq!(record.updated.at.as_microsecond(), 1_800_000_001_000_001);
}

#[tokio::test]
async fn one_at_a_time_has_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.redb");
    let first = open(&path).await.unwrap();
    let text = told(open(&path).await);
    assert!(text.contains(path.to_str().unwrap()) && text.contains("in use by another process"), "{text}");
    commit(&first, vec![put(rule("a"), limit(1))]).await;
    drop(first);
    open(&path).await.unwrap();
}

#[tokio::test]
async fn damage_is_told_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.redb");
    let repository = open(&path).await.unwrap();
    for number in 0..300 {
        commit(&repository, vec![put(rule(&format!("user_id={number}")), limit(1))]).await;
    }
    drop(repository);
    let sound = fs::read(&path).unwrap();
    let mut overwritten = sound.clone();
    for start in (4_096..overwritten.len()).step_by(4_096) {
        overwritten[start + 64..start + 96].fill(0xA5);
    }
    let cases = [
        ("cut off", sound[..sound.len() / 3].to_vec()),
        ("overwritten", overwritten),
        ("no header", [vec![0; 4_096], sound[4_096..].to_vec()].concat()),
        ("text", b"domain: edge\n".to_vec()),
        ("empty", Vec::new()),
    ];
    for (case, bytes) in cases {
        fs::write(&path, &bytes).unwrap();
        let text = told(open(&path).await);
        assert!(text.contains(path.to_str().unwrap()) && text.contains("damaged"), "{case}: {text}");
        assert!(fs::read(&path).unwrap() == bytes, "{case}: the file is another one now");
    }
    fs::write(&path, &sound).unwrap();
    assert_eq!(open(&path).await.unwrap().head().await.unwrap().revision, Revision(300));
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_not_touched() {
    const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.redb");
    drop(open(&path).await.unwrap());
    let write = |format: &str| {
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    write("2");
    let text = told(open(&path).await);
    assert!(text.contains(path.to_str().unwrap()) && text.contains("newer version"), "{text}");
    write("1");
    open(&path).await.unwrap();
    let other = directory.path().join("other.redb");
    drop(Database::create(&other).unwrap());
    assert!(told(open(&other).await).contains("is no rule store"));
}

#[tokio::test]
async fn what_a_killed_process_left_half_made_is_made_anew() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.redb");
    fs::write(directory.path().join("rules.redb.new"), b"half").unwrap();
    let repository = open(&path).await.unwrap();
    commit(&repository, vec![put(rule("a"), limit(1))]).await;
}

/// What a million rules take; a measurement, run by hand with `--release -- --ignored --nocapture a_million`.
#[tokio::test]
#[ignore = "takes a while, and says something in a release build only"]
async fn a_million_rules() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.redb");
    let repository = open(&path).await.unwrap();
    let timed = |what: &str, start: std::time::Instant| println!("{what}: {:?}", start.elapsed());
    let all: Vec<_> = (0..1_000_000).map(|number| put(rule(&format!("user_id={number}")), limit(1))).collect();
    let start = std::time::Instant::now();
    commit(&repository, all).await;
    timed("one commit of them", start);
    let start = std::time::Instant::now();
    commit(&repository, vec![put(rule("user_id=7"), limit(2))]).await;
    timed("one change", start);
    let start = std::time::Instant::now();
    let mut read = 0;
    repository.read_all(|_| read += 1).await.unwrap();
    timed("all read", start);
    assert_eq!(read, 1_000_000);
    drop(repository);
    println!("{} MB", fs::metadata(&path).unwrap().len() >> 20);
    let start = std::time::Instant::now();
    let repository = open(&path).await.unwrap();
    timed("opened", start);
    let start = std::time::Instant::now();
    let filter = tidegate::rules::repository::Filter { tag: Some("gold".to_owned()), ..Default::default() };
    assert_eq!(repository.list(&filter, crate::sample::page(10)).await.unwrap(), []);
    timed("a tag that none has", start);
}
