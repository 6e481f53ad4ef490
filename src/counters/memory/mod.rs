//! Counters in this process's memory.
//!
//! **Exactness.** A counter is found under a keyed 128-bit hash of its identity ([`super::fingerprint`]) in one of many shards, each
//! behind a short lock that is never held across an await. An operation runs the core's algorithm under that lock, so
//! that counters are exact whatever the concurrency. Charges that must all fit ([`joint`]) lock every shard concerned,
//! in one order.
//!
//! **Forgetting.** Every counter has a deadline on the monotonic clock, from which on it is as new. Expired counters
//! are reclaimed a few at a time: two are examined for each new counter, and [`MemoryStore::sweep`], called regularly
//! in the background, looks through one shard in small steps. Nothing ever stops everything, and as shards are small,
//! neither does the growth of one (tens of microseconds for the few requests that meet it). The deadline also heals
//! a wall clock that was set far forward and back: a counter of a future window is not prolonged, and starts anew at
//! its deadline. And when the clock is set back inside a fixed window, its counter stays until that window ends.
//!
//! **The cap.** There are never more than [`MemoryOptions::max_counters`], split evenly over the shards. In a full
//! shard a new counter takes the place of another. A bounded number of candidates is examined, other ones each time:
//!
//! 1. An expired counter goes first.
//! 2. Else the least consumed goes, by the share of its capacity at its last use; its client has lost the least by
//!    starting anew. A counter above half never goes, so that no flood of other keys resets a client near its limit.
//! 3. When no candidate may go, the new key has no counter of its own: all such keys of one space (of one limit of
//!    one rule) share an overflow counter at that limit. So a flood of keys that each consume much is limited together
//!    like one client. Overflow counters stand outside the cap; there is at most one for each limit.
//!
//! Neither a peek nor a charge that is denied and dropped makes a counter.
//!
//! **Memory.** A counter takes 64 bytes in its shard's vector, which grows by quarters, and 5 bytes in the index, which
//! is between 7/16 and 7/8 full: 70 to 90 bytes each, whatever the algorithm. A `sliding_window_log` has 48 bytes more,
//! and a buffer that doubles from 64 bytes, with 16 for each distinct time in its window: 196 bytes in all with one hit
//! in the window, 388 with ten. [`MemoryStore::approximate_bytes`] counts it.

mod joint;
mod shard;

use std::ops::AddAssign;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::shard::{Shard, Tally};
use super::fingerprint::{Fingerprint, Fingerprints};
use super::{Answers, CounterKey, CounterStore, Deadline, Hit, Outcomes, StoreError};
use crate::core::algorithm::Outcome;
use crate::core::clock::{Clock, Now};
use crate::core::limit::Limit;
use crate::core::spec::Charge;

/// Counters per shard that are aimed at where there are many: few enough that a shard grows in no time.
const SHARD_SIZE: usize = 4096;

/// Shards for a store of average size: enough that threads seldom meet.
const USUAL_SHARDS: usize = 64;

/// Shards that overflow counters are spread over.
const OVERFLOW_SHARDS: usize = 16;

/// Counters examined by a sweep under one lock, some microseconds.
const SWEEP_STEP: usize = 256;

/// Settings of a [`MemoryStore`].
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// The most counters there may be, overflow counters aside; at least 1.
    pub max_counters: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { max_counters: 1_000_000 }
    }
}

/// What a store holds and what it had to do, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Counters, the expired but not yet reclaimed included.
    pub live: u64,
    /// Counters shared by keys that have none of their own.
    pub overflow_counters: u64,
    /// Counters reclaimed since the start, because they were as new.
    pub expired: u64,
    /// Counters evicted since the start to make room, although they were not.
    pub least_consumed: u64,
    /// Hits counted on overflow counters since the start.
    pub overflowed: u64,
}

impl AddAssign for MemoryStats {
    fn add_assign(&mut self, other: Self) {
        self.live += other.live;
        self.overflow_counters += other.overflow_counters;
        self.expired += other.expired;
        self.least_consumed += other.least_consumed;
        self.overflowed += other.overflowed;
    }
}

/// A lock alone on its cache lines, so that neighbours do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
struct Locker(Mutex<Shard>);

/// Keeps counters in memory. See the module's documentation for what it promises.
#[derive(Debug)]
pub struct MemoryStore<C> {
    clock: C,
    fingerprints: Fingerprints,
    /// A power of two of shards for counters, then those for overflow counters.
    shards: Box<[Locker]>,
    /// The shard that is swept next.
    sweep: AtomicUsize,
}

impl<C: Clock> MemoryStore<C> {
    /// An empty store whose fingerprints have a random key.
    #[must_use]
    pub fn new(clock: C, options: MemoryOptions) -> Self {
        Self::build(clock, options, Fingerprints::random())
    }

    /// An empty store whose fingerprints have a known key, for tests that must repeat exactly.
    #[must_use]
    pub fn with_secret(clock: C, options: MemoryOptions, secret: [u64; 2]) -> Self {
        Self::build(clock, options, Fingerprints::with_secret(secret))
    }

    fn build(clock: C, options: MemoryOptions, fingerprints: Fingerprints) -> Self {
        let most = options.max_counters.max(1);
        let count = shard_count(most);
        let shards = (0..count)
            .map(|shard| most / count + usize::from(shard < most % count))
            .chain([usize::MAX; OVERFLOW_SHARDS])
            .map(|capacity| Locker(Mutex::new(Shard::new(capacity))))
            .collect();
        Self { clock, fingerprints, shards, sweep: AtomicUsize::new(0) }
    }

    fn perform_all(&self, hits: &[Hit<'_>], charge: Charge) -> Outcomes {
        let now = self.clock.now();
        match charge {
            Charge::Independent => hits.iter().map(|hit| self.perform_one(hit, now)).collect(),
            Charge::AllOrNothing => joint::perform(self, hits, now),
        }
    }

    fn perform_one(&self, hit: &Hit<'_>, now: Now) -> Outcome {
        let key = self.fingerprints.of(&hit.key);
        let outcome = self.lock(self.shard_of(key)).apply(key, hit.limit, now, hit.operation, &[]);
        outcome.unwrap_or_else(|| {
            let key = self.fingerprints.of_space(hit.key.space);
            let mut shard = self.lock(self.overflow_shard_of(key));
            let outcome = shard.apply(key, hit.limit, now, hit.operation, &[]);
            // There is always room in an overflow shard.
            outcome.unwrap_or_else(|| shard.evaluate(key, hit.limit, now, hit.operation))
        })
    }

    /// Reclaims the expired counters of the next shard, in small steps. Call it regularly; see
    /// [`MemoryStore::sweep_forever`].
    pub fn sweep(&self) {
        let shard = self.sweep.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        let mut position = usize::MAX;
        while position > 0 {
            position = self.lock(shard).sweep(position, SWEEP_STEP, self.clock.now());
        }
    }

    /// Sweeps one shard after the other, every shard once a `round`. Never ends; drop it to stop.
    pub async fn sweep_forever(&self, round: Duration) {
        let pause = round / u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
        loop {
            tokio::time::sleep(pause).await;
            self.sweep();
        }
    }

    /// What it holds, and what it had to do. Looks into every shard; made for metrics, not for every request.
    pub fn stats(&self) -> MemoryStats {
        let mut stats = MemoryStats::default();
        for number in 0..self.shards.len() {
            let shard = self.lock(number);
            let held = shard.len() as u64;
            let Tally { expired, least_consumed, applied } = shard.tally;
            stats += if number < self.shards.len() - OVERFLOW_SHARDS {
                MemoryStats { live: held, expired, least_consumed, ..MemoryStats::default() }
            } else {
                MemoryStats { overflow_counters: held, expired, overflowed: applied, ..MemoryStats::default() }
            };
        }
        stats
    }

    /// The bytes it occupies, without what the allocator adds. Looks at every counter; made for measuring.
    pub fn approximate_bytes(&self) -> usize {
        let heap = (0..self.shards.len()).map(|number| self.lock(number).heap_bytes()).sum::<usize>();
        size_of::<Self>() + self.shards.len() * size_of::<Locker>() + heap
    }

    fn shard_of(&self, key: Fingerprint) -> usize {
        // A power of two; and a part of the hash that the shard's own index does not use.
        key.high as usize & (self.shards.len() - OVERFLOW_SHARDS - 1)
    }

    fn overflow_shard_of(&self, key: Fingerprint) -> usize {
        self.shards.len() - OVERFLOW_SHARDS + key.high as usize % OVERFLOW_SHARDS
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        // Nothing panics while a shard is locked; if it did, its counters would still be counters.
        self.shards[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock> CounterStore for MemoryStore<C> {
    async fn perform(&self, hits: &[Hit<'_>], charge: Charge, _: Deadline) -> Result<Answers, StoreError> {
        Ok(self.perform_all(hits, charge).into())
    }

    fn never_waits(&self) -> bool {
        true
    }

    fn perform_now(&self, hits: &[Hit<'_>], charge: Charge) -> Option<Outcomes> {
        Some(self.perform_all(hits, charge))
    }

    async fn inspect(&self, key: &CounterKey<'_>, limit: &Limit) -> Result<Option<Outcome>, StoreError> {
        let key = self.fingerprints.of(key);
        let now = self.clock.now();
        Ok(self.lock(self.shard_of(key)).inspect(key, limit, now))
    }

    async fn reset(&self, key: &CounterKey<'_>, _: &Limit) -> Result<bool, StoreError> {
        let key = self.fingerprints.of(key);
        Ok(self.lock(self.shard_of(key)).forget(key))
    }

    fn live_counters(&self) -> u64 {
        self.stats().live
    }
}

/// How many shards share `most` counters: a power of two, at least 64 counters each.
fn shard_count(most: usize) -> usize {
    let for_size = (most / SHARD_SIZE).next_power_of_two().min(1 << 16);
    let for_threads = (most / 64 + 1).next_power_of_two() / 2;
    for_size.max(for_threads.clamp(1, USUAL_SHARDS))
}

#[cfg(test)]
mod tests;
