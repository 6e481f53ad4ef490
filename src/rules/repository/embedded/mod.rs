//! Rules without Postgres: one file beside the server, or nothing but memory.
//!
//! The file is a redb database: copy-on-write trees with checksums. A commit is on disk, as a whole, when
//! [`RuleRepository::commit`] returns; a process that is killed at any point leaves the last commit. Readers see one
//! revision throughout and wait for nobody; there is one writer at a time, and one process.
//!
//! What is kept is said once: `commits` has the stamps, `versions` every content, `changes` which records a commit
//! changed, and `records` the newest content of each, tombstones included. Keys are ordered as lists are, so that
//! pages, histories and "what changed since" are ranges of a table.
//!
//! After a failure of the disk redb does no more; so the file is opened again by the next call, until that succeeds.
//!
//! redb's calls block, so they run on threads for that, few at a time; who waits longer than [`PATIENCE`] for a turn
//! is told so. What was begun is not interrupted, but answered for after [`DEADLINE`].

mod error;
mod file;
mod read;
mod scan;
mod store;
mod tables;
mod tokens;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use redb::Database;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{self, JoinHandle};
use tokio::time::timeout;

use super::{
    Changes, Commit, Committed, Content, Filter, Head, Page, Record, RepositoryError, Revision, RuleRepository,
    Subject, Token, TokenRepository, Unreadable, Version,
};
use crate::core::clock::Clock;
use error::{RETRY_AFTER, join_error};
use read::View;
use store::Store;

/// How long a call waits for its turn.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a call may take from then on. A commit of a million changes has to fit.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// So many calls read at a time.
const READERS: usize = 4;
/// Records on their way from the reading thread to who asked for all: so many at once, and so many times.
const BATCH: usize = 512;
const BATCHES: usize = 4;

/// A repository in a file, or in memory. Clones share it; it is closed with the last one.
#[derive(Clone, Debug)]
pub struct Embedded {
    store: Arc<Store>,
    readers: Arc<Semaphore>,
    writer: Arc<Semaphore>,
}

impl Embedded {
    /// Opens the file, or makes it, with the directories above it.
    ///
    /// # Errors
    /// [`RepositoryError::Unusable`]: another process has the file, it is damaged, of a newer version or no rule store
    /// at all, or it cannot be read and written. What is there is left alone.
    pub async fn open(path: impl AsRef<Path>, clock: impl Clock) -> Result<Self, RepositoryError> {
        let path = path.as_ref().to_owned();
        let opened = task::spawn_blocking(move || Store::in_file(path, Box::new(clock)));
        Ok(Self::over(opened.await.map_err(|error| join_error(&error))??))
    }

    /// A repository that is gone with the process.
    ///
    /// # Errors
    /// When the system has no random numbers for its epoch.
    pub fn in_memory(clock: impl Clock) -> Result<Self, RepositoryError> {
        Ok(Self::over(Store::in_memory(Box::new(clock))?))
    }

    fn over(store: Store) -> Self {
        Self { store: Arc::new(store), readers: Arc::new(Semaphore::new(READERS)), writer: Arc::new(Semaphore::new(1)) }
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&View) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let (store, turn) = (Arc::clone(&self.store), turn(&self.readers).await?);
        let task = task::spawn_blocking(move || {
            let _turn = turn;
            store.with(|database| work(&View::open(database)?))
        });
        ended(task).await.unwrap_or_else(|| Err(busy("reading takes too long")))
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, &Database) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let (store, turn) = (Arc::clone(&self.store), turn(&self.writer).await?);
        let task = task::spawn_blocking(move || {
            let _turn = turn;
            store.with(|database| work(&store, database))
        });
        let late = || RepositoryError::OutcomeUnknown { reason: "writing to disk takes too long".to_owned() };
        ended(task).await.unwrap_or_else(|| Err(late()))
    }
}

/// Waits for a turn, which the work itself holds: it goes on when nobody waits for it any more.
async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, RepositoryError> {
    match timeout(PATIENCE, Arc::clone(turns).acquire_owned()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) => Err(busy("it is being closed")),
        Err(_) => Err(busy("too much is being asked of it at once")),
    }
}

fn busy(reason: &str) -> RepositoryError {
    RepositoryError::Unavailable { reason: reason.to_owned(), retry_after: RETRY_AFTER }
}

/// What became of it; `None` when that takes too long to wait for.
async fn ended<T>(task: JoinHandle<Result<T, RepositoryError>>) -> Option<Result<T, RepositoryError>> {
    let joined = timeout(DEADLINE, task).await.ok()?;
    Some(joined.unwrap_or_else(|error| Err(join_error(&error))))
}

impl RuleRepository for Embedded {
    async fn head(&self) -> Result<Head, RepositoryError> {
        self.read(View::head).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, RepositoryError> {
        self.write(move |store, database| write::commit(store, database, commit)).await
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, RepositoryError> {
        let subject = subject.clone();
        self.read(move |view| view.get(&subject)).await
    }

    async fn list(&self, filter: &Filter, page: Page<Subject>) -> Result<Vec<Record>, RepositoryError> {
        let filter = filter.clone();
        self.read(move |view| scan::list(view, &filter, &page)).await
    }

    async fn history(&self, subject: Option<&Subject>, page: Page<Revision>) -> Result<Vec<Version>, RepositoryError> {
        let subject = subject.cloned();
        self.read(move |view| match &subject {
            Some(subject) => view.history_of(subject, &page),
            None => view.history(&page),
        })
        .await
    }

    async fn content_at(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> Result<Option<Result<Content, Unreadable>>, RepositoryError> {
        let subject = subject.clone();
        self.read(move |view| view.content_at(&subject, revision)).await
    }

    async fn changed_since(&self, revision: Revision, most: usize) -> Result<Option<Changes>, RepositoryError> {
        self.read(move |view| view.changed_since(revision, most)).await
    }

    async fn read_all(&self, mut each: impl FnMut(Record) + Send) -> Result<Head, RepositoryError> {
        let (store, turn) = (Arc::clone(&self.store), turn(&self.readers).await?);
        let (batches, mut arriving) = mpsc::channel::<Vec<Record>>(BATCHES);
        let task = task::spawn_blocking(move || {
            let _turn = turn;
            // It stops when nobody takes the batches any more.
            store.with(|database| View::open(database)?.read_all(BATCH, |batch| batches.blocking_send(batch).is_ok()))
        });
        while let Some(batch) = arriving.recv().await {
            batch.into_iter().for_each(&mut each);
        }
        ended(task).await.unwrap_or_else(|| Err(busy("reading takes too long")))
    }

    async fn accept(&self, author: &str, reason: Option<&str>) -> Result<Head, RepositoryError> {
        let (author, reason) = (author.to_owned(), reason.map(str::to_owned));
        self.write(move |store, database| write::accept(store, database, &author, reason.as_deref())).await
    }

    fn announced(&self) -> watch::Receiver<Revision> {
        self.store.announced()
    }
}

impl TokenRepository for Embedded {
    async fn create_token(&self, token: Token) -> Result<(), RepositoryError> {
        self.write(move |_, database| tokens::create(database, &token)).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, RepositoryError> {
        self.read(tokens::list).await
    }

    async fn revoke_token(&self, name: &str, now: Timestamp) -> Result<bool, RepositoryError> {
        let name = name.to_owned();
        self.write(move |_, database| tokens::revoke(database, &name, now)).await
    }
}
