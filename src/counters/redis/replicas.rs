//! How many replicas there are, so that each knows its share of the limits when Redis is away.
//!
//! Each says every so often that it lives, in a sorted set of Redis; one that has been silent for [`SILENCE`] intervals
//! does not count. The count is remembered while Redis is away. More replicas are believed at once, fewer only when the
//! count has stayed lower for as long as the others may need to report again: Redis may have come back empty, and too
//! small a share does less harm than one too large. A process that has never reached Redis takes it that there are as
//! many as the settings say, else that it is alone.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};

use super::failure::Failure;
use super::scripts::HEARTBEAT;
use super::store::RedisStore;
use crate::core::clock::{Clock, Micros};

/// Intervals after which a silent replica does not count any more.
pub const SILENCE: u32 = 4;
/// Intervals for which the count has to stay lower before that is believed, or as long as a circuit breaker may keep
/// the others from reporting, if that is longer.
const SETTLING: u32 = 2;

/// The number of replicas, at least 1. Shared by who learns of it and who counts by it.
#[derive(Debug)]
pub struct LiveReplicas(AtomicU32);

impl LiveReplicas {
    /// `expected` until it is known better; 1 when nothing is expected.
    #[must_use]
    pub const fn new(expected: Option<u32>) -> Self {
        Self(AtomicU32::new(match expected {
            Some(count) => count,
            None => 1,
        }))
    }

    /// How many there are, this one included.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed).max(1)
    }

    /// There are so many.
    pub fn set(&self, count: u32) {
        self.0.store(count, Ordering::Relaxed);
    }
}

/// Says that this replica lives, and counts the others.
#[derive(Debug)]
pub struct Heartbeat<C> {
    store: RedisStore<C>,
    replicas: Arc<LiveReplicas>,
    /// This process, at random.
    id: Bytes,
    interval: Duration,
    settling: Micros,
}

impl<C: Clock + Clone> Heartbeat<C> {
    /// Beats every `interval`, once [`Heartbeat::run`] does. The count goes to the store's fallback.
    #[must_use]
    pub fn new(store: &RedisStore<C>, interval: Duration) -> Self {
        let id = [0; 2].map(|_: u64| RandomState::new().build_hasher().finish());
        let longest_pause = store.backends().iter().map(|backend| backend.longest_pause()).max().unwrap_or_default();
        Self {
            store: store.clone(),
            replicas: Arc::clone(store.fallback().replicas()),
            id: Bytes::from(format!("{:016x}{:016x}", id[0], id[1])),
            interval,
            settling: (interval * SETTLING).max(longest_pause + interval).into(),
        }
    }

    /// Beats. Never ends; drop it to stop.
    pub async fn run(&self) {
        let mut census = Census::new(self.settling);
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.say(self.interval * SILENCE).await {
                Ok(count) => {
                    let known = self.replicas.get();
                    let count = census.counted(known, count, self.store.now());
                    if count != known {
                        tracing::info!(replicas = count, before = known, "the number of replicas has changed");
                        self.replicas.set(count);
                    }
                }
                Err(failure) => {
                    tracing::debug!(failure = failure.name(), "the replicas cannot be counted");
                    census.missed();
                }
            }
        }
    }

    /// Takes this replica out, so that the others need not wait for its silence. To be called when it serves no more,
    /// and [`Heartbeat::run`] has been dropped.
    ///
    /// # Errors
    /// When Redis does not answer; the others notice all the same.
    pub async fn leave(&self) -> Result<(), Failure> {
        self.say(Duration::ZERO).await.map(drop)
    }

    async fn say(&self, lifetime: Duration) -> Result<u32, Failure> {
        let args = vec![self.id.clone(), Bytes::from(lifetime.as_millis().to_string())];
        let count = self.store.run_beside("{replicas}", &HEARTBEAT, args).await?;
        count.as_u64().and_then(|count| u32::try_from(count).ok()).ok_or(Failure::Protocol)
    }
}

/// What to make of the counts.
#[derive(Debug)]
struct Census {
    settling: Micros,
    /// Since when the counts have been lower than what was believed, and the largest of them.
    lower: Option<(Micros, u32)>,
}

impl Census {
    const fn new(settling: Micros) -> Self {
        Self { settling, lower: None }
    }

    /// What to believe, when `known` was believed and Redis has now counted `count`.
    fn counted(&mut self, known: u32, count: u32, now: Micros) -> u32 {
        if count >= known {
            self.lower = None;
            return count;
        }
        let (since, most) = self.lower.unwrap_or((now, count));
        let most = most.max(count);
        if now - since < self.settling {
            self.lower = Some((since, most));
            return known;
        }
        self.lower = None;
        most
    }

    /// Redis was away, and the others may not have reached it either.
    const fn missed(&mut self) {
        self.lower = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(census: &mut Census, known: u32, counts: &[(u64, u32)]) -> Vec<u32> {
        let mut known = known;
        let step = |&(second, count)| {
            known = census.counted(known, count, Micros::from_secs(second));
            known
        };
        counts.iter().map(step).collect()
    }

    #[test]
    fn more_are_believed_at_once_and_fewer_after_a_while() {
        let mut census = Census::new(Micros::from_secs(2));
        assert_eq!(believed(&mut census, 1, &[(0, 3), (1, 5), (2, 4), (3, 4), (4, 4)]), [3, 5, 5, 5, 4]);
        // Not while others are still coming back, and then only as few as there ever were.
        assert_eq!(believed(&mut census, 4, &[(10, 1), (11, 3), (12, 2), (13, 2), (15, 2)]), [4, 4, 3, 3, 2]);
        assert_eq!(believed(&mut census, 4, &[(20, 1), (21, 4), (22, 3), (23, 3), (24, 3)]), [4, 4, 4, 4, 3]);
    }

    #[test]
    fn a_gap_begins_the_while_anew() {
        let mut census = Census::new(Micros::from_secs(2));
        assert_eq!(believed(&mut census, 4, &[(0, 1), (1, 1)]), [4, 4]);
        census.missed();
        assert_eq!(believed(&mut census, 4, &[(9, 1), (10, 1), (11, 1)]), [4, 4, 1]);
    }

    #[test]
    fn there_is_always_one() {
        for replicas in [LiveReplicas::new(None), LiveReplicas::new(Some(0))] {
            assert_eq!(replicas.get(), 1);
            replicas.set(0);
            assert_eq!(replicas.get(), 1);
            replicas.set(7);
            assert_eq!(replicas.get(), 7);
        }
        assert_eq!(LiveReplicas::new(Some(3)).get(), 3);
    }
}
