//! Counting in this process while the shared counters are away, at one replica's share of each limit.
//!
//! **The share.** Of `n` replicas each admits `amount' = max(1, floor(amount / n))` hits per `window'`. Where that is a
//! whole share or less, the window stays what it is: 25 a minute over 10 replicas is two a minute each. Where it is
//! more, as everybody keeps one hit, the window is the longer: `window' = ceil(window x n / amount)`, so that 5 a minute
//! over 10 is one per two minutes each. Buckets have parts of hits and need not round: their rate is always
//! `amount / n` per window, by `window' = ceil(window x amount' x n / amount)`, their burst is
//! `max(1, floor(burst / n))`.
//!
//! **The bound.** In the long run all replicas together admit at most `amount` per window, however small the amount.
//! (Windows that round down may admit less, but more than half; and a hit that costs more than a share never passes.)
//! And at any time at most:
//!
//! | algorithm | `amount >= n` | `amount < n` |
//! |---|---|---|
//! | `fixed_window` | `amount` per aligned window | `n` per aligned `window'` |
//! | `sliding_window_log` | `amount` in any window | `n` in any `window'` |
//! | `sliding_window_counter` | `2 x amount - n` in any window | `n` in any `window'` |
//! | buckets | `max(burst, n) + t x amount / window` in any span of `t` | the same |
//!
//! Beside that stands what the shared counter had admitted before it went away, and what it will admit when it is back:
//! it does not know of the hits counted here. These counters are kept when the shared ones return, so that going back
//! and forth admits nothing anew. They are filed by `window'`: when the number of replicas changes, those whose window
//! stays go on at the new share; the others start anew, which may admit one more share.
//!
//! A calendar window stays one where the window stays; the longer one is a plain window, counted from the longest that
//! the calendar has (a month of 31 days, a day of 25 hours). Windows end at [`MAX_WINDOW`]: a limit that would need
//! a longer one has 1 per ten years for everybody, which may be more than its share.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use super::memory::{MemoryOptions, MemoryStore};
use super::{CounterKey, CounterStore as _, Hit, Outcomes};
use crate::core::calendar::CalendarUnit;
use crate::core::clock::{Clock, Micros};
use crate::core::limit::{Limit, LimitParts, MAX_WINDOW, Window};
use crate::core::spec::Charge;

/// One of `replicas` equal shares of a limit; 0 replicas count as 1.
#[must_use]
pub fn share_of(limit: &Limit, replicas: u32) -> Limit {
    let replicas = u64::from(replicas.max(1));
    if replicas == 1 || limit.amount() == 0 {
        return limit.clone();
    }
    let has_burst = limit.algorithm().has_burst();
    let amount = (limit.amount() / replicas).max(1);
    let window = if limit.amount() >= replicas && !has_burst {
        limit.window().clone()
    } else {
        let parts = u128::from(longest(limit.window()).0) * u128::from(amount) * u128::from(replicas);
        let length = u64::try_from(parts.div_ceil(u128::from(limit.amount())));
        Window::Length(length.map_or(MAX_WINDOW, Micros).min(MAX_WINDOW))
    };
    let burst = has_burst.then(|| (limit.capacity() / replicas).max(1));
    let parts = LimitParts {
        amount,
        window,
        algorithm: limit.algorithm(),
        burst,
        over: limit.over(),
        post_paid: limit.post_paid(),
    };
    // Smaller than a valid one in everything but the window, which is bounded.
    Limit::new(parts).unwrap_or_else(|_| limit.clone())
}

/// The length of the longest window that there is of this kind; with the hour that a time zone may add.
fn longest(window: &Window) -> Micros {
    let days = match window {
        Window::Length(length) => return *length,
        Window::Calendar(calendar) => match calendar.unit() {
            CalendarUnit::Day => 1,
            CalendarUnit::Week => 7,
            CalendarUnit::Month => 31,
            CalendarUnit::Year => 366,
        },
    };
    Micros::from_secs(days * 86_400 + 3_600)
}

/// The space of a share's counters: another for every window, since a state only has a meaning with its window.
fn space_of(space: u128, share: &Limit) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(&space.to_le_bytes());
    match share.window() {
        Window::Length(length) => hasher.write_u64(length.0),
        Window::Calendar(_) => hasher.write_u64(0),
    }
    hasher.finish128().as_u128()
}

/// Counters at a share of their limits.
#[derive(Debug)]
pub struct LocalCounters<C> {
    store: MemoryStore<C>,
}

impl<C: Clock> LocalCounters<C> {
    /// Empty.
    #[must_use]
    pub fn new(clock: C, options: MemoryOptions) -> Self {
        Self { store: MemoryStore::new(clock, options) }
    }

    /// Performs the hits of one request at one of `replicas` shares of their limits. The outcomes are those of the
    /// shares, too: level, remaining and reset.
    pub fn perform(&self, hits: &[Hit<'_>], charge: Charge, replicas: u32) -> Outcomes {
        let shares: SmallVec<[Limit; 4]> = hits.iter().map(|hit| share_of(hit.limit, replicas)).collect();
        let hits: SmallVec<[Hit<'_>; 4]> = hits
            .iter()
            .zip(&shares)
            .map(|(hit, limit)| {
                let key = CounterKey { space: space_of(hit.key.space, limit), ..hit.key.reborrow() };
                let Hit { operation, enforced, failure_mode, .. } = *hit;
                Hit { key, limit, operation, enforced, failure_mode }
            })
            .collect();
        // The memory store never waits.
        self.store.perform_now(&hits, charge).unwrap_or_default()
    }

    /// Forgets a counter, as it is filed with so many replicas; whether there was one.
    pub async fn reset(&self, key: &CounterKey<'_>, limit: &Limit, replicas: u32) -> bool {
        let share = share_of(limit, replicas);
        let key = CounterKey { space: space_of(key.space, &share), ..key.reborrow() };
        self.store.reset(&key, &share).await.unwrap_or_default()
    }

    /// Counters.
    pub fn live_counters(&self) -> u64 {
        self.store.live_counters()
    }

    /// The store underneath, for sweeping and statistics.
    #[must_use]
    pub const fn store(&self) -> &MemoryStore<C> {
        &self.store
    }
}

#[cfg(test)]
mod tests;
