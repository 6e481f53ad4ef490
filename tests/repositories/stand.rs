//! How the repositories are made that the suite asks.

use std::path::PathBuf;

use redb::{Database, ReadableTable as _, TableDefinition};
use tempfile::TempDir;
use tidegate::config::database::{Database as Settings, DatabaseUrl};
use tidegate::core::clock::SystemClock;
use tidegate::rules::repository::{Embedded, Postgres, RuleRepository, Subject, TokenRepository};

use crate::postgres_support::{PATIENCE, Postgres as Server};

/// A new and empty repository, and what it needs to be there.
pub trait Stand: Sized {
    type Repository: RuleRepository + TokenRepository;

    async fn begin() -> Self;

    fn repository(&self) -> &Self::Repository;
}

/// A stand in which a record's content can be replaced behind the repository's back.
pub trait Spoil: Stand {
    async fn spoil(self, subject: &Subject, content: &str) -> Self;
}

pub struct Memory(Embedded);

impl Stand for Memory {
    type Repository = Embedded;

    async fn begin() -> Self {
        Self(Embedded::in_memory(SystemClock::new()).unwrap())
    }

    fn repository(&self) -> &Embedded {
        &self.0
    }
}

pub struct InFile {
    repository: Embedded,
    directory: TempDir,
}

impl InFile {
    fn path(directory: &TempDir) -> PathBuf {
        directory.path().join("rules.redb")
    }

    async fn open(directory: TempDir) -> Self {
        let repository = Embedded::open(Self::path(&directory), SystemClock::new()).await.unwrap();
        Self { repository, directory }
    }
}

impl Stand for InFile {
    type Repository = Embedded;

    async fn begin() -> Self {
        Self::open(TempDir::new().unwrap()).await
    }

    fn repository(&self) -> &Embedded {
        &self.repository
    }
}

impl Spoil for InFile {
    async fn spoil(self, subject: &Subject, content: &str) -> Self {
        type Row<'a> = (u64, u64, Option<&'a str>);
        const RECORDS: TableDefinition<'_, (&str, u8, &str), Row<'_>> = TableDefinition::new("records");
        const VERSIONS: TableDefinition<'_, (&str, u8, &str, u64), Option<&str>> = TableDefinition::new("versions");
        drop(self.repository);
        {
            let database = Database::open(Self::path(&self.directory)).unwrap();
            let (domain, kind, path) =
                (subject.domain(), subject.kind() as u8, subject.path().map_or("", |path| path.as_str()));
            let transaction = database.begin_write().unwrap();
            {
                let mut records = transaction.open_table(RECORDS).unwrap();
                let (revision, created, _) = {
                    let there = records.get((domain, kind, path)).unwrap().unwrap();
                    let (revision, created, _) = there.value();
                    (revision, created, ())
                };
                records.insert((domain, kind, path), (revision, created, Some(content))).unwrap();
                let mut versions = transaction.open_table(VERSIONS).unwrap();
                versions.insert((domain, kind, path, revision), Some(content)).unwrap();
            }
            transaction.commit().unwrap();
        }
        Self::open(self.directory).await
    }
}

pub struct InPostgres {
    repository: Postgres,
}

impl Stand for InPostgres {
    type Repository = Postgres;

    async fn begin() -> Self {
        let server = Server::shared();
        let database = server.database().await;
        let url = DatabaseUrl::new(server.url("postgres", &database));
        // A busy machine is no outage.
        let (connect_timeout, acquire_timeout, statement_timeout) = (PATIENCE, PATIENCE, PATIENCE);
        let settings =
            Settings { url, pool_size: 4, connect_timeout, acquire_timeout, statement_timeout, ..Settings::default() };
        Self { repository: Postgres::new(&settings).unwrap() }
    }

    fn repository(&self) -> &Postgres {
        &self.repository
    }
}
