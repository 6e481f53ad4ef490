//! `leaky_bucket`: the generic cell rate algorithm (ITU-T I.371; ATM Forum Traffic Management 4.0), a leaky bucket
//! kept as one point in time.
//!
//! Hits are emitted one each interval `T = window / amount`. Kept is the theoretical arrival time, at which everything
//! admitted so far is emitted and the bucket is empty. The level is the time to it, in intervals; `burst` intervals are
//! the capacity. Promise: with burst 1 admitted hits are at least `T` apart; in any span of `t`, at most
//! `burst + t / T`.
//!
//! `T` is no whole number of microseconds in general. The fraction `window / amount` is reduced to `n / d`, and times
//! are kept in `d`-ths of a microsecond, so that nothing is ever rounded.
//!
//! **A changed amount** keeps the time to drain (to within a microsecond, as `d` changes): who had to wait two seconds
//! still waits two seconds.
//!
//! The time to drain is at most [`MAX_BACKLOG`], which bounds a burst that would need longer.

use super::{Meter, saturating_micros, window_length};
use crate::core::clock::{Micros, Now};
use crate::core::limit::{Limit, MAX_HITS};

/// The longest time to drain, 2^52 us or 142 years: added to a present date it is still exact in a double.
pub const MAX_BACKLOG: Micros = Micros(1 << 52);

/// The state: the theoretical arrival time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeakyBucket {
    /// The theoretical arrival time, whole microseconds.
    arrival: Micros,
    /// And this many `d`-ths of one.
    fraction: u64,
    /// The latest reading of the clock.
    seen: Micros,
}

/// The emission interval: `numerator / denominator` microseconds, in lowest terms.
#[derive(Clone, Copy)]
struct Interval {
    numerator: u128,
    denominator: u128,
}

impl Interval {
    /// `None` for an amount of 0.
    fn of(limit: &Limit) -> Option<Self> {
        let window = window_length(limit);
        let amount = limit.amount();
        if amount == 0 {
            return None;
        }
        let divisor = greatest_common_divisor(window, amount);
        Some(Self { numerator: u128::from(window / divisor), denominator: u128::from(amount / divisor) })
    }

    /// So many intervals, in parts of a microsecond. Below 2^102.
    fn times(self, hits: u64) -> u128 {
        u128::from(hits) * self.numerator
    }

    /// The longest time to drain, in parts of a microsecond.
    fn most(self) -> u128 {
        u128::from(MAX_BACKLOG.0) * self.denominator
    }
}

impl LeakyBucket {
    /// The time to drain, in parts of a microsecond.
    fn backlog(&self, interval: Interval) -> u128 {
        u128::from((self.arrival - self.seen).0) * interval.denominator + u128::from(self.fraction)
    }

    fn set_backlog(&mut self, parts: u128, interval: Interval) {
        let parts = parts.min(interval.most());
        self.arrival = self.seen + saturating_micros(parts / interval.denominator);
        // Fits: it is less than the denominator, which has 64 bits.
        self.fraction = (parts % interval.denominator) as u64;
    }
}

impl Meter for LeakyBucket {
    fn settle(&mut self, limit: &Limit, now: Now) -> Micros {
        self.seen = now.mono.max(self.seen);
        if self.arrival < self.seen {
            self.arrival = self.seen;
            self.fraction = 0;
        } else if self.fraction > 0
            && let Some(interval) = Interval::of(limit)
        {
            // Of another limit, if it is that large.
            self.fraction = self.fraction.min((interval.denominator - 1) as u64);
        }
        self.seen
    }

    fn level(&self, limit: &Limit, _: Micros) -> u64 {
        let Some(interval) = Interval::of(limit) else { return 0 };
        let level = self.backlog(interval).div_ceil(interval.numerator);
        u64::try_from(level).unwrap_or(MAX_HITS).min(MAX_HITS)
    }

    fn wait(&self, limit: &Limit, _: Micros, before: u64, hits: u64) -> Option<Micros> {
        let Some(interval) = Interval::of(limit) else {
            return (hits == 0).then_some(Micros::ZERO);
        };
        let capacity = interval.times(limit.capacity()).min(interval.most());
        let room = capacity.checked_sub(interval.times(hits))?;
        let backlog = (self.backlog(interval) + interval.times(before)).min(interval.most());
        let surplus = backlog.saturating_sub(room);
        Some(saturating_micros(surplus.div_ceil(interval.denominator)))
    }

    fn charge(&mut self, limit: &Limit, _: Micros, hits: u64) {
        if let Some(interval) = Interval::of(limit) {
            self.set_backlog(self.backlog(interval) + interval.times(hits), interval);
        }
    }

    fn refund(&mut self, limit: &Limit, _: Micros, hits: u64) {
        if let Some(interval) = Interval::of(limit) {
            self.set_backlog(self.backlog(interval).saturating_sub(interval.times(hits)), interval);
        }
    }

    fn reset_after(&self, _: &Limit, _: Micros) -> Micros {
        self.arrival - self.seen + Micros(u64::from(self.fraction > 0))
    }
}

/// Euclid's algorithm; few steps for the numbers that limits have.
const fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
