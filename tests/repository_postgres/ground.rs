//! What the tests stand on.

use crate::postgres_support::Postgres;
use jiff::Timestamp;
use std::time::{Duration, Instant};
use tidegate::config::database::{Database, DatabaseUrl};
use tidegate::core::clock::Micros;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::core::spec::{EffectSpec, LimitSpec, RuleSpec};
use tidegate::rules::repository::{
    Change, Commit, Content, Expected, Postgres as Repository, Record, RepositoryError, Revision, RuleRepository as _,
    Scope, Stamp, Subject, Token,
};

/// Settings with short times, for a database of a server.
pub fn settings(url: &str) -> Database {
    Database {
        url: DatabaseUrl::new(url),
        poll_interval: Duration::from_millis(200),
        statement_timeout: Duration::from_secs(20),
        acquire_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        ..Database::default()
    }
}

/// As [`settings`], giving up soon.
pub fn hasty(url: &str) -> Database {
    let time = Duration::from_millis(700);
    Database { statement_timeout: time, acquire_timeout: time, connect_timeout: time, ..settings(url) }
}

pub fn repository(settings: &Database) -> Repository {
    Repository::new(settings).unwrap()
}

/// A repository of an empty database of the shared server, and the database's name.
pub async fn fresh() -> (Repository, String) {
    let server = Postgres::shared();
    let database = server.database().await;
    let repository = repository(&settings(&server.socket_url(&database)));
    repository.head().await.unwrap();
    (repository, database)
}

pub async fn sql(database: &str) -> tokio_postgres::Client {
    Postgres::shared().client(database).await
}

pub fn rule(path: &str) -> Subject {
    Subject::Rule("edge".into(), path.parse().unwrap())
}

pub fn limit_spec(amount: u64) -> LimitSpec {
    let parts = LimitParts {
        amount,
        window: Window::Length(Micros::from_secs(60)),
        algorithm: Algorithm::TokenBucket,
        burst: None,
        over: Over::Drop,
        post_paid: false,
    };
    LimitSpec { limit: Limit::new(parts).unwrap(), name: None, replaces: Vec::new() }
}

pub fn limit(amount: u64) -> Content {
    let effect = Some(EffectSpec::Limits(vec![limit_spec(amount)]));
    Content::Rule(RuleSpec { effect, ..RuleSpec::default() })
}

pub fn put(subject: Subject, content: Content) -> Change {
    Change { subject, content: Some(content), expected: Expected::Anything }
}

pub fn commit_of(changes: Vec<Change>) -> Commit {
    Commit { author: "ada".into(), reason: Some("a test".into()), base: None, changes }
}

pub async fn commit(repository: &Repository, changes: Vec<Change>) -> Result<Revision, RepositoryError> {
    Ok(repository.commit(commit_of(changes)).await?.head.revision)
}

/// Tries again what is told to be away, for a while.
pub async fn patiently(repository: &Repository, changes: Vec<Change>) -> Revision {
    let deadline = Instant::now() + crate::postgres_support::PATIENCE;
    loop {
        match commit(repository, changes.clone()).await {
            Ok(revision) => return revision,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn announced(repository: &Repository, revision: u64) {
    let mut announced = repository.announced();
    let told = announced.wait_for(|there| *there == Revision(revision));
    tokio::time::timeout(crate::postgres_support::PATIENCE, told).await.expect("it is announced").unwrap();
}

pub async fn all(repository: &Repository) -> Vec<Record> {
    let mut records = Vec::new();
    repository.read_all(|record| records.push(record)).await.unwrap();
    records.sort_by(|one, other| one.subject.cmp(&other.subject));
    records
}

pub fn is_away(result: &Result<Revision, RepositoryError>) -> bool {
    matches!(result, Err(RepositoryError::Unavailable { .. }))
}

pub fn token(name: &str, hash: u8) -> Token {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    Token {
        name: name.into(),
        hash: [hash; 32],
        scopes: vec![Scope::Read, Scope::Operate],
        created: Stamp { at, by: "ada".into() },
        expires: Some(Timestamp::from_second(1_900_000_000).unwrap()),
        revoked: None,
    }
}
