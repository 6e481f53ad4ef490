//! `sliding_window_log`: every accepted hit is remembered until it leaves the window; hits in `(now - window, now]`
//! count.
//!
//! Promise: never more than `amount` hits accepted in any window, aligned or not. Costs memory for up to `amount`
//! hits; those at the same microsecond share an entry.
//!
//! **Denied hits.** With `over: record` they count like accepted ones, yet memory stays in O(`amount`): before
//! a charge is recorded, the log keeps only its newest `amount + 1` hits, and of the charge itself as many count at
//! most. That loses no decision while the amount stays: as long as a forgotten hit would count, so would the
//! `amount + 1` newer ones, and they deny everything without it. (The level of a flooded counter is therefore a lower
//! bound; it is above the amount exactly when the true one is.)
//!
//! **Refunds** remove the oldest hits first, because a refund does not say which hit it means. Whichever it was, the
//! log then holds at any later time at least as many hits as it should, as the oldest is the first to leave by itself:
//! a refund never admits more than `amount`, not even over forgotten hits, since those were more than `amount + 1`.
//!
//! **Time.** A reading earlier than the newest hit counts as its time. What has left the window is removed with the next
//! change.
//!
//! **A changed amount** keeps the hits; what was forgotten under a smaller amount stays forgotten.

use std::collections::VecDeque;

use super::hold::Hold;
use super::{Meter, window_length};
use crate::core::clock::{Micros, Now};
use crate::core::limit::{Limit, MAX_HITS};

/// Entries for which a log keeps its memory, even when it empties.
const KEPT_ENTRIES: usize = 8;

/// The state: hits in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlidingWindowLog {
    entries: VecDeque<Entry>,
    /// The sum of all entries' hits.
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    time: Micros,
    /// Never 0.
    hits: u64,
}

impl SlidingWindowLog {
    /// A log of hits at these times, in order.
    pub(crate) fn restore(entries: impl IntoIterator<Item = (Micros, u64)>) -> Self {
        let entries: VecDeque<Entry> =
            entries.into_iter().filter(|(_, hits)| *hits > 0).map(|(time, hits)| Entry { time, hits }).collect();
        let total = entries.iter().map(|entry| entry.hits).sum();
        Self { entries, total }
    }

    /// The present for this counter.
    pub(super) fn present(&self, now: Now) -> Micros {
        self.entries.back().map_or(now.mono, |newest| newest.time.max(now.mono))
    }

    /// The bytes it occupies, itself included.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<Entry>()
    }

    /// How many entries have left the window but not the log, and their hits.
    fn stale(&self, limit: &Limit, now: Micros) -> (usize, u64) {
        let window = Micros(window_length(limit));
        // The usual cases first: none at all, or all of them.
        if self.entries.front().is_none_or(|oldest| oldest.time + window > now) {
            return (0, 0);
        }
        if self.entries.back().is_some_and(|newest| newest.time + window <= now) {
            return (self.entries.len(), self.total);
        }
        let mut stale = (0, 0);
        for entry in self.entries.iter().take_while(|entry| entry.time + window <= now) {
            stale.0 += 1;
            stale.1 += entry.hits;
        }
        stale
    }

    /// Removes at most `hits` hits, oldest first.
    fn remove_oldest(&mut self, mut hits: u64) {
        while hits > 0
            && let Some(oldest) = self.entries.front_mut()
        {
            let removed = hits.min(oldest.hits);
            hits -= removed;
            oldest.hits -= removed;
            self.total -= removed;
            if oldest.hits == 0 {
                self.entries.pop_front();
            }
        }
        // Halving at a quarter keeps the cost of it constant per entry.
        let capacity = self.entries.capacity();
        if capacity > KEPT_ENTRIES && self.entries.len() < capacity / 4 {
            self.entries.shrink_to(capacity / 2);
        }
    }
}

impl Meter for SlidingWindowLog {
    fn settle(&mut self, _: &Limit, now: Now) -> Micros {
        self.present(now)
    }

    fn level(&self, limit: &Limit, now: Micros) -> u64 {
        (self.total - self.stale(limit, now).1).min(MAX_HITS)
    }

    fn wait(&self, limit: &Limit, now: Micros, before: u64, hits: u64) -> Option<Micros> {
        if hits > limit.amount() {
            return None;
        }
        let (stale, stale_hits) = self.stale(limit, now);
        let mut surplus = (self.total - stale_hits + before + hits).saturating_sub(limit.amount());
        if surplus == 0 {
            return Some(Micros::ZERO);
        }
        let window = Micros(window_length(limit));
        for entry in self.entries.iter().skip(stale) {
            surplus = surplus.saturating_sub(entry.hits);
            if surplus == 0 {
                return Some((entry.time + window - now).max(Micros(1)));
            }
        }
        // When what was consumed just before has left, too.
        Some(window)
    }

    fn charge(&mut self, limit: &Limit, now: Micros, hits: u64) -> bool {
        let most = limit.amount() + 1;
        let (_, stale) = self.stale(limit, now);
        self.remove_oldest(stale.max(self.total.saturating_sub(most)));
        let hits = hits.min(most);
        match self.entries.back_mut() {
            Some(newest) if newest.time == now => newest.hits += hits,
            _ => self.entries.push_back(Entry { time: now, hits }),
        }
        self.total += hits;
        true
    }

    fn refund(&mut self, limit: &Limit, now: Micros, hits: u64) -> bool {
        let (_, stale) = self.stale(limit, now);
        let changed = hits > 0 && self.total > stale;
        if changed {
            self.remove_oldest(stale + hits);
        }
        changed
    }

    /// Holds on a log are named by its members, which only a shared store has.
    fn release(&mut self, _: &Limit, _: Micros, _: &Hold) -> bool {
        false
    }

    fn reset_after(&self, limit: &Limit, now: Micros) -> Micros {
        let window = Micros(window_length(limit));
        self.entries.back().map_or(Micros::ZERO, |newest| newest.time + window - now)
    }
}
