//! Rules in Postgres.
//!
//! The schema (`migrations/`) carries most of the contract. Its constraints hold nothing that Tidegate would refuse.
//! Its triggers give each change a revision, a stamp and a version in the history, and announce it, whether this
//! program makes it or somebody with SQL. Every transaction that changes rules first locks the one row of
//! `rule_set_head`, so that revisions are committed in their order; that row is also all that `NOTIFY` tells.
//!
//! - [`migrate`] brings the schema up to date,
//! - [`listen`] hears of changes, on a connection of its own,
//! - [`table`] and [`rows`] know the tables, [`read`], [`write`] and [`tokens`] ask them,
//! - [`failure`] says what went wrong; how the database is reached is in [`crate::postgres`].
//!
//! **Deadlines.** A call waits `acquire_timeout` for a connection and `statement_timeout` for an answer, or
//! `bulk_timeout` where it moves many records. The server knows the time of statements too, so that nothing goes on
//! there for long after nobody waits for it. What did not answer in time was not done, unless it was the COMMIT.
//!
//! **Away.** Nothing is asked of Postgres to make a [`Postgres`]: the first call, or the listener, finds out whether it
//! is there and migrated. Tables that are missing later (another database in its place) make it look again.

mod failure;
mod listen;
mod migrate;
mod read;
mod rows;
mod table;
mod tokens;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Client, Pool};
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tokio_postgres::Error;

pub use crate::postgres::ConnectError;
pub use crate::tls::TlsError;
pub use migrate::newest_version;

use self::failure::late;
use self::listen::Task;
use super::token::{Token, TokenRepository};
use super::{
    Changes, Commit, Committed, Content, Filter, Head, Page, Record, RepositoryError, Revision, RuleRepository,
    Subject, Unreadable, Version,
};
use crate::config::database::Database;
use crate::postgres::Connector;
use crate::postgres::failure::{is_certain, sentence};

/// Rules, and what belongs to them, in a PostgreSQL.
pub struct Postgres {
    shared: Arc<Shared>,
    _listening: Task<()>,
}

/// What calls and the listener share.
struct Shared {
    settings: Database,
    connector: Connector,
    pool: Pool,
    announced: watch::Sender<Revision>,
    /// Whether the schema is known to be there.
    prepared: AtomicBool,
    preparing: Mutex<()>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("url", &self.shared.settings.url).finish_non_exhaustive()
    }
}

impl Postgres {
    /// The repository that the settings name. Nothing is asked of it yet, but within this runtime it begins to listen
    /// for changes, and migrates the database if it may.
    ///
    /// # Errors
    /// [`ConnectError`], with the setting to change.
    pub fn new(settings: &Database) -> Result<Self, ConnectError> {
        let connector = Connector::new(settings)?;
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            pool: connector.pool(settings)?,
            connector,
            announced: watch::Sender::new(Revision(0)),
            prepared: AtomicBool::new(false),
            preparing: Mutex::new(()),
        });
        let listening = Task(tokio::spawn(listen::run(Arc::clone(&shared))));
        Ok(Self { shared, _listening: listening })
    }

    /// The connections, for others who keep something in the same database.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.shared.pool.clone()
    }

    /// Brings the schema to [`newest_version`], whatever `migrate` says.
    ///
    /// # Errors
    /// [`RepositoryError`]; migrations that were made stay.
    pub async fn migrate(&self) -> Result<(), RepositoryError> {
        self.shared.migrate().await
    }

    /// The schema's version; 0 for none.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn schema_version(&self) -> Result<i32, RepositoryError> {
        let work = async {
            let client = self.shared.pool.get().await?;
            migrate::version(&client).await
        };
        self.shared.within(self.shared.settings.statement_timeout, work).await
    }
}

impl Shared {
    /// A connection to a database that is ready.
    async fn client(&self) -> Result<Client, RepositoryError> {
        let time = self.settings.acquire_timeout;
        let client = timeout(time, self.pool.get()).await.map_err(|_| late("getting a connection", time))??;
        self.prepare(&client).await?;
        Ok(client)
    }

    /// Makes sure, once, that the schema is the one that this program works with.
    async fn prepare(&self, client: &tokio_postgres::Client) -> Result<(), RepositoryError> {
        if self.prepared.load(Ordering::Acquire) {
            return Ok(());
        }
        let time = self.settings.statement_timeout;
        let turn = timeout(time, self.preparing.lock()).await;
        let _turn = turn.map_err(|_| failure::unavailable("the database is being migrated"))?;
        if self.prepared.load(Ordering::Acquire) {
            return Ok(());
        }
        let found = timeout(time, migrate::version(client)).await.map_err(|_| late("the schema's version", time))??;
        if !migrate::judge(found)? {
            if !self.settings.migrate {
                return Err(RepositoryError::Unusable(format!(
                    "the database's schema has version {found}, this program needs {}; run `tidegate db migrate`",
                    newest_version()
                )));
            }
            self.migrate().await?;
        }
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }

    async fn migrate(&self) -> Result<(), RepositoryError> {
        let time = self.settings.bulk_timeout;
        let work = async {
            let (mut client, driver) = self.connector.connect(Some("tidegate migrate")).await?;
            let _driven = Task(tokio::spawn(driver));
            migrate::migrate(&mut client).await
        };
        timeout(time, work).await.map_err(|_| late("migrating", time))?
    }

    /// Bounds a call that changes nothing, or whose COMMIT is not part of it.
    async fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, RepositoryError>>,
    ) -> Result<T, RepositoryError> {
        let time = time + self.settings.acquire_timeout;
        let result = timeout(time, work).await.unwrap_or_else(|_| Err(late("the database", time)));
        if let Err(RepositoryError::Unusable(_)) = &result {
            self.prepared.store(false, Ordering::Release);
        }
        result
    }

    /// Bounds a statement that commits by itself, or a COMMIT: without an answer, nobody knows what became of it. An
    /// error within is the server's, which has done nothing.
    async fn decided<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, RepositoryError> {
        let unknown = |reason| RepositoryError::OutcomeUnknown { reason };
        match timeout(time, work).await {
            Err(_) => Err(unknown(format!("no answer within {}", humantime::format_duration(time)))),
            Ok(Err(error)) if !is_certain(&error) => Err(unknown(sentence(&error))),
            Ok(result) => Ok(result),
        }
    }
}

impl RuleRepository for Postgres {
    async fn head(&self) -> Result<Head, RepositoryError> {
        let shared = &self.shared;
        shared.within(shared.settings.statement_timeout, async { read::head(&shared.client().await?).await }).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, RepositoryError> {
        write::commit(&self.shared, commit).await
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, RepositoryError> {
        let shared = &self.shared;
        let work = async { read::get(&shared.client().await?, subject).await };
        shared.within(shared.settings.statement_timeout, work).await
    }

    async fn list(&self, filter: &Filter, page: Page<Subject>) -> Result<Vec<Record>, RepositoryError> {
        let shared = &self.shared;
        let work = async { read::list(&mut shared.client().await?, filter, &page).await };
        shared.within(shared.settings.statement_timeout, work).await
    }

    async fn history(&self, subject: Option<&Subject>, page: Page<Revision>) -> Result<Vec<Version>, RepositoryError> {
        let shared = &self.shared;
        let work = async { read::history(&shared.client().await?, subject, &page).await };
        shared.within(shared.settings.statement_timeout, work).await
    }

    async fn content_at(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> Result<Option<Result<Content, Unreadable>>, RepositoryError> {
        let shared = &self.shared;
        let work = async { read::content_at(&shared.client().await?, subject, revision).await };
        shared.within(shared.settings.statement_timeout, work).await
    }

    async fn changed_since(&self, revision: Revision, most: usize) -> Result<Option<Changes>, RepositoryError> {
        let shared = &self.shared;
        let work = async { read::changed_since(&mut shared.client().await?, revision, most).await };
        shared.within(shared.settings.statement_timeout, work).await
    }

    async fn read_all(&self, each: impl FnMut(Record) + Send) -> Result<Head, RepositoryError> {
        let shared = &self.shared;
        let time = shared.settings.bulk_timeout;
        shared.within(time, async { read::all(&mut shared.client().await?, time, each).await }).await
    }

    async fn accept(&self, author: &str, reason: Option<&str>) -> Result<Head, RepositoryError> {
        write::accept(&self.shared, author, reason).await
    }

    fn announced(&self) -> watch::Receiver<Revision> {
        self.shared.announced.subscribe()
    }
}

impl TokenRepository for Postgres {
    async fn create_token(&self, token: Token) -> Result<(), RepositoryError> {
        tokens::create(&self.shared, &token).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, RepositoryError> {
        let shared = &self.shared;
        shared.within(shared.settings.statement_timeout, async { tokens::list(&shared.client().await?).await }).await
    }

    async fn revoke_token(&self, name: &str, now: Timestamp) -> Result<bool, RepositoryError> {
        tokens::revoke(&self.shared, name, now).await
    }
}
