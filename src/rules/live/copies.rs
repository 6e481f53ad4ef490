//! What a keeper reads of copies, and what it leaves to them.
//!
//! The copy on disk is this process's own, so it is where a start begins: the repository then only tells what changed
//! since. The copy in Redis is written by others, and is read while the repository does not answer. Copies are written
//! by a task of their own ([`Copies::write`]), which asks the repository for what is in force, never for more: what
//! waits for an operator is in no copy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::state::State;
use crate::rules::copies::codec::{CopyBuilder, CopyError, LogEntry, RuleCopy, Seal};
use crate::rules::copies::disk::{Appended, Disk, DiskError};
use crate::rules::copies::redis::{LEASE, Published, RedisCopies, RedisCopyError};
use crate::rules::repository::{Changes, Epoch, Head, RepositoryError, Revision, RuleRepository};

/// The most changes that are put behind a copy one by one.
const MOST_CHANGES: usize = 100_000;
/// How often what could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// How often the copy in Redis is told to live on.
const RENEW: Duration = Duration::from_secs(86_400);

/// Where copies are.
#[derive(Debug)]
pub struct Copies {
    seal: Seal,
    disk: Option<Arc<Mutex<Disk>>>,
    redis: Option<RedisCopies>,
    /// Whether this process may write the copy in Redis.
    publishes: bool,
}

/// Why a copy was not written.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Redis(#[from] RedisCopyError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("{0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What is to be put into a place.
enum Due {
    Nothing,
    Change(LogEntry),
    Everything,
}

impl Copies {
    /// Copies in these places.
    #[must_use]
    pub fn new(seal: Seal, disk: Option<Disk>, redis: Option<RedisCopies>, publishes: bool) -> Self {
        Self { seal, disk: disk.map(|disk| Arc::new(Mutex::new(disk))), redis, publishes }
    }

    /// The state that the copy on disk has, if there is one that can be read.
    pub(super) async fn on_disk(&self, now: Timestamp) -> Option<State> {
        let disk = Arc::clone(self.disk.as_ref()?);
        let read = spawn_blocking(move || {
            let mut state = State::default();
            let loaded = lock(&disk).load(&mut |record| state.apply(record, now))?;
            Ok::<_, DiskError>(loaded.map(|loaded| {
                state.head = Some(loaded.standing.head);
                (state, loaded.rest)
            }))
        });
        match read.await {
            Ok(Ok(found)) => {
                let (state, rest) = found?;
                if let Some(rest) = rest {
                    tracing::warn!("the end of the copy of the rules on disk is not read: {rest}");
                }
                Some(state)
            }
            Ok(Err(error)) => {
                tracing::warn!("the copy of the rules on disk is not read: {error}");
                None
            }
            Err(_) => None,
        }
    }

    /// The state that the copy in Redis has, if there is one that can be read.
    pub(super) async fn in_redis(&self, now: Timestamp) -> Option<State> {
        let redis = self.redis.as_ref()?;
        let copy = match redis.read().await {
            Ok(copy) => copy?,
            Err(error) => {
                tracing::warn!("the copy of the rules is not read: {error}");
                return None;
            }
        };
        let seal = self.seal.clone();
        let read = spawn_blocking(move || {
            let mut state = State::default();
            let standing = copy.read(&seal, &mut |record| state.apply(record, now))?;
            state.head = Some(standing.head);
            Ok::<_, CopyError>(state)
        });
        match read.await {
            Ok(Ok(state)) => Some(state),
            Ok(Err(error)) => {
                tracing::warn!("the copy of the rules in Redis is not read: {error}");
                None
            }
            Err(_) => None,
        }
    }

    /// What the copy in Redis has behind a revision, if it tells that.
    pub(super) async fn behind(&self, head: Head) -> Option<Changes> {
        // What is wrong with it is told when the whole copy is read.
        self.redis.as_ref()?.changes_behind(head).await.ok().flatten()
    }

    /// Hears when the copy in Redis changes.
    pub(super) fn announced(&self) -> Option<watch::Receiver<Option<(Epoch, Revision)>>> {
        let (told, heard) = watch::channel(None);
        tokio::spawn(self.redis.as_ref()?.listen(told));
        Some(heard)
    }

    /// Writes whatever is in force into the copies. Never ends; drop it to stop.
    pub async fn write<R: RuleRepository>(
        self: Arc<Self>,
        repository: Arc<R>,
        mut in_force: watch::Receiver<Option<Head>>,
    ) {
        let mut known: Option<Head> = None;
        let mut renewed = tokio::time::Instant::now();
        loop {
            let head = *in_force.borrow_and_update();
            let mut wait = LEASE / 3;
            if let Some(head) = head {
                if let Err(trouble) = self.to_disk(&*repository, head).await {
                    tracing::warn!("the copy of the rules on disk falls behind: {trouble}");
                    wait = AGAIN;
                }
                match self.to_redis(&*repository, head, &mut known).await {
                    Ok(()) => {}
                    // It is told in health; counters say more of it.
                    Err(Trouble::Redis(RedisCopyError::NotConnected)) => wait = AGAIN,
                    Err(trouble) => {
                        tracing::warn!("the copy of the rules in Redis falls behind: {trouble}");
                        wait = AGAIN;
                    }
                }
                if renewed.elapsed() >= RENEW {
                    renewed = tokio::time::Instant::now();
                    self.renew().await;
                }
            }
            tokio::select! {
                changed = in_force.changed() => if changed.is_err() { return },
                () = sleep(wait) => {}
            }
        }
    }

    async fn renew(&self) {
        if let Some(redis) = self.redis.as_ref().filter(|_| self.publishes)
            && let Err(error) = redis.renew().await
        {
            tracing::debug!("the copy of the rules in Redis is not renewed: {error}");
        }
    }

    async fn to_disk<R: RuleRepository>(&self, repository: &R, head: Head) -> Result<(), Trouble> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let there = {
            let disk = Arc::clone(disk);
            // What cannot be read is written anew.
            spawn_blocking(move || lock(&disk).standing().map(|standing| standing.head)).await?
        };
        let entry = match self.due(repository, there, head).await? {
            Due::Nothing => return Ok(()),
            Due::Change(entry) => Some(entry),
            Due::Everything => None,
        };
        if let Some(entry) = entry {
            let disk = Arc::clone(disk);
            let appended = spawn_blocking(move || {
                let mut disk = lock(&disk);
                let appended = disk.append(&entry)?;
                if disk.is_long() {
                    disk.compact()?;
                }
                Ok::<_, DiskError>(appended)
            });
            if appended.await?? != Appended::NeedsCopy {
                return Ok(());
            }
        }
        if let Some(copy) = self.everything(repository, head).await? {
            let disk = Arc::clone(disk);
            spawn_blocking(move || lock(&disk).write(&copy)).await??;
        }
        Ok(())
    }

    /// `known` is what this process last saw or put there, so that Redis is not asked when nothing has changed.
    async fn to_redis<R: RuleRepository>(
        &self,
        repository: &R,
        head: Head,
        known: &mut Option<Head>,
    ) -> Result<(), Trouble> {
        let Some(redis) = self.redis.as_ref().filter(|_| self.publishes) else { return Ok(()) };
        if !redis.lead().await? {
            *known = None;
            return Ok(());
        }
        if *known == Some(head) {
            return Ok(());
        }
        let claim = redis.look().await?;
        let there = claim.as_ref().and_then(|claim| claim.read());
        let there = there.map(|(epoch, revision)| Head { epoch, revision, accepted: head.accepted });
        match self.due(repository, there, head).await? {
            Due::Nothing => {
                *known = Some(head);
                return Ok(());
            }
            Due::Change(entry) => {
                if matches!(redis.append(&entry).await?, Published::Done | Published::Known) {
                    *known = Some(head);
                    return Ok(());
                }
            }
            Due::Everything => {}
        }
        let Some(copy) = self.everything(repository, head).await? else { return Ok(()) };
        // What is in force is what an operator accepted, or what simply went on; the copy follows it.
        match redis.publish(&copy, claim.as_ref()).await? {
            Published::Done | Published::Known => *known = Some(head),
            Published::NeedsCopy | Published::Other(_) => {}
        }
        Ok(())
    }

    async fn due<R: RuleRepository>(&self, repository: &R, there: Option<Head>, head: Head) -> Result<Due, Trouble> {
        let Some(there) = there.filter(|there| there.epoch == head.epoch && there.revision <= head.revision) else {
            return Ok(Due::Everything);
        };
        if there.revision == head.revision {
            return Ok(Due::Nothing);
        }
        let Some(changes) = repository.changed_since(there.revision, MOST_CHANGES).await? else {
            return Ok(Due::Everything);
        };
        if changes.head != head {
            // What is newer than what is in force comes when it is in force.
            return Ok(Due::Nothing);
        }
        let seal = self.seal.clone();
        let sealed = spawn_blocking(move || LogEntry::new(&seal, there.revision, &changes, Timestamp::now()));
        Ok(match sealed.await? {
            Ok(entry) => Due::Change(entry),
            Err(CopyError::TooLarge { .. }) => Due::Everything,
            Err(error) => return Err(error.into()),
        })
    }

    /// A copy of everything, unless something newer is there by now.
    async fn everything<R: RuleRepository>(&self, repository: &R, head: Head) -> Result<Option<RuleCopy>, Trouble> {
        let mut builder = CopyBuilder::new(&self.seal);
        let mut trouble = Ok(());
        let read = repository
            .read_all(|record| {
                if trouble.is_ok() {
                    trouble = builder.push(&record);
                }
            })
            .await?;
        trouble?;
        if read != head {
            return Ok(None);
        }
        Ok(Some(builder.finish(head, Timestamp::now())?))
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}
