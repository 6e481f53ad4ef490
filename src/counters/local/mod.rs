//! Counting in this process while the shared counters are away, at one replica's share of each limit.
//!
//! **The share.** Of `n` replicas each admits `amount' = max(1, floor(amount / n))` hits per window of
//! `window' = ceil(window x amount' x n / amount)`: 5 a minute over 10 replicas is one per two minutes each, 25 a minute
//! over 10 is two per 48 seconds each. So the long-run rate of all replicas together is at most that of the limit,
//! however small its amount. Bursts are divided likewise, but everybody keeps at least one.
//!
//! **The bound.** Together the replicas admit in any span of one window at most what each admits in it, `n` times: with
//! `amount >= n` at most `amount` per aligned window of `window'` (so at most `2 x amount` in any span, as ever with
//! aligned windows), with `amount < n` at most `n` (each its one hit). Beside that stands what the shared counter had
//! admitted before it went away, and what it will admit when it is back: it does not know of the hits counted here.
//! These counters are kept when the shared ones return, so that going back and forth admits nothing anew.
//!
//! A calendar window stays one as long as there is a whole hit for everybody, and is otherwise a plain window of its
//! nominal length, widened. Windows end at [`MAX_WINDOW`]; a limit that would need a longer one has its share of 1 per
//! ten years. When the number of replicas changes, so do windows, and counters start anew: they are filed by window.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use super::memory::{MemoryOptions, MemoryStore};
use super::{CounterKey, CounterStore as _, Hit, Outcomes};
use crate::core::clock::{Clock, Micros};
use crate::core::limit::{Limit, LimitParts, MAX_WINDOW, Window};
use crate::core::spec::Charge;

/// One of `replicas` equal shares of a limit.
#[must_use]
pub fn share_of(limit: &Limit, replicas: u32) -> Limit {
    let replicas = u64::from(replicas.max(1));
    if replicas == 1 || limit.amount() == 0 {
        return limit.clone();
    }
    let amount = (limit.amount() / replicas).max(1);
    let window = match limit.window() {
        Window::Calendar(_) if limit.amount() >= replicas => limit.window().clone(),
        window => {
            let length = u128::from(window.nominal_length().0);
            let widened = (length * u128::from(amount) * u128::from(replicas)).div_ceil(u128::from(limit.amount()));
            Window::Length(u64::try_from(widened).map_or(MAX_WINDOW, Micros).min(MAX_WINDOW))
        }
    };
    let burst = limit.algorithm().has_burst().then(|| (limit.capacity() / replicas).max(1));
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
