//! Subjects, contents and commits to try repositories with.

use jiff::Timestamp;
use tidegate::core::clock::Micros;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::core::spec::{Charge, DomainSettings, EffectSpec, LimitSpec, RuleSpec};
use tidegate::rules::repository::{
    Change, Commit, Committed, Content, Expected, Override, Page, Record, RepositoryError, Revision, RuleRepository,
    Subject,
};

pub fn domain(name: &str) -> Subject {
    Subject::Domain(name.into())
}

/// A rule of the domain `edge`.
pub fn rule(path: &str) -> Subject {
    rule_of("edge", path)
}

pub fn rule_of(domain: &str, path: &str) -> Subject {
    Subject::Rule(domain.into(), path.parse().unwrap())
}

pub fn over_of(domain: &str, path: &str) -> Subject {
    Subject::Override(domain.into(), path.parse().unwrap())
}

pub fn effect(amount: u64) -> EffectSpec {
    let limit = Limit::new(LimitParts {
        amount,
        window: Window::Length(Micros::from_secs(60)),
        algorithm: Algorithm::FixedWindow,
        burst: None,
        over: Over::Drop,
        post_paid: false,
    });
    EffectSpec::Limits(vec![LimitSpec { limit: limit.unwrap(), name: None, replaces: Vec::new() }])
}

pub fn rule_spec(amount: u64) -> RuleSpec {
    RuleSpec { effect: Some(effect(amount)), ..RuleSpec::default() }
}

/// So many a minute.
pub fn limit(amount: u64) -> Content {
    Content::Rule(rule_spec(amount))
}

pub fn tagged(amount: u64, tags: &[&str], disabled: bool) -> Content {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Content::Rule(RuleSpec { tags, disabled, ..rule_spec(amount) })
}

pub fn settings(accept_refunds: bool) -> Content {
    Content::Domain(DomainSettings { accept_refunds, charge: Charge::Independent, ..DomainSettings::API })
}

pub fn raised(amount: u64) -> Content {
    let until = Timestamp::from_second(2_000_000_000).unwrap();
    Content::Override(Override { effect: effect(amount), until })
}

/// The amount of a rule's only limit.
pub fn amount(record: &Record) -> u64 {
    amount_of(record.content.as_ref().unwrap().as_ref().unwrap())
}

pub fn amount_of(content: &Content) -> u64 {
    let Content::Rule(RuleSpec { effect: Some(EffectSpec::Limits(limits)), .. }) = content else {
        panic!("{content:?} is no limit");
    };
    limits[0].limit.amount()
}

pub fn put(subject: Subject, content: Content) -> Change {
    Change { subject, content: Some(content), expected: Expected::Anything }
}

pub fn delete(subject: Subject) -> Change {
    Change { subject, content: None, expected: Expected::Anything }
}

pub fn expecting(expected: Expected, change: Change) -> Change {
    Change { expected, ..change }
}

pub fn commit_of(changes: Vec<Change>) -> Commit {
    Commit { author: "ada".into(), reason: None, base: None, changes }
}

pub async fn try_commit(repository: &impl RuleRepository, changes: Vec<Change>) -> Result<Committed, RepositoryError> {
    repository.commit(commit_of(changes)).await
}

/// A commit that must be made; its revision.
pub async fn commit(repository: &impl RuleRepository, changes: Vec<Change>) -> Revision {
    try_commit(repository, changes).await.unwrap().head.revision
}

pub async fn revision(repository: &impl RuleRepository) -> Revision {
    repository.head().await.unwrap().revision
}

pub fn page<Cursor>(size: usize) -> Page<Cursor> {
    Page { after: None, size }
}

pub fn subjects(records: &[Record]) -> Vec<&Subject> {
    records.iter().map(|record| &record.subject).collect()
}
