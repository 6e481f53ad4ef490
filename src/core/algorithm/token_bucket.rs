//! `token_bucket`: a bucket of `burst` tokens, refilled at `amount` per window. A charge takes tokens.
//!
//! Kept is what has been taken and not been refilled yet, as an exact rational number of hits; it drains at the
//! limit's rate. Promise: in any span of `t`, at most `burst + t x amount / window` hits.
//!
//! **A changed amount** or burst keeps what is consumed: the next refill is at the new rate, and a larger bucket has
//! its extra tokens at once.

use super::{Meter, saturating_micros, window_length};
use crate::core::clock::{Micros, Now};
use crate::core::limit::{Limit, MAX_HITS};

/// The state: consumed hits, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBucket {
    /// Whole hits consumed.
    whole: u64,
    /// And this many window-ths of a hit; less than the window's microseconds. One such part drains `amount` times
    /// a microsecond.
    fraction: u64,
    /// The latest reading of the clock.
    seen: Micros,
}

impl TokenBucket {
    /// What is consumed, in window-ths of a hit. Below 2^102.
    fn parts(&self, window: u64) -> u128 {
        u128::from(self.whole) * u128::from(window) + u128::from(self.fraction.min(window - 1))
    }

    fn set_parts(&mut self, parts: u128, window: u64) {
        let most = u128::from(MAX_HITS) * u128::from(window);
        let parts = parts.min(most);
        // Both fit, the one by the bound above, the other as a remainder of 64 bits.
        self.whole = (parts / u128::from(window)) as u64;
        self.fraction = (parts % u128::from(window)) as u64;
    }

    const fn is_empty(&self) -> bool {
        self.whole == 0 && self.fraction == 0
    }
}

impl Meter for TokenBucket {
    fn settle(&mut self, limit: &Limit, now: Now) -> Micros {
        let now = now.mono.max(self.seen);
        if !self.is_empty() {
            let window = window_length(limit);
            let drained = u128::from((now - self.seen).0) * u128::from(limit.amount());
            self.set_parts(self.parts(window).saturating_sub(drained), window);
        }
        self.seen = now;
        now
    }

    fn level(&self, limit: &Limit, _: Micros) -> u64 {
        if limit.amount() == 0 { 0 } else { (self.whole + u64::from(self.fraction > 0)).min(MAX_HITS) }
    }

    fn wait(&self, limit: &Limit, _: Micros, before: u64, hits: u64) -> Option<Micros> {
        let room = limit.capacity().checked_sub(hits)?;
        if limit.amount() == 0 {
            return Some(Micros::ZERO);
        }
        let window = window_length(limit);
        let most = u128::from(MAX_HITS) * u128::from(window);
        let consumed = (self.parts(window) + u128::from(before) * u128::from(window)).min(most);
        let surplus = consumed.saturating_sub(u128::from(room) * u128::from(window));
        Some(saturating_micros(surplus.div_ceil(u128::from(limit.amount()))))
    }

    fn charge(&mut self, limit: &Limit, _: Micros, hits: u64) {
        if limit.amount() > 0 {
            let window = window_length(limit);
            self.set_parts(self.parts(window) + u128::from(hits) * u128::from(window), window);
        }
    }

    fn refund(&mut self, limit: &Limit, _: Micros, hits: u64) {
        if limit.amount() > 0 {
            let window = window_length(limit);
            self.set_parts(self.parts(window).saturating_sub(u128::from(hits) * u128::from(window)), window);
        }
    }

    fn reset_after(&self, limit: &Limit, _: Micros) -> Micros {
        let window = window_length(limit);
        match limit.amount() {
            _ if self.is_empty() => Micros::ZERO,
            0 => Micros(window),
            amount => saturating_micros(self.parts(window).div_ceil(u128::from(amount))),
        }
    }
}
