//! One commit after another.

use std::time::Duration;

use tidegate::rules::repository::{
    Commit, Committed, Expected, Found, MAX_CHANGES, RepositoryError, Revision, RuleRepository as _,
};

use crate::sample::{
    amount, commit, commit_of, delete, domain, expecting, limit, over_of, page, put, raised, revision, rule, rule_of,
    settings, tagged, try_commit,
};
use crate::stand::Stand;

pub async fn a_new_one_is_empty(stand: impl Stand) {
    let repository = stand.repository();
    let head = repository.head().await.unwrap();
    assert_eq!((head.revision, head.accepted), (Revision(0), None));
    assert_eq!(repository.list(&Default::default(), page(10)).await.unwrap(), []);
    assert_eq!(repository.history(None, page(10)).await.unwrap(), []);
    assert_eq!(repository.get(&rule("a")).await.unwrap(), None);
    assert_eq!(repository.content_at(&rule("a"), Revision(0)).await.unwrap(), None);
    let mut read = 0;
    assert_eq!(repository.read_all(|_| read += 1).await.unwrap(), head);
    assert_eq!(read, 0);
}

pub async fn a_commit_takes_the_next_revision(stand: impl Stand) {
    let repository = stand.repository();
    let before = repository.head().await.unwrap();
    for number in 1..=3 {
        let changes = vec![put(rule("a"), limit(number)), put(rule("b"), limit(number))];
        let Committed { head, changed } = try_commit(repository, changes).await.unwrap();
        assert_eq!((head.epoch, head.revision, changed), (before.epoch, Revision(number), 2));
        assert_eq!(repository.head().await.unwrap(), head);
    }
}

pub async fn what_is_written_is_read(stand: impl Stand) {
    let repository = stand.repository();
    let contents = [
        (domain("edge"), settings(true)),
        (domain("näher \"dran\""), settings(false)),
        (rule("user_id=1%2C2,path=/x*"), tagged(7, &["gold", "ä\u{1F30A}\"\\"], true)),
        (rule_of("näher \"dran\"", "a"), limit(0)),
        (over_of("edge", "user_id=1"), raised(9)),
    ];
    let changes = contents.iter().cloned().map(|(subject, content)| put(subject, content)).collect();
    let made = commit(repository, changes).await;
    for (subject, content) in contents {
        let record = repository.get(&subject).await.unwrap().unwrap();
        assert_eq!((&record.subject, record.revision), (&subject, made));
        assert_eq!(record.content, Some(Ok(content)));
        assert_eq!((&*record.created.by, &record.created), ("ada", &record.updated));
    }
    assert_eq!(repository.get(&rule("user_id=1")).await.unwrap(), None, "an override is no rule");
}

pub async fn idle_changes_are_left_out(stand: impl Stand) {
    let repository = stand.repository();
    commit(repository, vec![put(rule("a"), limit(1)), put(domain("edge"), settings(true))]).await;
    let head = repository.head().await.unwrap();
    let idle = vec![put(rule("a"), limit(1)), put(domain("edge"), settings(true)), delete(rule("b"))];
    assert_eq!(try_commit(repository, idle.clone()).await.unwrap(), Committed { head, changed: 0 });
    assert_eq!(try_commit(repository, Vec::new()).await.unwrap(), Committed { head, changed: 0 });
    let mut some = idle;
    some.push(put(rule("c"), limit(1)));
    let made = try_commit(repository, some).await.unwrap();
    assert_eq!((made.head.revision, made.changed), (Revision(2), 1));
    let record = repository.get(&rule("a")).await.unwrap().unwrap();
    assert_eq!(record.revision, Revision(1), "an idle change is no change");
    assert_eq!(repository.history(None, page(10)).await.unwrap().len(), 3);
}

pub async fn expectations_hold_or_nothing_changes(stand: impl Stand) {
    let repository = stand.repository();
    let there = commit(repository, vec![put(rule("there"), limit(1)), put(rule("gone"), limit(1))]).await;
    commit(repository, vec![delete(rule("gone"))]).await;
    let present = |expected, found| (rule("there"), expected, found);
    let absent = |expected| (rule("absent"), expected, Found::Absent);
    let gone = |expected| (rule("gone"), expected, Found::Absent);
    let at = Found::At(there);
    for (subject, expected, found) in [
        present(Expected::Absent, at),
        present(Expected::At(Revision(9)), at),
        absent(Expected::Present),
        absent(Expected::At(there)),
        gone(Expected::Present),
        gone(Expected::At(there)),
        gone(Expected::At(Revision(2))),
    ] {
        let conflict = RepositoryError::Conflict { subject: subject.clone(), expected, found };
        for change in [put(subject.clone(), limit(5)), put(subject.clone(), limit(1)), delete(subject.clone())] {
            let refused = try_commit(repository, vec![expecting(expected, change)]).await;
            assert_eq!(refused, Err(conflict.clone()));
        }
    }
    assert_eq!(revision(repository).await, Revision(2));
    for (subject, expected) in [
        (rule("there"), Expected::At(there)),
        (rule("there"), Expected::Present),
        (rule("there"), Expected::Anything),
        (rule("absent"), Expected::Absent),
        (rule("gone"), Expected::Absent),
    ] {
        let before = revision(repository).await;
        let made = commit(repository, vec![expecting(expected, put(subject, limit(10 + before.0)))]).await;
        assert_eq!(made.0, before.0 + 1);
    }
}

pub async fn one_bad_change_undoes_all(stand: impl Stand) {
    let repository = stand.repository();
    commit(repository, vec![put(rule("k"), limit(1)), put(rule("z"), limit(1))]).await;
    let changes = vec![
        put(rule("a"), limit(2)),
        put(rule("k"), limit(2)),
        expecting(Expected::Absent, put(rule("k2"), limit(2))),
        expecting(Expected::Present, put(rule("l"), limit(2))),
        delete(rule("z")),
    ];
    let refused = try_commit(repository, changes).await;
    assert!(matches!(refused, Err(RepositoryError::Conflict { subject, .. }) if subject == rule("l")));
    assert_eq!(revision(repository).await, Revision(1));
    let records = repository.list(&Default::default(), page(10)).await.unwrap();
    let there: Vec<_> = records.iter().map(|record| (record.subject.clone(), amount(record))).collect();
    assert_eq!(there, [(rule("k"), 1), (rule("z"), 1)]);
    assert_eq!(repository.history(None, page(10)).await.unwrap().len(), 2);
    let changes = repository.changed_since(Revision(1), 10).await.unwrap().unwrap();
    assert_eq!(changes.records, []);
}

pub async fn a_base_that_moved_is_told(stand: impl Stand) {
    let repository = stand.repository();
    let on = |base, amount| Commit { base: Some(Revision(base)), ..commit_of(vec![put(rule("a"), limit(amount))]) };
    assert_eq!(repository.commit(on(0, 1)).await.unwrap().head.revision, Revision(1));
    let moved = |expected, found| RepositoryError::Moved { expected: Revision(expected), found: Revision(found) };
    assert_eq!(repository.commit(on(0, 2)).await, Err(moved(0, 1)));
    assert_eq!(repository.commit(on(2, 2)).await, Err(moved(2, 1)));
    assert_eq!(repository.commit(on(0, 1)).await, Err(moved(0, 1)), "even if it is idle");
    assert_eq!(repository.commit(on(1, 2)).await.unwrap().head.revision, Revision(2));
}

pub async fn what_makes_no_sense_is_refused(stand: impl Stand) {
    let repository = stand.repository();
    for changes in [
        vec![put(rule("a"), limit(1)), put(rule("b"), settings(true))],
        vec![put(domain("edge"), limit(1))],
        vec![put(rule("a"), limit(1)), put(rule("b"), limit(1)), delete(rule("a"))],
    ] {
        let refused = try_commit(repository, changes).await;
        assert!(matches!(refused, Err(RepositoryError::Refused { .. })), "{refused:?}");
    }
    let many = vec![delete(rule("a")); MAX_CHANGES + 1];
    let refused = try_commit(repository, many).await;
    assert_eq!(refused, Err(RepositoryError::TooManyChanges(MAX_CHANGES + 1)));
    assert_eq!(revision(repository).await, Revision(0));
}

pub async fn a_deleted_record_is_gone(stand: impl Stand) {
    let repository = stand.repository();
    commit(repository, vec![put(rule("a"), limit(1)), put(rule("a,b"), limit(1))]).await;
    let made = try_commit(repository, vec![delete(rule("a"))]).await.unwrap();
    assert_eq!((made.head.revision, made.changed), (Revision(2), 1));
    assert_eq!(repository.get(&rule("a")).await.unwrap(), None);
    assert!(repository.get(&rule("a,b")).await.unwrap().is_some(), "what is below it stays");
    let again = try_commit(repository, vec![delete(rule("a"))]).await.unwrap();
    assert_eq!((again.head.revision, again.changed), (Revision(2), 0));
}

pub async fn a_record_can_be_made_again(stand: impl Stand) {
    let repository = stand.repository();
    let by = |author: &str, change| Commit { author: author.into(), ..commit_of(vec![change]) };
    repository.commit(by("ada", put(rule("a"), limit(1)))).await.unwrap();
    repository.commit(by("bob", put(rule("a"), limit(2)))).await.unwrap();
    let changed = repository.get(&rule("a")).await.unwrap().unwrap();
    assert_eq!((&*changed.created.by, &*changed.updated.by), ("ada", "bob"));
    assert!(changed.created.at <= changed.updated.at);
    repository.commit(by("cyd", delete(rule("a")))).await.unwrap();
    repository.commit(by("dee", put(rule("a"), limit(2)))).await.unwrap();
    let record = repository.get(&rule("a")).await.unwrap().unwrap();
    assert_eq!((record.revision, amount(&record)), (Revision(4), 2));
    assert_eq!((&*record.created.by, &*record.updated.by), ("dee", "dee"), "it is another one");
}

pub async fn acceptance_begins_an_epoch(stand: impl Stand) {
    let repository = stand.repository();
    commit(repository, vec![put(rule("a"), limit(1))]).await;
    let before = repository.head().await.unwrap();
    let head = repository.accept("ada", Some("restored from Monday's copy")).await.unwrap();
    assert_ne!(head.epoch, before.epoch);
    assert_eq!(head.revision, Revision(before.revision.0 + 1));
    assert!(head.accepted.is_some());
    assert_eq!(repository.head().await.unwrap(), head);
    let made = try_commit(repository, vec![put(rule("a"), limit(2))]).await.unwrap().head;
    assert_eq!((made.epoch, made.accepted, made.revision.0), (head.epoch, head.accepted, head.revision.0 + 1));
}

pub async fn commits_are_announced(stand: impl Stand) {
    let repository = stand.repository();
    let mut announced = repository.announced();
    for number in 1..4 {
        let made = commit(repository, vec![put(rule("a"), limit(number))]).await;
        let told = tokio::time::timeout(Duration::from_secs(10), announced.wait_for(|revision| *revision >= made));
        told.await.expect("it is told in time").unwrap();
    }
}
