//! What workers share, in Redis.
//!
//!     rate_limit_anomaly:{observations}         stream: batches of observations, for the holder of the seat
//!     rate_limit_anomaly:{observations}:sizes   list: when each came, and the bytes before it
//!     rate_limit_anomaly:{observations}:state   hash: the last position, the bytes of all there ever were
//!     rate_limit_anomaly:{seat}                 who has the seat
//!     rate_limit_anomaly:{seat}:deeds           stream: deeds, some an entry; beside it :sizes and :state as above
//!     rate_limit_anomaly:{seat}:standing        head of what is in force
//!     rate_limit_anomaly:{seat}:checkpoint      head of what the engine knows
//!     rate_limit_anomaly:standing:<id>:<part>   its parts, each in a slot of its own
//!     rate_limit_anomaly:checkpoint:<id>:<part>
//!
//! **The seat** is a lease of [`LEASE`]. A process that was paused may believe that it has the seat when it has not, so
//! whatever only its holder may write is written by a script that looks who has it: events, and both heads share its slot.
//!
//! **Streams** are bounded by bytes, entries and age, when they are written to ([`streams`]). Readers ask every [`POLL`],
//! which is a look at one short field unless there is something. Blocking reads would tell some milliseconds sooner, but
//! take a connection each that nothing else can use, and that must be told from one that hangs.
//!
//! **What is read is not trusted**: [`envelope`] says how it is sealed and bounded. What is damaged is left out, counted
//! and told in the log. A genuine envelope can still be written again by whoever may write in Redis: an old deed, an old
//! checkpoint. Deeds carry when they end, which bounds what that does.
//!
//! What the server of decisions does is not slowed: what is large goes in parts, few at once, through a connection of its
//! own; scripts take away little at a time.

mod damage;
mod envelope;
mod keys;
mod snapshot;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike as _, LuaInterface as _};
use fred::types::config::Options;
use fred::types::{ClusterHash, CustomCommand, FromValue, Value};
use fred::util::redis_keyslot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use self::damage::Damage;
use self::envelope::Kind;
use self::keys::Keys;
use self::snapshot::Snapshot;
use self::streams::{Read, Stream};
use super::{
    Bus, BusError, Checkpoint, Deed, MOST_BATCH_BYTES, MOST_CHECKPOINT_BYTES, MOST_DEED_BYTES, MOST_STANDING_BYTES,
    MOST_TOLD_BYTES, Part, Position, Standing,
};
use crate::redis::connect::Connector;
use crate::seal::Seal;

/// How long the seat is held without a word of its holder.
pub const LEASE: Duration = Duration::from_secs(1);
/// How often readers look whether there is something.
pub const POLL: Duration = Duration::from_millis(100);
/// How long the question for the seat may take. What is left of the lease then is its holder's.
const LEAD_DEADLINE: Duration = Duration::from_millis(500);
/// How long a short command may take, and a batch.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long one part of something large may take.
const BULK_DEADLINE: Duration = Duration::from_secs(5);

/// What is kept of observations: their age, and the bytes in Redis. While thousands of small ones give way to large ones
/// it can be 16 MiB more.
pub const OBSERVATIONS_AGE: Duration = Duration::from_secs(30);
/// See [`OBSERVATIONS_AGE`].
pub const OBSERVATIONS_BYTES: usize = 128 << 20;
const OBSERVATIONS: usize = 16_384;
/// What is kept of deeds: their age, bytes, and entries.
const DEEDS_AGE: Duration = Duration::from_secs(3_600);
const DEEDS_BYTES: usize = 16 << 20;
const DEEDS: usize = 4_096;
/// How long a checkpoint lives, and what is in force at most.
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// How long what was in force lives when nothing is any more.
const STANDING_REST: Duration = Duration::from_secs(3_600);

/// What workers share, in Redis.
#[derive(Clone, Debug)]
pub struct RedisBus {
    /// For what is short and must not wait.
    quick: Client,
    /// For what is large.
    bulk: Client,
    keys: Keys,
    observations: Stream,
    deeds: Stream,
    standing: Snapshot,
    checkpoint: Snapshot,
    seal: Seal,
    /// This process, at random.
    id: String,
    damage: Arc<Damage>,
}

impl RedisBus {
    /// Begins to connect, on the runtime that this is called in, and goes on trying for ever. The prefix is that of
    /// counters; `_anomaly` is put behind it.
    #[must_use]
    pub fn connect(connector: &Connector, prefix: &str, seal: Seal) -> Self {
        let client = |deadline| {
            let client = connector.background(deadline);
            // The task ends with the client.
            drop(client.connect());
            client
        };
        let keys = Keys::new(prefix);
        Self {
            quick: client(DEADLINE),
            bulk: client(BULK_DEADLINE),
            observations: Stream {
                keys: keys.observations.clone(),
                kind: Kind::Observations,
                most_bytes: OBSERVATIONS_BYTES,
                most_entries: OBSERVATIONS,
                most_age: OBSERVATIONS_AGE,
            },
            deeds: Stream {
                keys: keys.deeds.clone(),
                kind: Kind::Deeds,
                most_bytes: DEEDS_BYTES,
                most_entries: DEEDS,
                most_age: DEEDS_AGE,
            },
            standing: Snapshot { kind: Kind::Standing, head: keys.standing.clone(), parts: keys.parts("standing") },
            checkpoint: Snapshot {
                kind: Kind::Checkpoint,
                head: keys.checkpoint.clone(),
                parts: keys.parts("checkpoint"),
            },
            keys,
            seal,
            id: format!("{:032x}", fastrand::u128(..)),
            damage: Arc::default(),
        }
    }

    /// Waits until the connections stand; it may not do so for ever.
    pub async fn connected(&self) {
        drop(self.quick.wait_for_connect().await);
        drop(self.bulk.wait_for_connect().await);
    }

    /// How often something was found that is damaged, sealed otherwise or not Tidegate's, and was left out.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damage.count()
    }

    fn quick(&self) -> Result<&Client, BusError> {
        connected(&self.quick)
    }

    fn bulk(&self) -> Result<&Client, BusError> {
        connected(&self.bulk)
    }

    fn both(&self) -> Result<(&Client, &Client), BusError> {
        Ok((self.quick()?, self.bulk()?))
    }

    /// Takes, keeps or, with no time at all, gives up the seat.
    async fn lease(&self, time: Duration) -> Result<bool, BusError> {
        let args: Vec<Value> = vec![self.id.as_str().into(), text(time.as_millis())];
        let script = crate::redis::LEASE_SCRIPT;
        let asked = self.quick()?.eval::<i64, _, _, _>(script, vec![self.keys.seat.as_str()], args);
        let late = |_| BusError::Away(format!("no answer within {LEAD_DEADLINE:?}"));
        let led = timeout(LEAD_DEADLINE, asked).await.map_err(late)?.map_err(away)?;
        Ok(led == 1)
    }

    /// Entries behind a position as soon as there are any; `unpack` says what is in one.
    async fn follow<T: Send + 'static>(
        &self,
        client: &Client,
        stream: &Stream,
        since: Position,
        patience: Duration,
        unpack: fn(Vec<u8>) -> Result<Vec<T>, postcard::Error>,
    ) -> Result<Part<T>, BusError> {
        let until = Instant::now() + patience;
        let read = loop {
            let read = stream.read(client, since).await?;
            let rest = until.saturating_duration_since(Instant::now());
            if read.gap || !read.entries.is_empty() || rest.is_zero() {
                break read;
            }
            sleep(POLL.min(rest)).await;
        };
        let Read { entries, upto, gap, foreign } = read;
        if foreign > 0 {
            self.damage.found(&stream.keys.stream, &"entries of another form");
        }
        let (seal, kind) = (self.seal.clone(), stream.kind);
        let (damage, key) = (Arc::clone(&self.damage), stream.keys.stream.clone());
        let items = off_runtime(move || {
            let mut items = Vec::with_capacity(entries.len());
            for (position, entry) in entries {
                match envelope::open(&seal, kind, &entry).map_err(|refused| refused.to_string()) {
                    Err(reason) => damage.found(&key, &reason),
                    Ok(content) => match unpack(content) {
                        Ok(found) => items.extend(found.into_iter().map(|item| (position, item))),
                        Err(error) => damage.found(&key, &error),
                    },
                }
            }
            items
        });
        Ok(Part { items: items.await?, upto, gap })
    }

    async fn leave(&self, snapshot: &Snapshot, content: Vec<u8>, lifetime: Duration) -> Result<(), BusError> {
        let clients = self.both()?;
        let (seal, kind) = (self.seal.clone(), snapshot.kind);
        let sealed = off_runtime(move || envelope::seal(&seal, kind, &content)).await?;
        snapshot.leave(clients, (&self.keys.seat, &self.id), &sealed, lifetime).await
    }

    async fn left<T: Send + 'static>(
        &self,
        snapshot: &Snapshot,
        unpack: fn(Vec<u8>) -> Result<T, postcard::Error>,
    ) -> Result<Option<T>, BusError> {
        let (seal, kind) = (self.seal.clone(), snapshot.kind);
        let open = move |sealed: &[u8]| {
            let content = envelope::open(&seal, kind, sealed).map_err(|refused| refused.to_string())?;
            unpack(content).map_err(|error| error.to_string())
        };
        let found = snapshot.read(self.both()?, open).await;
        if let Err(BusError::Damaged { key, reason }) = &found {
            self.damage.found(key, reason);
        }
        found
    }
}

impl Bus for RedisBus {
    async fn lead(&self) -> Result<bool, BusError> {
        self.lease(LEASE).await
    }

    async fn resign(&self) -> Result<(), BusError> {
        self.lease(Duration::ZERO).await.map(drop)
    }

    async fn send(&self, batch: Bytes) -> Result<(), BusError> {
        fits(batch.len(), MOST_BATCH_BYTES)?;
        let client = self.bulk()?;
        let seal = self.seal.clone();
        let sealed = off_runtime(move || envelope::seal(&seal, Kind::Observations, &batch)).await?;
        self.observations.append(client, None, vec![sealed]).await.map(drop)
    }

    async fn receive(&self, since: Position, patience: Duration) -> Result<Part<Bytes>, BusError> {
        self.follow(self.bulk()?, &self.observations, since, patience, |batch| Ok(vec![batch.into()])).await
    }

    async fn tell(&self, deeds: Vec<Deed>) -> Result<Option<Position>, BusError> {
        let client = self.quick()?;
        let entries = pack(&deeds)?;
        let entries = entries.iter().map(|entry| envelope::seal(&self.seal, Kind::Deeds, entry)).collect();
        let of_the_seat = deeds.iter().any(|deed| matches!(deed, Deed::Event(_)));
        let seat = of_the_seat.then_some((self.keys.seat.as_str(), self.id.as_str()));
        self.deeds.append(client, seat, entries).await
    }

    async fn deeds(&self, since: Position, patience: Duration) -> Result<Part<Deed>, BusError> {
        self.follow(self.quick()?, &self.deeds, since, patience, unpack_deeds).await
    }

    async fn leave_standing(&self, standing: &Standing) -> Result<(), BusError> {
        let content = written(standing)?;
        fits(content.len(), MOST_STANDING_BYTES)?;
        let last = standing.adjustments.iter().map(|adjustment| adjustment.expires).max().unwrap_or_default();
        let lasts = Duration::from_micros(last.0.saturating_sub(standing.at.0)) + STANDING_REST;
        self.leave(&self.standing, content, lasts.min(LIFETIME)).await
    }

    async fn standing(&self) -> Result<Option<Standing>, BusError> {
        self.left(&self.standing, |content| postcard::from_bytes(&content)).await
    }

    async fn leave_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), BusError> {
        fits(checkpoint.engine.len(), MOST_CHECKPOINT_BYTES)?;
        let mut content = written(&(checkpoint.observations, checkpoint.deeds))?;
        content.extend_from_slice(&checkpoint.engine);
        self.leave(&self.checkpoint, content, LIFETIME).await
    }

    async fn checkpoint(&self) -> Result<Option<Checkpoint>, BusError> {
        let unpack = |content| {
            let content = Bytes::from(content);
            let ((observations, deeds), engine) = postcard::take_from_bytes(&content)?;
            Ok(Checkpoint { observations, deeds, engine: content.slice_ref(engine) })
        };
        self.left(&self.checkpoint, unpack).await
    }
}

/// Deeds in entries, each of as many as fit.
fn pack(deeds: &[Deed]) -> Result<Vec<Vec<u8>>, BusError> {
    let (mut entries, mut entry, mut bytes) = (Vec::new(), Vec::new(), 0);
    for deed in deeds {
        let deed = written(deed)?;
        fits(deed.len(), MOST_DEED_BYTES)?;
        bytes += deed.len();
        fits(bytes, MOST_TOLD_BYTES)?;
        if entry.len() + deed.len() > MOST_DEED_BYTES {
            entries.push(std::mem::take(&mut entry));
        }
        entry.extend(deed);
    }
    if !entry.is_empty() {
        entries.push(entry);
    }
    Ok(entries)
}

fn unpack_deeds(content: Vec<u8>) -> Result<Vec<Deed>, postcard::Error> {
    let (mut deeds, mut rest) = (Vec::new(), &content[..]);
    while !rest.is_empty() {
        let (deed, after) = postcard::take_from_bytes(rest)?;
        deeds.push(deed);
        rest = after;
    }
    Ok(deeds)
}

fn written<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, BusError> {
    postcard::to_allocvec(value).map_err(|error| BusError::Away(format!("it cannot be written: {error}")))
}

const fn fits(bytes: usize, most: usize) -> Result<(), BusError> {
    if bytes > most { Err(BusError::TooLarge { bytes, most }) } else { Ok(()) }
}

fn connected(client: &Client) -> Result<&Client, BusError> {
    if client.is_connected() { Ok(client) } else { Err(BusError::Away("no connection".to_owned())) }
}

/// Runs a script that must not be run twice; whose first key has another owner by now, fails once. (fred's own call for
/// scripts knows no options.)
async fn eval_once<R: FromValue>(
    client: &Client,
    script: &'static str,
    keys: &[&str],
    args: Vec<Value>,
) -> Result<R, BusError> {
    let slot = ClusterHash::Custom(redis_keyslot(keys.first().map_or(&[], |key| key.as_bytes())));
    let options = Options {
        max_attempts: Some(1),
        timeout: Some(DEADLINE),
        cluster_hash: Some(slot.clone()),
        ..Options::default()
    };
    let command = CustomCommand::new_static("EVAL", slot, false);
    let mut all: Vec<Value> = vec![script.into(), text(keys.len())];
    all.extend(keys.iter().map(|key| Value::from(*key)));
    all.extend(args);
    client.with_options(&options).custom(command, all).await.map_err(away)
}

/// Work that takes long.
async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BusError> {
    spawn_blocking(work).await.map_err(|error| BusError::Away(error.to_string()))
}

fn away(error: fred::error::Error) -> BusError {
    BusError::Away(error.to_string())
}

fn text(value: impl ToString) -> Value {
    value.to_string().into()
}
