//! Counters known to be over their limit, so that floods never reach the store.
//!
//! An entry is the counter's state as the store answered it, and what the store's clock then was, seen from here:
//! `ahead = store's now - local time at sending`. As the store can only have worked after the request was sent,
//! `local time + ahead` is at or after the store's present at any later moment. Every state only empties with time,
//! and what other replicas charge only fills it; so if the remembered state denies a hit at that time, the true one
//! denies it now. Costs, changed limits and the wait are the core's business, as with any other state.
//!
//! What makes room otherwise than by time has to be announced: a refund, a release, an operator's reset. From the
//! announcement's arrival the entry is forgotten, and nothing is remembered that was asked before. When announcements
//! may have been missed, everything is forgotten and nothing remembered until they come again
//! ([`OverLimitMemory::suspend`]).
//!
//! **Bound.** In any case one hit per [`OverLimitOptions::ask_again`] goes through to the store, and the latest answer
//! replaces what was known: an entry that is wrong denies for no longer than that, as long as the store answers. What
//! can make it wrong is an announcement that is lost or still on its way, a store that has lost counters or whose clock
//! was set forward, and clocks that do not run equally fast, as that of a machine that was suspended. A bucket drains at
//! the rate of its limit, so that another replica which goes by a higher limit already, or still, empties it sooner;
//! here an entry of a bucket answers only for the amount it was asked with. The other algorithms have no such
//! exception, however limits change.
//!
//! **Not recorded.** Denied hits that are answered here are not recorded. With `over: record` only a `fixed_window` is
//! remembered: its count, once above the limit, decides the same however far above, until the window ends. (When
//! something is given back in the meantime, or the limit raised, it is the lower for them, and lets hits pass sooner;
//! but never more than the limit, as only denied hits are missing.) The other algorithms are remembered with
//! `over: drop` only. A `post_paid` limit denies only peeks, and is not remembered.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::fingerprint::Fingerprint;
use crate::core::algorithm::{Outcome, State};
use crate::core::clock::{Micros, Now};
use crate::core::descriptor::Operation;
use crate::core::limit::{Algorithm, Limit, Over};

const SHARDS: usize = 64;
/// Entries looked at for one to give way in a full shard.
const SAMPLE: usize = 8;
/// Shards remember so many counters that were just forgotten one by one.
const TOMBSTONES: usize = 64;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimitOptions {
    /// The most counters remembered, rounded up to a multiple of 64; 0 remembers none.
    pub max_counters: usize,
    /// How often a hit on a remembered counter asks the store all the same; with zero every one does.
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
    /// The amount of the limit that it was asked with.
    amount: u64,
    /// Local time at which it was asked.
    sent: Micros,
    /// The store's clock is at most so far ahead of the local one.
    ahead: i64,
    /// Local time from which on the store is asked again.
    ask_from: Micros,
    /// Local time from which on the counter is as new.
    until: Micros,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashTable<Entry>,
    /// Counters forgotten lately, and when: what was asked before that is not remembered.
    forgotten: Vec<(Fingerprint, Micros)>,
    /// The same for all other counters of the shard.
    all_forgotten: Micros,
}

/// The memory.
#[derive(Debug)]
pub struct OverLimitMemory {
    shards: Box<[Mutex<Shard>]>,
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
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            capacity: options.max_counters.div_ceil(SHARDS),
            ask_again: options.ask_again.into(),
            suspended: AtomicBool::new(false),
            entries: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    fn shard(&self, key: Fingerprint) -> MutexGuard<'_, Shard> {
        lock(&self.shards[key.high as usize % SHARDS])
    }

    /// The denial of an operation, if it is certain. `now` is local monotonic time.
    ///
    /// Once in [`OverLimitOptions::ask_again`] it is `None` all the same, and the caller is to ask the store.
    pub fn answer(&self, key: Fingerprint, limit: &Limit, operation: Operation, now: Micros) -> Option<Outcome> {
        if self.capacity == 0 || !is_kept(limit) || matches!(operation, Operation::Refund(_)) {
            return None;
        }
        let mut shard = self.shard(key);
        let mut found = shard.entries.find_entry(key.low, |entry| entry.key == key).ok()?;
        let entry = found.get_mut();
        if limit.algorithm().has_burst() && entry.amount != limit.amount() {
            return None;
        }
        if now >= entry.ask_from {
            entry.ask_from = now + self.ask_again;
            return None;
        }
        let outcome = entry.state.evaluate(limit, there(now, entry.ahead), operation);
        if outcome.allowed() {
            if now >= entry.until {
                found.remove();
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
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
        if shard.entries.len() >= self.capacity && shard.entries.find(key.low, |entry| entry.key == key).is_none() {
            self.entries.fetch_sub(shard.make_room(), Ordering::Relaxed);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let (state, ask_from) = (state.clone(), sent + self.ask_again);
        let entry = Entry { key, state, amount: limit.amount(), sent, ahead, ask_from, until };
        match shard.entries.entry(key.low, |entry| entry.key == key, |entry| entry.key.low) {
            // Overtaken on the way.
            Slot::Occupied(known) if known.get().sent > sent => {}
            Slot::Occupied(mut known) => *known.get_mut() = entry,
            Slot::Vacant(vacant) => {
                vacant.insert(entry);
                self.entries.fetch_add(1, Ordering::Relaxed);
            }
        }
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
            let mut shard = lock(shard);
            self.entries.fetch_sub(shard.entries.len(), Ordering::Relaxed);
            shard.forget_all(now);
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

    /// Entries that gave way to others so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
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
        sent <= self.all_forgotten || self.forgotten.iter().any(|(forgotten, at)| *forgotten == key && sent <= *at)
    }

    fn note_forgotten(&mut self, key: Fingerprint, now: Micros) {
        if let Some(known) = self.forgotten.iter_mut().find(|(known, _)| *known == key) {
            known.1 = known.1.max(now);
        } else if self.forgotten.len() < TOMBSTONES {
            self.forgotten.push((key, now));
        } else {
            // Too many to tell apart: what was asked before the oldest of them is not remembered, whatever it was.
            let oldest = (0..TOMBSTONES).min_by_key(|&at| self.forgotten[at].1).unwrap_or_default();
            self.all_forgotten = self.all_forgotten.max(self.forgotten[oldest].1);
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

    fn forget_all(&mut self, now: Micros) {
        self.entries.clear();
        // Another thread may have looked at the clock later and be here already.
        let latest = self.forgotten.drain(..).map(|(_, at)| at).max();
        self.all_forgotten = self.all_forgotten.max(now).max(latest.unwrap_or_default());
    }

    /// Removes one of a few entries: the one that is as new first.
    fn make_room(&mut self) -> usize {
        let buckets = self.entries.num_buckets();
        let first = fastrand::usize(..buckets.max(1));
        // Most buckets of a full shard hold an entry.
        let sample = (0..buckets).filter_map(|step| self.entries.get_bucket((first + step) % buckets)).take(SAMPLE);
        let victim = sample.min_by_key(|entry| entry.until).map(|entry| entry.key);
        victim.map_or(0, |key| self.remove(key))
    }
}

#[cfg(test)]
mod tests;
