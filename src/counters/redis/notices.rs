//! Notices: "this counter was given something back", from whoever did it to every replica, which then forgets what it
//! remembers of that counter ([`crate::counters::over_limit`]).
//!
//! Scripts publish them in the same step that changes the counter; one subscriber a process and deployment listens. In
//! a cluster `PUBLISH` reaches every node, so any node will do.
//!
//! **Gaps.** Nothing is remembered while a subscription is missing: from the start until all stand for the first time,
//! and from the loss of one until all stand again ([`crate::redis::subscription`] says how that is noticed). A node
//! that has left the cluster is left, too. Notices that a node of a cluster never gets from
//! another one, while both still answer, show nowhere; then the memory's own bound holds, one hit per `ask_again`.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use fred::types::Message;
use smallvec::SmallVec;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::backend::{Backend, Kind};
use super::store::RedisStore;
use super::topology::NodeAddress;
use crate::core::clock::Clock;
use crate::redis::subscription::{Gap, Heard, Pauses, Subscription};

/// First byte of a notice that names a counter.
const COUNTER: u8 = 1;
/// First byte of a notice that names none, because its name would be too long: anything may have changed.
const ANYTHING: u8 = 0;
/// The longest notice, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The channel of all replicas with the same prefix.
#[must_use]
pub fn channel(prefix: &str) -> String {
    format!("{prefix}:forget")
}

/// The notice that a counter was given something back.
///
/// A byte for the layout, the space (16 bytes), the number of values (1 byte), and each value behind its length (4
/// bytes); numbers are little-endian. Above 64 KiB, or with more than 255 values, it says that it may be any counter.
#[must_use]
pub fn encode(space: u128, values: &[&[u8]]) -> Bytes {
    let length = values.iter().fold(18, |sum: usize, value| sum.saturating_add(4).saturating_add(value.len()));
    let (Ok(count), true) = (u8::try_from(values.len()), length <= MAX_BYTES) else {
        return Bytes::from_static(&[ANYTHING]);
    };
    let mut notice = BytesMut::with_capacity(length);
    notice.put_u8(COUNTER);
    notice.put_u128_le(space);
    notice.put_u8(count);
    for value in values {
        // Fits, as the whole does.
        notice.put_u32_le(value.len() as u32);
        notice.put_slice(value);
    }
    notice.freeze()
}

/// Which counter a notice names; `None` when it names none, or cannot be read.
#[must_use]
pub fn decode(notice: &[u8]) -> Option<(u128, SmallVec<[&[u8]; 4]>)> {
    let (&COUNTER, rest) = notice.split_first()? else { return None };
    let (space, rest) = rest.split_first_chunk()?;
    let (&count, mut rest) = rest.split_first()?;
    let mut values = SmallVec::new();
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk()?;
        let (value, behind) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        values.push(value);
        rest = behind;
    }
    rest.is_empty().then(|| (u128::from_le_bytes(*space), values))
}

/// Listens for every deployment of the store. Nothing is remembered from this call on until all subscriptions stand.
/// Never ends; drop it to stop, after which nobody hears of a gap.
pub fn listen<C: Clock + Clone>(store: &RedisStore<C>) -> impl Future<Output = ()> + Send + 'static {
    let missing = Arc::new(Missing { store: store.clone(), count: Mutex::new(0) });
    let ears: Vec<_> = store.backends().iter().map(|backend| Ear::new(Arc::clone(backend), &missing)).collect();
    async move {
        let mut listening: JoinSet<()> = ears.into_iter().map(Ear::listen).collect();
        while listening.join_next().await.is_some() {}
    }
}

/// How many subscriptions are missing.
#[derive(Debug)]
struct Missing<C> {
    store: RedisStore<C>,
    count: Mutex<usize>,
}

impl<C: Clock + Clone> Missing<C> {
    fn more(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        self.store.memory().suspend(self.store.now());
    }

    fn fewer(&self) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.store.memory().resume(self.store.now());
        }
    }
}

/// What listens to one deployment.
#[derive(Debug)]
struct Ear<C: Clock + Clone> {
    backend: Arc<Backend>,
    missing: Arc<Missing<C>>,
    stands: bool,
}

impl<C: Clock + Clone> Ear<C> {
    fn new(backend: Arc<Backend>, missing: &Arc<Missing<C>>) -> Self {
        missing.more();
        Self { backend, missing: Arc::clone(missing), stands: false }
    }

    async fn listen(mut self) {
        let mut pauses = Pauses::default();
        for turn in fastrand::usize(..1_024).. {
            if let Some(node) = self.node(turn) {
                let gap = self.listen_to(&node).await;
                if self.stands {
                    self.stands = false;
                    self.missing.more();
                    pauses = Pauses::default();
                    tracing::warn!(%node, %gap, "no longer told of refunds: counters over their limit are not remembered");
                } else {
                    tracing::debug!(%node, %gap, "cannot subscribe");
                }
            }
            sleep(pauses.next_pause()).await;
        }
    }

    /// Another node with every turn.
    fn node(&self, turn: usize) -> Option<NodeAddress> {
        let table = self.backend.table();
        let nodes = match (self.backend.kind(), table.nodes()) {
            (Kind::Cluster(seeds), []) => seeds,
            (_, nodes) => nodes,
        };
        nodes.get(turn % nodes.len().max(1)).cloned()
    }

    /// Listens until something goes wrong.
    async fn listen_to(&mut self, node: &NodeAddress) -> Gap {
        match self.subscribe(node).await {
            Ok(gap) | Err(gap) => gap,
        }
    }

    async fn subscribe(&mut self, node: &NodeAddress) -> Result<Gap, Gap> {
        let store = &self.missing.store;
        let mut subscription = Subscription::open(self.backend.connector().subscriber(node), store.channel()).await?;
        self.stands = true;
        self.missing.fewer();
        tracing::debug!(%node, "subscribed");
        loop {
            match subscription.hear().await? {
                Heard::Message(message) => hear(store, &message),
                Heard::TooMuch => store.memory().forget_all(store.now()),
                Heard::Nothing if self.has_left(node) => return Ok(Gap::Left),
                Heard::Nothing => {}
            }
        }
    }

    /// A node that the cluster has parted with may go on answering, but hears of nothing.
    fn has_left(&self, node: &NodeAddress) -> bool {
        let table = self.backend.table();
        self.backend.is_cluster() && !table.nodes().is_empty() && !table.nodes().contains(node)
    }
}

fn hear<C: Clock + Clone>(store: &RedisStore<C>, message: &Message) {
    match message.value.as_bytes().and_then(decode) {
        Some((space, values)) => store.forget(space, &values),
        // From a later version of this program, perhaps.
        None => store.memory().forget_all(store.now()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read_as_they_were_written() {
        let long = [b'x'; 5_000];
        let lists: [&[&[u8]]; 6] =
            [&[], &[b""], &[b"", b""], &[b"alice", b"\xff\x00"], &[&long[..]; 12], &[&b"a"[..]; 255]];
        for values in lists {
            for space in [0, 1, u128::MAX] {
                let notice = encode(space, values);
                assert_eq!(decode(&notice), Some((space, SmallVec::from_slice(values))));
                for cut in 0..notice.len().min(100) {
                    assert_eq!(decode(&notice[..cut]), None);
                }
                assert_eq!(decode(&[&notice[..], b"\0"].concat()), None);
            }
        }
    }

    #[test]
    fn notices_are_bounded() {
        let long = [b'x'; 1_000];
        for values in [&[&long[..]; 70][..], &[&b""[..]; 256]] {
            let notice = encode(7, values);
            assert_eq!((notice.len(), decode(&notice)), (1, None));
        }
        assert!(encode(7, &[&long[..]; 65]).len() <= MAX_BYTES);
    }
}
