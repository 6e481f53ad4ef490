//! One shard: counters in a dense vector, so that any run of them can be examined cheaply, and an index to find them.

use hashbrown::HashTable;

use crate::core::algorithm::{Outcome, State};
use crate::core::clock::{Micros, Now};
use crate::core::descriptor::Operation;
use crate::core::limit::Limit;
use crate::counters::fingerprint::Fingerprint;

/// Counters examined for every new one while there is room, to reclaim the expired: more than one, so that a steady
/// stream of new counters does not outrun it.
const EXAMINED_PER_NEW: usize = 2;

/// Counters examined for one to make room, in a full shard.
const SAMPLE: usize = 32;

/// Half of the capacity as an [`Entry::share`].
const HALF: u16 = 1 << 15;

/// A counter.
#[derive(Debug)]
struct Entry {
    key: Fingerprint,
    state: State,
    /// Monotonic time from which on it is as new.
    deadline: Micros,
    /// Consumed share of the capacity at its last use, in 2^-16, rounded up.
    share: u16,
}

impl Entry {
    fn is_expired(&self, now: Now) -> bool {
        // A window that still runs by a clock set back is not over.
        self.deadline <= now.mono && !self.state.is_running_at(now.wall)
    }

    /// Whether the state belongs to a future that never came: the wall clock was set far forward, and back.
    fn is_lost(&self, now: Now) -> bool {
        self.deadline <= now.mono && self.state.is_ahead_of(now.wall)
    }

    fn apply(&mut self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        if self.is_lost(now) {
            self.state = State::fresh(limit);
        }
        let outcome = self.state.apply(limit, now, operation);
        self.note(limit, now, &outcome);
        outcome
    }

    fn evaluate(&self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        if self.is_lost(now) {
            return State::fresh(limit).evaluate(limit, now, operation);
        }
        self.state.evaluate(limit, now, operation)
    }

    fn note(&mut self, limit: &Limit, now: Now, outcome: &Outcome) {
        // A counter that is ahead of the clock keeps its deadline however much it is used, so that it is lost, and
        // starts anew, at the latest when its window would have ended.
        if !self.state.is_ahead_of(now.wall) {
            self.deadline = now.mono + outcome.reset_after;
        }
        self.share = share(outcome.level, limit.capacity());
    }
}

/// `level / capacity` in 2^-16, rounded up, at most all ones. Nothing of nothing is nothing: a counter that denies
/// everything anyway needs no memory.
fn share(level: u64, capacity: u64) -> u16 {
    if capacity == 0 {
        return 0;
    }
    // What is beyond the capacity makes no difference. Large numbers lose their lowest bits rather than overflow: a
    // division of 128 bits would be the dearest part of a check.
    let level = level.min(capacity);
    let share = if level < 1 << 47 { (level << 16).div_ceil(capacity) } else { level.div_ceil(capacity >> 16) };
    u16::try_from(share).unwrap_or(u16::MAX)
}

/// Where a new counter can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// The shard is not full.
    Free,
    /// In the place of this counter, which is as new.
    Expired(usize),
    /// In the place of this counter, which is consumed, but by no more than half.
    LeastConsumed(usize),
}

/// What has happened to a shard's counters, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Reclaimed because they were as new.
    pub expired: u64,
    /// Evicted to make room although they were not.
    pub least_consumed: u64,
    /// Operations performed.
    pub applied: u64,
}

/// Some of the counters.
#[derive(Debug)]
pub(super) struct Shard {
    entries: Vec<Entry>,
    /// Positions in `entries`.
    index: HashTable<u32>,
    capacity: usize,
    /// Where the next examination starts.
    cursor: usize,
    pub tally: Tally,
}

impl Shard {
    /// An empty shard that never holds more than `capacity` counters.
    pub fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), index: HashTable::new(), capacity, cursor: 0, tally: Tally::default() }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn position(&self, key: Fingerprint) -> Option<usize> {
        self.index.find(key.low, |&position| self.entries[position as usize].key == key).map(|&found| found as usize)
    }

    pub fn contains(&self, key: Fingerprint) -> bool {
        self.position(key).is_some()
    }

    /// The state of a counter, to try things on. Fresh when there is none.
    pub fn copy(&self, key: Fingerprint, limit: &Limit, now: Now) -> State {
        match self.position(key).map(|position| &self.entries[position]) {
            Some(entry) if !entry.is_lost(now) => entry.state.clone(),
            _ => State::fresh(limit),
        }
    }

    /// Performs an operation on a counter, and makes it if there is none and it would hold anything. `None` when there
    /// is none and no room for it. Counters in `keep` do not go to make room.
    pub fn apply(
        &mut self,
        key: Fingerprint,
        limit: &Limit,
        now: Now,
        operation: Operation,
        keep: &[Fingerprint],
    ) -> Option<Outcome> {
        self.tally.applied += 1;
        if let Some(position) = self.position(key) {
            return Some(self.entries[position].apply(limit, now, operation));
        }
        let room = self.room(now, keep)?;
        let mut entry = Entry { key, state: State::fresh(limit), deadline: Micros::ZERO, share: 0 };
        let outcome = entry.apply(limit, now, operation);
        if outcome.level > 0 {
            self.make(room, now, keep);
            self.push(entry);
        }
        Some(outcome)
    }

    /// What [`Shard::apply`] would answer, with nothing changed; a fresh counter's answer when there is none.
    pub fn evaluate(&self, key: Fingerprint, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        match self.position(key) {
            Some(position) => self.entries[position].evaluate(limit, now, operation),
            None => State::fresh(limit).evaluate(limit, now, operation),
        }
    }

    /// Forgets a counter; whether there was one.
    pub fn forget(&mut self, key: Fingerprint) -> bool {
        let found = self.position(key);
        if let Some(position) = found {
            self.remove(position);
        }
        found.is_some()
    }

    /// The state of a counter, and the verdict on one more hit; `None` when there is none, or none any more.
    pub fn inspect(&self, key: Fingerprint, limit: &Limit, now: Now) -> Option<Outcome> {
        let entry = &self.entries[self.position(key)?];
        // A post-paid limit lets every charge pass; what it denies are the peeks before them.
        let one_more = Operation::Charge(u64::from(!limit.post_paid()));
        (!entry.is_expired(now)).then(|| entry.evaluate(limit, now, one_more))
    }

    /// Makes a fresh counter unless there is one. `false` when there is no room.
    pub fn ensure(&mut self, key: Fingerprint, limit: &Limit, now: Now, keep: &[Fingerprint]) -> bool {
        if self.contains(key) {
            return true;
        }
        let Some(room) = self.room(now, keep) else { return false };
        self.make(room, now, keep);
        // As new, hence expired: unless it is charged, it is the first to go.
        self.push(Entry { key, state: State::fresh(limit), deadline: now.mono, share: 0 });
        true
    }

    /// Whether a new counter could go anywhere.
    pub fn has_room(&mut self, now: Now, keep: &[Fingerprint]) -> bool {
        self.room(now, keep).is_some()
    }

    /// Finds room. In a full shard, among the next few counters: in the place of the first that is expired, else of
    /// the least consumed that is not above half.
    fn room(&mut self, now: Now, keep: &[Fingerprint]) -> Option<Room> {
        if self.entries.len() < self.capacity {
            return Some(Room::Free);
        }
        let (before, after) = self.entries.split_at(self.cursor.min(self.entries.len()));
        // Onwards, so that in time every counter is examined.
        self.cursor = (self.cursor + SAMPLE) % self.entries.len().max(1);
        let mut least: Option<(u16, usize)> = None;
        for (entry, position) in after.iter().zip(before.len()..).chain(before.iter().zip(0..)).take(SAMPLE) {
            if keep.contains(&entry.key) {
                continue;
            }
            if entry.is_expired(now) {
                return Some(Room::Expired(position));
            }
            if entry.share <= HALF && least.is_none_or(|(share, _)| entry.share < share) {
                least = Some((entry.share, position));
            }
        }
        least.map(|(_, position)| Room::LeastConsumed(position))
    }

    /// Makes the room that was found; where it costs nothing, reclaims a little.
    fn make(&mut self, room: Room, now: Now, keep: &[Fingerprint]) {
        match room {
            Room::Free => {
                for _ in 0..EXAMINED_PER_NEW {
                    self.cursor = if self.cursor + 1 < self.entries.len() { self.cursor + 1 } else { 0 };
                    let Some(entry) = self.entries.get(self.cursor) else { break };
                    if entry.is_expired(now) && !keep.contains(&entry.key) {
                        self.remove(self.cursor);
                        self.tally.expired += 1;
                    }
                }
            }
            Room::Expired(position) => {
                self.remove(position);
                self.tally.expired += 1;
            }
            Room::LeastConsumed(position) => {
                self.remove(position);
                self.tally.least_consumed += 1;
            }
        }
    }

    fn push(&mut self, entry: Entry) {
        let length = self.entries.len();
        if length == self.entries.capacity() {
            // By a quarter and not the usual double: memory is what a counter costs.
            self.entries.reserve_exact((length / 4).max(16).min(self.capacity.saturating_sub(length)));
        }
        let key = entry.key;
        self.entries.push(entry);
        // A shard is far smaller than 2^32.
        self.index.insert_unique(key.low, length as u32, |&position| self.entries[position as usize].key.low);
    }

    /// Removes the counter at `position`; the last one takes its place.
    fn remove(&mut self, position: usize) {
        let last = self.entries.len() - 1;
        let removed = self.entries[position].key;
        if let Ok(slot) = self.index.find_entry(removed.low, |&found| found as usize == position) {
            slot.remove();
        }
        let moved = self.entries[last].key;
        if position != last
            && let Some(found) = self.index.find_mut(moved.low, |&found| found as usize == last)
        {
            *found = position as u32;
        }
        self.entries.swap_remove(position);
    }

    /// Reclaims expired counters among the `count` before `position`. Returns where to go on; 0 is the end, where
    /// memory that is not needed any more is given back.
    pub fn sweep(&mut self, position: usize, count: usize, now: Now) -> usize {
        let end = position.min(self.entries.len());
        let start = end.saturating_sub(count);
        // Downwards: what takes the place of a removed counter has been examined already.
        for position in (start..end).rev() {
            if self.entries[position].is_expired(now) {
                self.remove(position);
                self.tally.expired += 1;
            }
        }
        if start == 0 && self.entries.len() < self.entries.capacity() / 4 {
            let wanted = self.entries.len() * 2;
            self.entries.shrink_to(wanted);
            self.index.shrink_to(wanted, |&position| self.entries[position as usize].key.low);
        }
        start
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let inline = self.entries.capacity() * size_of::<Entry>() + self.index.allocation_size();
        inline + self.entries.iter().map(|entry| entry.state.heap_bytes()).sum::<usize>()
    }
}
