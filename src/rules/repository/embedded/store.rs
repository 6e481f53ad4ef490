//! The database, and what its threads share.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;
use redb::Database;
use tokio::sync::watch;

use super::error::RETRY_AFTER;
use super::file;
use super::read::View;
use crate::core::clock::Clock;
use crate::rules::repository::{RepositoryError, Revision};

/// A database that is opened again when its disk failed.
pub(super) struct Store {
    /// `None` while it cannot be opened again.
    database: RwLock<Option<Database>>,
    /// Something failed, so that redb may do no more.
    failed: AtomicBool,
    clock: Box<dyn Clock>,
    announced: watch::Sender<Revision>,
    /// Where it is, and what holds other processes off; memory has none.
    file: Option<(PathBuf, File)>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Store {
    pub(super) fn in_memory(clock: Box<dyn Clock>) -> Result<Self, RepositoryError> {
        Self::new(file::in_memory()?, None, clock)
    }

    pub(super) fn in_file(path: PathBuf, clock: Box<dyn Clock>) -> Result<Self, RepositoryError> {
        let (database, lock) = file::open(&path)?;
        Self::new(database, Some((path, lock)), clock)
    }

    fn new(database: Database, file: Option<(PathBuf, File)>, clock: Box<dyn Clock>) -> Result<Self, RepositoryError> {
        let announced = watch::Sender::new(View::open(&database)?.head()?.revision);
        Ok(Self { database: RwLock::new(Some(database)), failed: AtomicBool::new(false), clock, announced, file })
    }

    /// Works with the database.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        if self.failed.load(Ordering::Acquire) {
            self.reopen()?;
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let done = match &*database {
            Some(database) => work(database),
            None => Err(away("it has to be opened again")),
        };
        if matches!(done, Err(RepositoryError::Unavailable { .. } | RepositoryError::OutcomeUnknown { .. })) {
            self.failed.store(true, Ordering::Release);
        }
        done
    }

    fn reopen(&self) -> Result<(), RepositoryError> {
        let Some((path, _)) = &self.file else { return Ok(()) };
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        // It is closed before it is opened.
        *database = None;
        let opened = file::reopen(path).map_err(|error| away(&error.to_string()))?;
        let revision = View::open(&opened)?.head()?.revision;
        *database = Some(opened);
        self.failed.store(false, Ordering::Release);
        // A commit whose outcome was unknown may have been made.
        self.announce(revision);
        Ok(())
    }

    pub(super) fn announce(&self, revision: Revision) {
        self.announced.send_if_modified(|last| std::mem::replace(last, revision) != revision);
    }

    pub(super) fn announced(&self) -> watch::Receiver<Revision> {
        self.announced.subscribe()
    }

    /// The present, to the microsecond, as it is kept.
    pub(super) fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.clock.now().wall.0).unwrap_or(i64::MAX);
        Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
    }
}

fn away(reason: &str) -> RepositoryError {
    RepositoryError::Unavailable { reason: reason.to_owned(), retry_after: RETRY_AFTER }
}
