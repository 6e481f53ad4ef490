//! How the stores are made that the suite asks.

use tidegate::anomaly::findings::Findings;
use tidegate::anomaly::findings::embedded::{Embedded, MAX_KEPT};
use tidegate::anomaly::findings::postgres::Postgres;
use tidegate::config::database::{Database, DatabaseUrl};
use tidegate::rules::repository::Postgres as Rules;

use crate::postgres_support::{PATIENCE, Postgres as Server};

/// A new and empty store, and what it needs to be there.
pub trait Stand {
    type Store: Findings;

    async fn begin() -> Self;

    fn store(&self) -> &Self::Store;
}

pub struct Memory(Embedded);

impl Stand for Memory {
    type Store = Embedded;

    async fn begin() -> Self {
        Self(Embedded::in_memory(MAX_KEPT).unwrap())
    }

    fn store(&self) -> &Embedded {
        &self.0
    }
}

pub struct InFile {
    store: Embedded,
    _directory: tempfile::TempDir,
}

impl Stand for InFile {
    type Store = Embedded;

    async fn begin() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(&directory.path().join("rules.findings.redb")).unwrap();
        Self { store, _directory: directory }
    }

    fn store(&self) -> &Embedded {
        &self.store
    }
}

pub struct InPostgres(Postgres);

impl Stand for InPostgres {
    type Store = Postgres;

    async fn begin() -> Self {
        let server = Server::shared();
        let database = server.database().await;
        // A busy machine is no outage.
        Self(migrated(&server.socket_url(&database), PATIENCE).await)
    }

    fn store(&self) -> &Postgres {
        &self.0
    }
}

/// Findings in a database that whoever keeps rules there has migrated.
pub async fn migrated(url: &str, deadline: std::time::Duration) -> Postgres {
    let settings = Database { url: DatabaseUrl::new(url), pool_size: 4, ..Database::default() };
    let patient =
        Database { connect_timeout: PATIENCE, acquire_timeout: PATIENCE, statement_timeout: PATIENCE, ..settings };
    let rules = Rules::new(&patient).unwrap();
    rules.migrate().await.unwrap();
    let deadlines = Database { acquire_timeout: deadline, statement_timeout: deadline, ..patient };
    Postgres::new(rules.pool(), &deadlines)
}
