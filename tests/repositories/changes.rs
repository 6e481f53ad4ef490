//! What replicas follow rules by.

use tidegate::rules::repository::{Record, Revision, RuleRepository, Subject};

use crate::sample::{amount, commit, delete, domain, limit, over_of, put, raised, rule, settings};
use crate::stand::Stand;

async fn since(repository: &impl RuleRepository, revision: u64) -> Vec<(u64, Subject, Option<u64>)> {
    let changes = repository.changed_since(Revision(revision), 100).await.unwrap().unwrap();
    assert_eq!(changes.head, repository.head().await.unwrap());
    let shown = |record: Record| {
        let amount = record.content.is_some().then(|| amount(&record));
        (record.revision.0, record.subject, amount)
    };
    changes.records.into_iter().map(shown).collect()
}

pub async fn whoever_has_seen_a_revision_misses_nothing(stand: impl Stand) {
    let repository = stand.repository();
    assert_eq!(since(repository, 0).await, []);
    commit(repository, vec![put(rule("a"), limit(1)), put(rule("b"), limit(1))]).await;
    commit(repository, vec![put(rule("a"), limit(2))]).await;
    commit(repository, vec![delete(rule("b")), put(rule("c"), limit(3))]).await;
    commit(repository, vec![put(rule("a"), limit(4))]).await;
    let (a, b, c) = ((4, rule("a"), Some(4)), (3, rule("b"), None), (3, rule("c"), Some(3)));
    let mut of_three = [b, c];
    of_three.sort();
    let whole: Vec<_> = of_three.iter().cloned().chain([a.clone()]).collect();
    for (revision, expected) in [(0, &whole[..]), (1, &whole), (2, &whole), (3, &whole[2..]), (4, &[]), (7, &[])] {
        let mut found = since(repository, revision).await;
        assert!(found.is_sorted_by_key(|(revision, ..)| *revision));
        found.sort();
        assert_eq!(found, expected, "since {revision}");
    }
}

pub async fn too_many_changes_are_not_told(stand: impl Stand) {
    let repository = stand.repository();
    let rules = || (0..10).map(|number| rule(&format!("k={number}")));
    commit(repository, rules().map(|rule| put(rule, limit(1))).collect()).await;
    commit(repository, rules().map(|rule| put(rule, limit(2))).collect()).await;
    assert!(repository.changed_since(Revision(0), 9).await.unwrap().is_none());
    let changes = repository.changed_since(Revision(0), 10).await.unwrap().expect("ten records, not twenty");
    assert_eq!((changes.records.len(), changes.head.revision), (10, Revision(2)));
    let nothing = repository.changed_since(Revision(2), 0).await.unwrap().expect("nothing is not too much");
    assert_eq!(nothing.records, []);
}

pub async fn everything_can_be_read(stand: impl Stand) {
    let repository = stand.repository();
    let rules: Vec<Subject> = (0..2_000).map(|number| rule(&format!("k={number:04}"))).collect();
    commit(repository, rules.iter().map(|rule| put(rule.clone(), limit(1))).collect()).await;
    let others =
        vec![put(domain("edge"), settings(true)), put(over_of("edge", "k"), raised(1)), delete(rules[7].clone())];
    commit(repository, others).await;
    let mut read: Vec<Record> = Vec::new();
    let head = repository.read_all(|record| read.push(record)).await.unwrap();
    assert_eq!(head, repository.head().await.unwrap());
    read.sort_by(|a, b| a.subject.cmp(&b.subject));
    assert_eq!(read.len(), 2_001);
    assert!(read.iter().all(|record| record.content.is_some()));
    for record in [&read[0], &read[1_000], &read[2_000]] {
        assert_eq!(repository.get(&record.subject).await.unwrap().as_ref(), Some(record));
    }
}
