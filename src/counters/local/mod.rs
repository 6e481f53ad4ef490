//! Counting in this process while the shared counters are away, at one replica's share of each limit.
//!
//! **The share** of one of `n` replicas. A bucket has the `n`-th part of the rate, exactly, and of the burst, rounded
//! down to whole hits:
//!
//!     amount' = max(1, floor(amount / n))
//!     window' = ceil(window x amount' x n / amount)
//!     burst'  = max(1, floor(burst / n))
//!
//! An algorithm that counts in windows has the same `amount'`, and keeps its window while there is a whole hit for
//! everybody (`amount >= n`); else it has one hit in `window'`: 5 a minute over 10 replicas is one per two minutes
//! each. (A shorter window would give away no remainder: 19 a minute over 10 would be one per 31.6 seconds each instead
//! of one a minute. But three such windows meet a minute, so that the limit's promise for it would be broken.) An
//! amount of 0 stays 0.
//!
//! **The bound.** With `n` replicas, together they admit, with `a = amount'`, `w = window'` and `b = burst'`:
//!
//! | algorithm | at most, in any span of `t` (less than `t` from the first hit to the last) |
//! |---|---|
//! | `fixed_window`, `sliding_window_counter` | `n x a` per aligned window `w`; so `n x a x (ceil(t / w) + 1)` |
//! | `sliding_window_log` | `n x a x ceil(t / w)` |
//! | `token_bucket`, `leaky_bucket` | `n x b + n x a x t / w`, and that is at most `n x b + amount x t / window` |
//!
//! - With `amount >= n` (and `burst >= n`) this is what the limit itself promises, or less: never is more admitted.
//!   Windows lose the remainder, and admit at least `amount - (n - 1)` where every replica is asked enough.
//! - With `amount < n`, everybody's first hit passes, so that `n` pass at once; but as `n x a / w <= amount / window`
//!   always, the rate in the long run is at most the limit's.
//! - If more replicas are alive than are known here, everything is that many times more.
//!
//! Beside that stands what the shared counter had admitted before it went away, and what it will admit when it is back:
//! it does not know of the hits counted here. These counters are kept when the shared ones return, so that going back
//! and forth admits nothing anew. They are filed by window: where that follows the number of replicas (buckets, and
//! `amount < n`), another number means other counters, and at most another `n x b` (or `n`) hits.
//!
//! A calendar window whose share needs a longer one becomes a plain window, counted from the longest that the calendar
//! has: a month of 31 days, a day of 25 hours. A cost above `amount'` (or `burst'`) never passes here. Windows end at
//! [`MAX_WINDOW`]: a limit whose share would need a longer one has the share of one per ten years.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use super::memory::{MemoryOptions, MemoryStore};
use super::{CounterKey, CounterStore as _, Hit, Outcomes};
use crate::core::calendar::CalendarUnit;
use crate::core::clock::{Clock, Micros};
use crate::core::limit::{Limit, LimitParts, MAX_WINDOW, Window};
use crate::core::spec::Charge;

/// One of `replicas` equal shares of a limit; see the module's documentation. 0 replicas count as 1.
#[must_use]
pub fn share_of(limit: &Limit, replicas: u32) -> Limit {
    let replicas = u64::from(replicas.max(1));
    if replicas == 1 || limit.amount() == 0 {
        return limit.clone();
    }
    let amount = (limit.amount() / replicas).max(1);
    let has_burst = limit.algorithm().has_burst();
    let window = if limit.amount() >= replicas && !has_burst {
        limit.window().clone()
    } else {
        Window::Length(stretched(limit, amount, replicas))
    };
    let parts = LimitParts {
        amount,
        window,
        algorithm: limit.algorithm(),
        burst: has_burst.then(|| (limit.capacity() / replicas).max(1)),
        over: limit.over(),
        post_paid: limit.post_paid(),
    };
    // Smaller than a valid one in everything but the window, which is bounded.
    Limit::new(parts).unwrap_or_else(|_| limit.clone())
}

/// `ceil(window x amount x replicas / limit's amount)`: the window in which `amount` is one share of the rate.
fn stretched(limit: &Limit, amount: u64, replicas: u64) -> Micros {
    // The factors have 49, 53 and 32 bits; but of the last two, one is 1 or their product is at most the amount.
    let hits = u128::from(amount) * u128::from(replicas);
    let window = (u128::from(longest(limit.window()).0) * hits).div_ceil(u128::from(limit.amount()));
    u64::try_from(window).map_or(MAX_WINDOW, Micros).min(MAX_WINDOW)
}

/// The length of a window, of a calendar's the longest that there is, with the hour that a time zone may add: in a plain
/// window that is any shorter, more would pass in the long run.
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

    /// Performs the hits of one request at one of `replicas` shares of their limits.
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

    /// Forgets a counter; whether there was one.
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
