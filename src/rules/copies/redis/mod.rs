//! The copy in Redis, from which replicas start and learn while the repository is away.
//!
//!     rate_limit_rules:{head}                            hash: epoch, revision, the copy's title, sizes
//!     rate_limit_rules:{head}:log                        list: the changes behind the copy
//!     rate_limit_rules:{head}:publisher                  who publishes
//!     rate_limit_rules:<epoch>:<revision>:<copy>:<part>  a part of the copy, each in a slot of its own
//!     rate_limit_rules:changed                           channel: "<epoch> <revision>"
//!
//! **Publishing.** One replica does, the holder of a lease. That spares work, no more: whether head and log take what it
//! brings, a script decides on the spot by epoch and revision. Parts carry the copy's own number in their keys, so that
//! two who publish at once do not mix. A copy that is replaced stays for [`READERS`], for whoever is reading it; one that
//! is not renewed ([`RedisCopies::renew`]) ends after [`LIFETIME`].
//!
//! **Reading.** The head, the parts that its title names, the log. Whatever does not fit together is read again when the
//! head is another by then; what is handed out has been one revision.
//!
//! Head, announcement and order are hints. What is believed has a [`Seal`]: see [`super::codec`].

mod announcements;
mod keys;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{
    ClientLike as _, HashesInterface as _, KeysInterface as _, ListInterface as _, LuaInterface as _,
};
use fred::types::{Expiration, Value};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use self::keys::Keys;
use super::codec::{CopyError, LogEntry, RuleCopy, Seal, Title, follow};
use crate::redis::connect::Connector;
use crate::rules::repository::{Changes, Epoch, Head, Revision};

/// How long a copy lives that nobody renews.
pub const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// How long parts live until they are all there, and are named by the head.
const UPLOAD: Duration = Duration::from_secs(3_600);
/// How long a copy lives when another has taken its place.
pub const READERS: Duration = Duration::from_secs(600);
/// How long the lease is. Its holder renews it in time, three times as often.
pub const LEASE: Duration = Duration::from_secs(10);
/// How long one command may take, a part of a copy under way.
const DEADLINE: Duration = Duration::from_secs(5);
/// Parts under way at once.
const AT_ONCE: usize = 8;
/// Changes that are read at once.
const PAGE: i64 = 32;
/// The most changes in a log, and its size: a quarter of the copy, within these.
const MAX_CHANGES: i64 = 4_096;
const LEAST_LOG: u64 = 1 << 20;
const MOST_LOG: u64 = 32 << 20;
/// The most bytes of a copy that are read.
const MOST_COPY: u64 = 1 << 30;
/// How often a copy that changes while it is read is read again.
const ATTEMPTS: usize = 4;

/// Why the copy in Redis could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RedisCopyError {
    /// There is no connection.
    #[error("no connection to Redis")]
    NotConnected,
    /// Redis, or the way to it.
    #[error("Redis: {0}")]
    Redis(#[from] fred::error::Error),
    /// The copy that is there is refused.
    #[error("in Redis: {0}")]
    Copy(#[from] CopyError),
    /// A key that should be there is not.
    #[error("in Redis: there is no part {0} of the copy; it was evicted or deleted")]
    Missing(u32),
    /// More than any copy may have.
    #[error("in Redis: the copy has more than {MOST_COPY} bytes, or its log more than {MOST_LOG}")]
    TooLarge,
    /// The log ends before the revision that the head names.
    #[error("in Redis: the head names revision {named}, but the copy ends at {found}")]
    Short {
        /// What the head names.
        named: String,
        /// Where the copy ends.
        found: Revision,
    },
    /// It was replaced again and again while it was read.
    #[error("in Redis: the copy changed whenever it was read")]
    Restless,
    /// A task of ours.
    #[error("{0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What the head in Redis names, by its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    epoch: String,
    revision: String,
}

impl Claim {
    /// The epoch and revision, when they are any.
    #[must_use]
    pub fn read(&self) -> Option<(Epoch, Revision)> {
        Some((self.epoch.parse().ok()?, Revision(self.revision.parse().ok()?)))
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "revision {} of epoch {}", self.revision, self.epoch)
    }
}

/// What became of something that was to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is there.
    Done,
    /// It, or a later revision of the same epoch, was there already.
    Known,
    /// It cannot follow on what is there, or the log has become too long: a full copy is needed.
    NeedsCopy,
    /// Another epoch, or a later revision, is there. It stays, unless it is named to be replaced.
    Other(Claim),
}

/// The copy in Redis.
#[derive(Clone, Debug)]
pub struct RedisCopies {
    client: Client,
    connector: Arc<Connector>,
    keys: Keys,
    seal: Seal,
    /// This process, at random.
    id: String,
}

/// The head, as it was found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    claim: Claim,
    title: Bytes,
}

impl RedisCopies {
    /// Begins to connect, on the runtime that this is called in, and goes on trying for ever. The prefix is that of
    /// counters; `_rules` is put behind it.
    #[must_use]
    pub fn connect(connector: Connector, prefix: &str, seal: Seal) -> Self {
        let client = connector.background(DEADLINE);
        // The task ends with the client.
        drop(client.connect());
        let id = format!("{:016x}", RandomState::new().build_hasher().finish());
        Self { client, connector: Arc::new(connector), keys: Keys::new(prefix), seal, id }
    }

    /// Waits until the connection stands; it may not do so for ever.
    pub async fn connected(&self) {
        drop(self.client.wait_for_connect().await);
    }

    fn client(&self) -> Result<&Client, RedisCopyError> {
        if self.client.is_connected() { Ok(&self.client) } else { Err(RedisCopyError::NotConnected) }
    }

    /// Tries to become, or to stay, the one who publishes; `true` when this process is, for the length of [`LEASE`].
    ///
    /// # Errors
    /// When Redis does not answer; then it may be or not.
    pub async fn lead(&self) -> Result<bool, RedisCopyError> {
        let args: Vec<Value> = vec![self.id.as_str().into(), text(LEASE.as_millis())];
        let script = crate::redis::LEASE_SCRIPT;
        let led: i64 = self.client()?.eval(script, vec![self.keys.publisher.as_str()], args).await?;
        Ok(led == 1)
    }

    /// Gives the lease back, if it is held.
    ///
    /// # Errors
    /// When Redis does not answer; then it ends by itself.
    pub async fn resign(&self) -> Result<(), RedisCopyError> {
        let args: Vec<Value> = vec![self.id.as_str().into(), "0".into()];
        let script = crate::redis::LEASE_SCRIPT;
        let _: i64 = self.client()?.eval(script, vec![self.keys.publisher.as_str()], args).await?;
        Ok(())
    }

    /// Puts a copy in the place of an older revision of the same epoch, or of `replaced`, whatever that is.
    ///
    /// # Errors
    /// When Redis does not take all of it; what was there stays.
    pub async fn publish(&self, copy: &RuleCopy, replaced: Option<&Claim>) -> Result<Published, RedisCopyError> {
        let client = self.client()?;
        let title = *copy.title();
        let mut pieces: Vec<Bytes> = copy.pieces().cloned().collect();
        let head_piece = pieces.remove(0);
        let upload = pieces.into_iter().zip(0..).map(|(part, number)| {
            let key = self.keys.part(&title, number);
            client.set::<(), _, _>(key, part, Some(seconds(UPLOAD)), None, false)
        });
        stream::iter(upload).buffer_unordered(AT_ONCE).try_collect::<()>().await?;

        let Head { epoch, revision, .. } = copy.standing().head;
        let (replaced_epoch, replaced_revision) =
            replaced.map_or((String::new(), String::new()), |claim| (claim.epoch.clone(), claim.revision.clone()));
        let mut args: Vec<Value> = vec![
            text(epoch),
            text(revision),
            head_piece.into(),
            text(copy.bytes()),
            text(LIFETIME.as_secs()),
            self.keys.channel.as_str().into(),
            replaced_epoch.into(),
            replaced_revision.into(),
        ];
        args.extend(copy.changes().iter().cloned().map(Value::Bytes));
        let answer: Vec<Bytes> =
            client.eval(include_str!("scripts/publish.lua"), self.keys.head_and_log(), args).await?;
        match &answer[..] {
            [done, old] if done == "done" => {
                self.expire(&title, LIFETIME).await?;
                // Nobody needs the old one any more; if it cannot be read, it ends by itself.
                if let Ok(old) = Title::read(&self.seal, old)
                    && old.id != title.id
                {
                    self.expire(&old, READERS).await?;
                }
                Ok(Published::Done)
            }
            answer => Ok(published(answer)),
        }
    }

    /// Writes a change behind the copy, when it follows on what is there.
    ///
    /// # Errors
    /// When Redis does not answer; then it may be there or not.
    pub async fn append(&self, entry: &LogEntry) -> Result<Published, RedisCopyError> {
        let args: Vec<Value> = vec![
            text(entry.head.epoch),
            text(entry.from),
            text(entry.head.revision),
            entry.piece.clone().into(),
            text(LIFETIME.as_secs()),
            self.keys.channel.as_str().into(),
            text(MAX_CHANGES),
            text(LEAST_LOG),
            text(MOST_LOG),
        ];
        let script = include_str!("scripts/append.lua");
        let answer: Vec<Bytes> = self.client()?.eval(script, self.keys.head_and_log(), args).await?;
        Ok(published(&answer))
    }

    /// Has the copy live for another [`LIFETIME`]; `false` when it, or a part of it, is not there.
    ///
    /// # Errors
    /// When Redis does not answer, or the title is refused.
    pub async fn renew(&self) -> Result<bool, RedisCopyError> {
        let Some(found) = self.find().await? else { return Ok(false) };
        let all = self.expire(&Title::read(&self.seal, &found.title)?, LIFETIME).await?;
        let client = self.client()?;
        let _: i64 = client.expire(self.keys.log.as_str(), whole_seconds(LIFETIME), None).await?;
        let head: i64 = client.expire(self.keys.head.as_str(), whole_seconds(LIFETIME), None).await?;
        Ok(all && head == 1)
    }

    /// Whether all parts were there.
    async fn expire(&self, title: &Title, lifetime: Duration) -> Result<bool, RedisCopyError> {
        let client = self.client()?;
        let calls = (0..title.parts)
            .map(|number| client.expire::<i64, _>(self.keys.part(title, number), whole_seconds(lifetime), None));
        let there = stream::iter(calls).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(there.iter().all(|there| *there == 1))
    }

    async fn find(&self) -> Result<Option<Found>, RedisCopyError> {
        let fields = vec!["epoch", "revision", "title"];
        let found: Vec<Option<Bytes>> = self.client()?.hmget(self.keys.head.as_str(), fields).await?;
        let text = |field: &Option<Bytes>| field.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(match &found[..] {
            [epoch, revision, title] if epoch.is_some() || revision.is_some() => Some(Found {
                claim: Claim { epoch: text(epoch).unwrap_or_default(), revision: text(revision).unwrap_or_default() },
                title: title.clone().unwrap_or_default(),
            }),
            _ => None,
        })
    }

    /// What is there, by its own account; `None` when there is nothing.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn look(&self) -> Result<Option<Claim>, RedisCopyError> {
        Ok(self.find().await?.map(|found| found.claim))
    }

    /// The copy and the changes behind it, with all seals checked; `None` when there is nothing.
    ///
    /// # Errors
    /// When Redis does not answer, or what is there is refused.
    pub async fn read(&self) -> Result<Option<RuleCopy>, RedisCopyError> {
        for _ in 0..ATTEMPTS {
            let Some(found) = self.find().await? else { return Ok(None) };
            match self.read_found(&found).await {
                Ok(copy) => return Ok(Some(copy)),
                Err(error @ (RedisCopyError::NotConnected | RedisCopyError::Redis(_) | RedisCopyError::Task(_))) => {
                    return Err(error);
                }
                Err(error) => {
                    // It may have been replaced while it was read, and its log with it.
                    if self.find().await?.is_some_and(|now| now.title == found.title) {
                        return Err(error);
                    }
                }
            }
        }
        Err(RedisCopyError::Restless)
    }

    async fn read_found(&self, found: &Found) -> Result<RuleCopy, RedisCopyError> {
        let title = Title::read(&self.seal, &found.title)?;
        let client = self.client()?;
        let parts = (0..title.parts).map(|number| async move {
            let part: Option<Bytes> = client.get(self.keys.part(&title, number)).await?;
            part.ok_or(RedisCopyError::Missing(number))
        });
        let mut arriving = stream::iter(parts).buffered(AT_ONCE);
        let (mut parts, mut bytes) = (Vec::new(), 0);
        while let Some(part) = arriving.try_next().await? {
            bytes += part.len() as u64;
            if bytes > MOST_COPY {
                return Err(RedisCopyError::TooLarge);
            }
            parts.push(part);
        }
        drop(arriving);
        let changes = self.log().await?;
        let (seal, head_piece) = (self.seal.clone(), found.title.clone());
        let copy = spawn_blocking(move || RuleCopy::from_pieces(&seal, head_piece, parts, changes)).await??;
        let Head { revision, .. } = copy.standing().head;
        if found.claim.revision.parse().is_ok_and(|named| revision >= Revision(named)) {
            Ok(copy)
        } else {
            Err(RedisCopyError::Short { named: found.claim.revision.clone(), found: revision })
        }
    }

    /// The whole log.
    async fn log(&self) -> Result<Vec<Bytes>, RedisCopyError> {
        let (mut changes, mut bytes): (Vec<Bytes>, _) = (Vec::new(), 0);
        for first in (0..=MAX_CHANGES).step_by(usize::try_from(PAGE).unwrap_or(1)) {
            let page: Vec<Bytes> = self.client()?.lrange(self.keys.log.as_str(), first, first + PAGE - 1).await?;
            let last = (page.len() as i64) < PAGE;
            bytes += page.iter().map(|change| change.len() as u64).sum::<u64>();
            changes.extend(page);
            if bytes > MOST_LOG + MOST_LOG / 4 {
                break;
            }
            if last {
                return Ok(changes);
            }
        }
        Err(RedisCopyError::TooLarge)
    }

    /// What changed behind a revision; `None` when the log does not tell (another epoch, too long ago, nothing there),
    /// and the whole copy has to be read.
    ///
    /// # Errors
    /// When Redis does not answer, or a change is refused.
    pub async fn changes_behind(&self, head: Head) -> Result<Option<Changes>, RedisCopyError> {
        let Some(found) = self.find().await? else { return Ok(None) };
        let named = match found.claim.read() {
            Some((epoch, revision)) if epoch == head.epoch => revision,
            _ => return Ok(None),
        };
        if named <= head.revision {
            return Ok(Some(Changes { head, records: Vec::new() }));
        }
        // From the end, as what is new is there. When changes are appended meanwhile, some are read twice.
        let mut changes: Vec<Bytes> = Vec::new();
        for page in 1..=MAX_CHANGES / PAGE + 1 {
            let (first, last) = (-page * PAGE, -(page - 1) * PAGE - 1);
            let mut earlier: Vec<Bytes> = self.client()?.lrange(self.keys.log.as_str(), first, last).await?;
            let begins = (earlier.len() as i64) < PAGE;
            earlier.append(&mut changes);
            changes = earlier;
            let seal = self.seal.clone();
            let known = changes.clone();
            let followed = spawn_blocking(move || follow(&seal, head, &known)).await??;
            if followed.is_some() || begins {
                // An emptied log leads nowhere.
                return Ok(followed.filter(|changes| changes.head.revision >= named));
            }
        }
        Ok(None)
    }

    /// Listens for announcements, and tells what they name: a hint, like [`RedisCopies::look`]. Says `None` whenever one
    /// may have been missed, at the start too. Never ends; drop it to stop.
    pub fn listen(&self, told: watch::Sender<Option<(Epoch, Revision)>>) -> impl Future<Output = ()> + Send + 'static {
        announcements::listen(Arc::clone(&self.connector), self.keys.channel.clone(), told)
    }
}

fn published(answer: &[Bytes]) -> Published {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match answer {
        [word] if word == "done" => Published::Done,
        [word] if word == "known" => Published::Known,
        [_, epoch, revision] => Published::Other(Claim { epoch: text(epoch), revision: text(revision) }),
        _ => Published::NeedsCopy,
    }
}

fn text(value: impl ToString) -> Value {
    value.to_string().into()
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn seconds(duration: Duration) -> Expiration {
    Expiration::EX(whole_seconds(duration))
}
