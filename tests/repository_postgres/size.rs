//! Many rules.

use crate::ground::{all, commit_of, fresh, limit, put, repository, rule, settings};
use crate::postgres_support::Options;
use std::time::Instant;
use tidegate::rules::repository::record::Kind;
use tidegate::rules::repository::{
    Change, Expected, Filter, Found, Page, RepositoryError, Revision, RuleRepository as _,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_commits_are_made_at_once() {
    let (repository, _) = fresh().await;
    let change = |number: usize, amount| put(rule(&format!("user_id={number:06}")), limit(amount));
    let began = Instant::now();
    let made = repository.commit(commit_of((0..20_000).map(|number| change(number, 1)).collect())).await.unwrap();
    assert_eq!((made.head.revision, made.changed), (Revision(1), 20_000));
    let written = began.elapsed();
    let began = Instant::now();
    assert_eq!(all(&repository).await.len(), 20_000);
    println!("20 000 rules: written in {written:?}, read in {:?}", began.elapsed());
    let half = (0..20_000).map(|number| change(number, 1 + number as u64 % 2)).collect();
    let made = repository.commit(commit_of(half)).await.unwrap();
    assert_eq!((made.head.revision, made.changed), (Revision(2), 10_000), "idle changes are left out");
    let mut last: Vec<Change> = (0..20_000).map(|number| change(number, 3)).collect();
    last[15_000].expected = Expected::At(Revision(7));
    last[16_000].expected = Expected::Absent;
    let conflict = repository.commit(commit_of(last)).await.unwrap_err();
    let subject = rule("user_id=015000");
    let found = Found::At(Revision(1));
    assert_eq!(conflict, RepositoryError::Conflict { subject, expected: Expected::At(Revision(7)), found });
    assert!(repository.changed_since(Revision(1), 9_999).await.unwrap().is_none());
    let changes = repository.changed_since(Revision(1), 10_000).await.unwrap().unwrap();
    assert_eq!(changes.records.len(), 10_000);
    let page = Page { after: Some(rule("user_id=010000")), size: 2 };
    let filter = Filter { kind: Some(Kind::Rule), path_prefix: Some("user_id=01".to_owned()), ..Filter::default() };
    let listed: Vec<_> =
        repository.list(&filter, page).await.unwrap().into_iter().map(|record| record.subject).collect();
    assert_eq!(listed, [rule("user_id=010001"), rule("user_id=010002")]);
}

/// `cargo test --release --test repository_postgres -- --ignored --nocapture a_hundred_thousand`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_hundred_thousand_rules_are_measured() {
    let server = Options::new().start();
    let repository = repository(&settings(&server.url("postgres", "postgres")));
    let change = |number: usize| put(rule(&format!("user_id={number:06}")), limit(5));
    for (what, amount) in [("written", 100_000), ("written again, idle", 100_000), ("one more", 1)] {
        let from = if amount == 1 { 100_000 } else { 0 };
        let commit = commit_of((from..from + amount).map(change).collect());
        let began = Instant::now();
        let made = repository.commit(commit).await.unwrap();
        println!("{what}: {:?}, {} changes", began.elapsed(), made.changed);
    }
    let began = Instant::now();
    let mut read = 0;
    let head = repository.read_all(|_| read += 1).await.unwrap();
    println!("all {read} read: {:?}", began.elapsed());
    let began = Instant::now();
    let one = repository.changed_since(Revision(head.revision.0 - 1), 10).await.unwrap().unwrap();
    println!("{} change read: {:?}", one.records.len(), began.elapsed());
    assert_eq!(read, 100_001);
}
