//! Findings without Postgres: one file beside the server, or nothing but memory. At most [`MAX_KEPT`] are kept; of more,
//! those that ended first are forgotten, and when all are open, the oldest.
//!
//! The file is a redb database, which one process has at a time. After a failure of the disk redb does no more; so the
//! file is opened again by the next call, until that succeeds.
//!
//! redb's calls block, so they run on threads for that, few at a time, and are answered for after [`DEADLINE`].

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, Table, TableDefinition,
};
use tokio::sync::Semaphore;
use tokio::task;
use tokio::time::timeout;

use super::document::Document;
use super::finding::fold;
use super::{Filter, Finding, Findings, FindingsError, Listed, MAX_REVIEWED, Page, Review};
use crate::anomaly::event::Event;
use crate::core::clock::Micros;

/// The most findings that are kept.
pub const MAX_KEPT: u64 = 100_000;
/// How long a call may take, the wait for its turn included.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// So many calls at a time.
const AT_ONCE: usize = 4;
/// Memory for pages.
const CACHE_BYTES: usize = 8 << 20;

/// Each finding in JSON, by its number.
const FINDINGS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("findings");
/// When those that are over ended, in microseconds, and their numbers.
const ENDED: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("ended");

/// Findings in a file, or in memory. Clones share it; it is closed with the last one.
#[derive(Clone, Debug)]
pub struct Embedded {
    store: Arc<Store>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Store {
    /// `None` while it has to be opened again.
    database: RwLock<Option<Database>>,
    /// Memory has none.
    path: Option<PathBuf>,
    most: u64,
}

impl Embedded {
    /// Opens the file, or makes it. It blocks.
    ///
    /// # Errors
    /// Another process has it, it is damaged or something else, or cannot be read and written. What is there is left alone.
    pub fn open(path: &Path) -> Result<Self, FindingsError> {
        let database = open(path)?;
        Ok(Self::over(Store { database: RwLock::new(Some(database)), path: Some(path.to_owned()), most: MAX_KEPT }))
    }

    /// Findings that are gone with the process, at most so many.
    ///
    /// # Errors
    /// As the library has them; none is known.
    pub fn in_memory(most: u64) -> Result<Self, FindingsError> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(InMemoryBackend::new())?;
        make_tables(&database)?;
        Ok(Self::over(Store { database: RwLock::new(Some(database)), path: None, most }))
    }

    fn over(store: Store) -> Self {
        Self { store: Arc::new(store), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Does blocking work, which goes on when nobody waits for it any more.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, &Database) -> Result<T, FindingsError> + Send + 'static,
    ) -> Result<T, FindingsError> {
        let store = Arc::clone(&self.store);
        let working = async {
            let turn = Arc::clone(&self.turns).acquire_owned().await;
            let turn = turn.map_err(|_| FindingsError::Away("they are being closed".to_owned()))?;
            let task = task::spawn_blocking(move || {
                let _turn = turn;
                store.with(work)
            });
            task.await.unwrap_or_else(|error| {
                Err(if error.is_panic() {
                    FindingsError::Damaged("reading them failed".to_owned())
                } else {
                    FindingsError::Away("the server is shutting down".to_owned())
                })
            })
        };
        let late = || FindingsError::Away(format!("it takes longer than {}", humantime::format_duration(DEADLINE)));
        timeout(DEADLINE, working).await.unwrap_or_else(|_| Err(late()))
    }
}

impl Store {
    fn with<T>(&self, work: impl FnOnce(&Self, &Database) -> Result<T, FindingsError>) -> Result<T, FindingsError> {
        let is_open = self.database.read().unwrap_or_else(PoisonError::into_inner).is_some();
        if let (false, Some(path)) = (is_open, &self.path) {
            let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if database.is_none() {
                *database = Some(open(path)?);
            }
        }
        let done = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let database =
                database.as_ref().ok_or_else(|| FindingsError::Away("they have to be opened again".into()))?;
            work(self, database)
        };
        if matches!(done, Err(FindingsError::Away(_))) && self.path.is_some() {
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done
    }

    /// Writes findings, and makes room for them.
    fn keep<'f>(
        &self,
        findings: &mut Table<'_, u64, &'static [u8]>,
        ended: &mut Table<'_, (u64, u64), ()>,
        changed: impl Iterator<Item = (&'f Finding, Option<Micros>)>,
    ) -> Result<(), FindingsError> {
        for (finding, ended_before) in changed {
            if let Some(at) = ended_before {
                ended.remove((at.0, finding.id))?;
            }
            if let Some(at) = finding.ended {
                ended.insert((at.0, finding.id), ())?;
            }
            let text = serde_json::to_vec(&Document::from(finding));
            let text =
                text.map_err(|error| FindingsError::Unusable(format!("a finding cannot be written: {error}")))?;
            findings.insert(finding.id, text.as_slice())?;
        }
        while findings.len()? > self.most {
            match ended.pop_first()? {
                Some((key, _)) => {
                    findings.remove(key.value().1)?;
                }
                None => {
                    findings.pop_first()?;
                }
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, FindingsError> {
    let unusable = |error: &dyn std::fmt::Display| {
        FindingsError::Unusable(format!(
            "{}: {error}; it is left as it is: move it away, or name another place (rules.repository_file)",
            path.display()
        ))
    };
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(|error| unusable(&error))?;
    let backend = FileBackend::new(file).map_err(|error| unusable(&error))?;
    let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
    let database = database.map_err(|error| unusable(&error))?;
    make_tables(&database)?;
    Ok(database)
}

fn make_tables(database: &Database) -> Result<(), FindingsError> {
    let transaction = database.begin_write()?;
    transaction.open_table(FINDINGS)?;
    transaction.open_table(ENDED)?;
    transaction.commit()?;
    Ok(())
}

/// What is kept; `None`, which is told in the log, when it cannot be read.
fn read(id: u64, bytes: &[u8]) -> Option<Finding> {
    let document = serde_json::from_slice::<Document>(bytes);
    let told = document.inspect_err(|error| tracing::warn!(id, %error, "a finding cannot be read, and is left out"));
    told.ok().map(Finding::from)
}

fn find(table: &impl ReadableTable<u64, &'static [u8]>, id: u64) -> Result<Option<Finding>, FindingsError> {
    let Some(bytes) = table.get(id)? else { return Ok(None) };
    read(id, bytes.value()).map(Some).ok_or_else(|| FindingsError::Damaged(format!("{id} cannot be read")))
}

fn bare(finding: Finding) -> Finding {
    Finding { history: Vec::new(), ..finding }
}

impl Findings for Embedded {
    async fn note(&self, events: &[Event]) -> Result<(), FindingsError> {
        if events.is_empty() {
            return Ok(());
        }
        let events = events.to_vec();
        self.with(move |store, database| {
            let transaction = database.begin_write()?;
            {
                let (mut findings, mut ended) = (transaction.open_table(FINDINGS)?, transaction.open_table(ENDED)?);
                let mut known = BTreeMap::new();
                for event in &events {
                    if let Some(bytes) = findings.get(event.incident)? {
                        known.extend(read(event.incident, bytes.value()).map(|finding| (finding.id, finding)));
                    }
                }
                let before: BTreeMap<_, _> = known.iter().map(|(id, finding)| (*id, finding.ended)).collect();
                let changed = fold(&mut known, &events);
                let changed = changed.iter().filter_map(|id| Some((known.get(id)?, before.get(id).copied().flatten())));
                store.keep(&mut findings, &mut ended, changed)?;
            }
            transaction.commit()?;
            Ok(())
        })
        .await
    }

    async fn list(&self, filter: &Filter, page: Page) -> Result<Listed, FindingsError> {
        let filter = filter.clone();
        self.with(move |_, database| {
            let findings = database.begin_read()?.open_table(FINDINGS)?;
            let mut listed = Listed::default();
            for entry in findings.range(..page.after.unwrap_or(u64::MAX))?.rev() {
                let (id, bytes) = entry?;
                let Some(finding) = read(id.value(), bytes.value()).filter(|finding| filter.takes(finding)) else {
                    continue;
                };
                if listed.findings.len() == page.size {
                    listed.next = listed.findings.last().map(|finding| finding.id);
                    break;
                }
                listed.findings.push(bare(finding));
            }
            Ok(listed)
        })
        .await
    }

    async fn get(&self, id: u64) -> Result<Option<Finding>, FindingsError> {
        self.with(move |_, database| find(&database.begin_read()?.open_table(FINDINGS)?, id)).await
    }

    async fn review(&self, id: u64, review: &Review) -> Result<Option<Finding>, FindingsError> {
        let review = review.clone();
        self.with(move |store, database| {
            let transaction = database.begin_write()?;
            let reviewed = {
                let (mut findings, mut ended) = (transaction.open_table(FINDINGS)?, transaction.open_table(ENDED)?);
                let Some(mut finding) = find(&findings, id)? else { return Ok(None) };
                if finding.review(&review) {
                    store.keep(&mut findings, &mut ended, std::iter::once((&finding, finding.ended)))?;
                }
                finding
            };
            transaction.commit()?;
            Ok(Some(reviewed))
        })
        .await
    }

    async fn reviewed(&self, since: Micros) -> Result<Vec<Finding>, FindingsError> {
        self.with(move |_, database| {
            let findings = database.begin_read()?.open_table(FINDINGS)?;
            let mut reviewed = Vec::new();
            for entry in findings.iter()? {
                let (id, bytes) = entry?;
                let finding = read(id.value(), bytes.value());
                let is_new = |finding: &Finding| finding.review.as_ref().is_some_and(|review| review.at >= since);
                reviewed.extend(finding.filter(is_new).map(bare));
            }
            let at = |finding: &Finding| finding.review.as_ref().map(|review| review.at);
            reviewed.sort_by_key(|finding| std::cmp::Reverse((at(finding), finding.id)));
            reviewed.truncate(MAX_REVIEWED);
            Ok(reviewed)
        })
        .await
    }

    async fn prune(&self, before: Micros, most: usize) -> Result<usize, FindingsError> {
        self.with(move |_, database| {
            let transaction = database.begin_write()?;
            let mut old = Vec::new();
            {
                let (mut findings, mut ended) = (transaction.open_table(FINDINGS)?, transaction.open_table(ENDED)?);
                // Numbers grow with time, so what is old comes first.
                for entry in findings.iter()?.take(most) {
                    let (id, bytes) = entry?;
                    match read(id.value(), bytes.value()) {
                        Some(finding) if finding.last_seen >= before => {}
                        finding => old.push((id.value(), finding.and_then(|finding| finding.ended))),
                    }
                }
                for (id, at) in &old {
                    findings.remove(id)?;
                    if let Some(at) = at {
                        ended.remove((at.0, *id))?;
                    }
                }
            }
            transaction.commit()?;
            Ok(old.len())
        })
        .await
    }
}

impl From<redb::Error> for FindingsError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(reason) => Self::Damaged(reason),
            error => Self::Away(error.to_string()),
        }
    }
}

macro_rules! failures {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for FindingsError {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}

failures!(StorageError, TableError, TransactionError, CommitError, DatabaseError);
