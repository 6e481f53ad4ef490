//! Large commits, and many at once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tidegate::rules::repository::{Commit, Expected, Filter, Page, RepositoryError, Revision, RuleRepository as _};

use crate::sample::{amount, commit, commit_of, expecting, limit, page, put, revision, rule, try_commit};
use crate::stand::Stand;

pub async fn ten_thousand_changes_are_one_commit(stand: impl Stand) {
    let repository = stand.repository();
    let all = |amount| -> Vec<_> {
        (0..10_000).map(|number| put(rule(&format!("user_id={number}")), limit(amount))).collect()
    };
    let made = try_commit(repository, all(1)).await.unwrap();
    assert_eq!((made.head.revision, made.changed), (Revision(1), 10_000));
    let mut bad = all(2);
    bad.push(expecting(Expected::Absent, put(rule("user_id=9999,x"), limit(2))));
    bad[5_000].expected = Expected::Absent;
    assert!(matches!(try_commit(repository, bad).await, Err(RepositoryError::Conflict { .. })));
    let (mut read, mut changed) = (0, 0);
    let each = |record| {
        read += 1;
        changed += usize::from(amount(&record) != 1);
    };
    repository.read_all(each).await.unwrap();
    assert_eq!((read, changed), (10_000, 0));
    let last = Page { after: Some(rule("user_id=9998")), size: 10 };
    assert_eq!(repository.list(&Filter::default(), last).await.unwrap().len(), 1);
}

pub async fn concurrent_commits_are_all_made_in_some_order(stand: impl Stand) {
    const WRITERS: u64 = 8;
    const COMMITS: u64 = 12;
    let repository = stand.repository();
    // Each writer has a rule of its own, and all have one in common.
    let writers = (0..WRITERS).map(|writer| async move {
        let mut revisions = Vec::new();
        for number in 1..=COMMITS {
            let unique = writer * COMMITS + number;
            let changes = vec![put(rule(&format!("own={writer}")), limit(number)), put(rule("common"), limit(unique))];
            revisions.push(commit(repository, changes).await.0);
        }
        assert!(revisions.is_sorted());
        revisions
    });
    let revisions: BTreeSet<u64> = join_all(writers).await.into_iter().flatten().collect();
    assert_eq!(revisions, (1..=WRITERS * COMMITS).collect(), "each has one, none is missing");
    for writer in 0..WRITERS {
        let own = repository.get(&rule(&format!("own={writer}"))).await.unwrap().unwrap();
        assert_eq!(amount(&own), COMMITS);
    }
    let versions = repository.history(Some(&rule("common")), page(1_000)).await.unwrap();
    assert_eq!(versions.len() as u64, WRITERS * COMMITS);
    for pair in versions.windows(2) {
        assert_eq!(pair[0].before, pair[1].after, "each begins where the last one ended");
        assert!(pair[0].stamp.at >= pair[1].stamp.at);
    }
}

pub async fn of_commits_on_one_base_one_is_made(stand: impl Stand) {
    let repository = stand.repository();
    let base = commit(repository, vec![put(rule("a"), limit(1))]).await;
    let commits = (0..6).map(|number| {
        let changes = vec![put(rule(&format!("b={number}")), limit(1))];
        repository.commit(Commit { base: Some(base), ..commit_of(changes) })
    });
    let (made, moved): (Vec<_>, Vec<_>) = join_all(commits).await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), moved.len()), (1, 5));
    assert!(moved.iter().all(|error| matches!(error, Err(RepositoryError::Moved { .. }))));
    let same = (0..6)
        .map(|number| try_commit(repository, vec![expecting(Expected::At(base), put(rule("a"), limit(10 + number)))]));
    let made = join_all(same).await.into_iter().filter(Result::is_ok).count();
    assert_eq!((made, revision(repository).await), (1, Revision(3)));
}
