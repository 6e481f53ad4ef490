//! Counters known to be over their limit, so that floods never reach the store.
//!
//! **What is remembered** is the counter's state as the store answered it, and what the store's clock then was, seen
//! from here: `ahead = store's now - local time at sending`. As the store can only have worked after the request was
//! sent, `local time + ahead` is at or after the store's present at any later moment. Every state only empties with
//! time, and what other replicas charge only fills it; so if the remembered state denies a hit at that time, the true
//! one denies it now. Costs, changed limits and the wait are the core's business, as with any other state.
//!
//! **What makes room otherwise than by time** has to be announced: a refund, a release, an operator's reset. Then the
//! entry is forgotten ([`OverLimitMemory::forget`]), and nothing is remembered that was asked before. When
//! announcements may have been missed, everything is forgotten and nothing remembered until they come again
//! ([`OverLimitMemory::suspend`]). A new rule set is announced too ([`OverLimitMemory::forget_all`]): a smaller or larger
//! amount alone does no harm, as limits come with the question; but a token bucket that is charged under one amount and
//! asked under another drains at another rate than the one remembered.
//!
//! **The promise.** Whatever is denied here, the store would deny at the same moment, save between a refund, release or
//! reset and its announcement. Beyond that, one hit per [`OverLimitOptions::ask_again`] goes to the store although it
//! would be denied, and what it finds replaces what is remembered. So an announcement that was lost, a clock of the
//! store that was set forward (or another's, after a failover), and the drift of clocks do harm for no longer than that.
//!
//! **Recording.** Denied hits that are answered here are not recorded. With `over: record` that is right for a
//! `fixed_window`, where a count beyond the limit changes nothing before the window ends (but for a refund, which
//! un-denies so much the sooner); the other algorithms are remembered with `over: drop` only. A `post_paid` limit
//! denies only peeks, and is not remembered.
//!
//! **Bounds.** There are never more than [`OverLimitOptions::max_counters`] entries; in a full shard a new one takes the
//! place of one that denies nothing any more, or of another of a few. An entry takes about 120 bytes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashTable;

use super::fingerprint::Fingerprint;
use crate::core::algorithm::{Outcome, State};
use crate::core::clock::{Micros, Now};
use crate::core::descriptor::Operation;
use crate::core::limit::{Algorithm, Limit, Over};

/// Shards, where there are as many counters: enough that threads seldom meet.
const SHARDS: usize = 64;
/// Entries looked at for one to give way in a full shard.
const SAMPLE: usize = 8;
/// Shards remember so many counters that were just forgotten one by one.
const TOMBSTONES: usize = 64;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimitOptions {
    /// The most counters remembered; 0 remembers none.
    pub max_counters: usize,
    /// How often a hit on a remembered counter asks the store all the same.
    pub ask_again: Duration,
}

impl Default for OverLimitOptions {
    fn default() -> Self {
        Self { max_counters: 100_000, ask_again: Duration::from_secs(1) }
    }
}

#[derive(Debug)]
struct Entry {
    key: Fingerprint,
    state: State,
    /// Local time at which it was asked for.
    sent: Micros,
    /// The store's clock less the local one, at most: as if the store had answered at once.
    ahead: i64,
    /// Local time from which on the store is asked again.
    ask_from: Micros,
    /// Local time from which on it denies nothing any more, under the limit that it was remembered for.
    until: Micros,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashTable<Entry>,
    /// Counters forgotten lately, and when: what was asked before that is not remembered.
    forgotten: Vec<(Fingerprint, Micros)>,
    /// The same for all other counters of the shard.
    all_forgotten: Option<Micros>,
}

/// A lock alone on its cache lines, so that neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Locker(Mutex<Shard>);

impl Locker {
    fn lock(&self) -> MutexGuard<'_, Shard> {
        // Nothing panics while a shard is locked; if it did, its entries would still be entries.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory. All times are readings of this process' monotonic clock, but for the store's own.
#[derive(Debug)]
pub struct OverLimitMemory {
    shards: Box<[Locker]>,
    /// Entries of one shard.
    capacity: usize,
    ask_again: Micros,
    suspended: AtomicBool,
    /// About as many as there are.
    entries: AtomicUsize,
    answered: AtomicU64,
    evicted: AtomicU64,
}

impl OverLimitMemory {
    /// An empty one.
    #[must_use]
    pub fn new(options: OverLimitOptions) -> Self {
        let shards = options.max_counters.clamp(1, SHARDS);
        Self {
            shards: (0..shards).map(|_| Locker::default()).collect(),
            capacity: options.max_counters / shards,
            ask_again: options.ask_again.into(),
            suspended: AtomicBool::new(false),
            entries: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    fn shard(&self, key: Fingerprint) -> MutexGuard<'_, Shard> {
        self.shards[key.high as usize % self.shards.len()].lock()
    }

    /// The denial of an operation, if it is certain; else the store has to be asked.
    pub fn answer(&self, key: Fingerprint, limit: &Limit, operation: Operation, now: Micros) -> Option<Outcome> {
        if self.capacity == 0 || !is_kept(limit) || matches!(operation, Operation::Refund(_)) {
            return None;
        }
        let mut shard = self.shard(key);
        let entry = shard.entries.find_mut(key.low, |entry| entry.key == key)?;
        let outcome = entry.state.evaluate(limit, there(now, entry.ahead), operation);
        if outcome.allowed() {
            return None;
        }
        if now >= entry.ask_from {
            entry.ask_from = now + self.ask_again;
            return None;
        }
        drop(shard);
        self.answered.fetch_add(1, Ordering::Relaxed);
        Some(outcome)
    }

    /// Remembers the state of a counter that has just denied a hit: `state` at the store's time `store_now`, as
    /// answered to what was sent at the local time `sent`.
    pub fn remember(&self, key: Fingerprint, limit: &Limit, state: &State, store_now: Micros, sent: Micros) {
        if self.capacity == 0 || !is_kept(limit) || self.suspended.load(Ordering::Acquire) {
            return;
        }
        let ahead = store_now.0.cast_signed().wrapping_sub(sent.0.cast_signed());
        let store = Now { wall: store_now, mono: store_now };
        let until = sent + state.evaluate(limit, store, Operation::Charge(0)).reset_after;
        let mut shard = self.shard(key);
        if shard.was_forgotten(key, sent) {
            return;
        }
        // Checked again behind the lock, so that nothing slips in behind `suspend`.
        if self.suspended.load(Ordering::Acquire) {
            return;
        }
        let ask_from = sent + self.ask_again;
        let entry = Entry { key, state: state.clone(), sent, ahead, ask_from, until };
        if let Some(known) = shard.entries.find_mut(key.low, |entry| entry.key == key) {
            // Answers may overtake each other; the one that was asked for later knows more.
            if known.sent <= entry.sent {
                *known = entry;
            }
            return;
        }
        if shard.entries.len() >= self.capacity {
            let evicted = shard.make_room(sent);
            self.evicted.fetch_add(u64::from(evicted), Ordering::Relaxed);
            self.entries.fetch_sub(1, Ordering::Relaxed);
        }
        shard.entries.insert_unique(key.low, entry, |entry| entry.key.low);
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets one counter, which has been given something back, and what was asked about it before `now`.
    pub fn forget(&self, key: Fingerprint, now: Micros) {
        if self.capacity == 0 {
            return;
        }
        let mut shard = self.shard(key);
        self.entries.fetch_sub(shard.remove(key), Ordering::Relaxed);
        shard.note_forgotten(key, now);
    }

    /// The store has let a hit pass: what is remembered is out of date, for example because its clock was set.
    pub fn passed(&self, key: Fingerprint) {
        // Mostly there is nothing to look for.
        if self.entries.load(Ordering::Relaxed) > 0 {
            let removed = self.shard(key).remove(key);
            self.entries.fetch_sub(removed, Ordering::Relaxed);
        }
    }

    /// Forgets everything, and what was asked before `now`.
    pub fn forget_all(&self, now: Micros) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            self.entries.fetch_sub(shard.entries.len(), Ordering::Relaxed);
            shard.entries.clear();
            shard.forgotten.clear();
            shard.all_forgotten = shard.all_forgotten.max(Some(now));
        }
    }

    /// Forgets everything, and remembers nothing until [`OverLimitMemory::resume`]: announcements may be missed.
    pub fn suspend(&self, now: Micros) {
        self.suspended.store(true, Ordering::Release);
        self.forget_all(now);
    }

    /// Announcements come again; what was asked before `now` is not remembered.
    pub fn resume(&self, now: Micros) {
        self.forget_all(now);
        self.suspended.store(false, Ordering::Release);
    }

    /// Whether nothing is remembered at present.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    /// Counters remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hits answered from memory so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Entries that gave way to others so far, although they still denied something.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// Whether counters of this limit are remembered; see the module's documentation.
fn is_kept(limit: &Limit) -> bool {
    !limit.post_paid() && (limit.over() == Over::Drop || limit.algorithm() == Algorithm::FixedWindow)
}

/// The latest that the store's clock can be.
fn there(now: Micros, ahead: i64) -> Now {
    let there = Micros(now.0.saturating_add_signed(ahead));
    Now { wall: there, mono: there }
}

impl Shard {
    fn was_forgotten(&self, key: Fingerprint, sent: Micros) -> bool {
        Some(sent) <= self.all_forgotten
            || self.forgotten.iter().any(|(forgotten, at)| *forgotten == key && sent <= *at)
    }

    fn note_forgotten(&mut self, key: Fingerprint, now: Micros) {
        if let Some(known) = self.forgotten.iter_mut().find(|(known, _)| *known == key) {
            known.1 = known.1.max(now);
        } else if self.forgotten.len() < TOMBSTONES {
            self.forgotten.push((key, now));
        } else {
            // Too many to tell apart: what was asked before the oldest of them is not remembered, whatever it was.
            let oldest = (0..TOMBSTONES).min_by_key(|&at| self.forgotten[at].1).unwrap_or_default();
            self.all_forgotten = self.all_forgotten.max(Some(self.forgotten[oldest].1));
            self.forgotten[oldest] = (key, now);
        }
    }

    fn remove(&mut self, key: Fingerprint) -> usize {
        match self.entries.find_entry(key.low, |entry| entry.key == key) {
            Ok(found) => {
                found.remove();
                1
            }
            Err(_) => 0,
        }
    }

    /// Removes the one of a few entries that ends first; whether it still denied something. Not to be called on an
    /// empty shard.
    fn make_room(&mut self, now: Micros) -> bool {
        let buckets = self.entries.num_buckets();
        let first = fastrand::usize(..buckets.max(1));
        let sample = (0..buckets).map(|step| (first + step) % buckets);
        let sample = sample.filter_map(|bucket| Some((bucket, self.entries.get_bucket(bucket)?.until)));
        let Some((bucket, until)) = sample.take(SAMPLE).min_by_key(|(_, until)| *until) else { return false };
        if let Ok(entry) = self.entries.get_bucket_entry(bucket) {
            entry.remove();
        }
        until > now
    }
}

#[cfg(test)]
mod tests;
