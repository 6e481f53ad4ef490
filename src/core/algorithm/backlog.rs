//! What the two buckets have in common: hits that drain one after the other, each taking `window / amount`.
//!
//! Kept is one point in time, the arrival: when everything consumed so far has drained and the bucket is empty. As
//! `window / amount` is no whole number of microseconds in general, times are kept in `amount`-ths of a microsecond, in
//! two whole numbers, so that nothing is ever rounded. One such part is one `window`-th of a hit.
//!
//! The time to drain is at most [`MAX_BACKLOG`], which bounds a bucket that would need longer.

use super::window_length;
use crate::core::clock::Micros;
use crate::core::limit::{Limit, MAX_HITS};

/// The longest time to drain, 2^52 us or 142 years: added to a present date it is still exact in a double.
pub const MAX_BACKLOG: Micros = Micros(1 << 52);

/// A time to drain: whole microseconds, and `amount`-ths of one, fewer than `amount`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Drain {
    pub whole: u64,
    pub part: u64,
}

impl Drain {
    const MOST: Self = Self { whole: MAX_BACKLOG.0, part: 0 };

    /// What `hits` take, whole microseconds saturating at `MAX_HITS`, beyond any bucket. The amount must not be 0.
    #[inline]
    pub fn of(limit: &Limit, hits: u64) -> Self {
        let (window, amount) = (window_length(limit), limit.amount());
        match hits.checked_mul(window) {
            Some(parts) => Self { whole: (parts / amount).min(MAX_HITS), part: parts % amount },
            None => Self::of_parts(u128::from(hits) * u128::from(window), amount),
        }
    }

    /// What `hits` take, so many times.
    pub fn of_many(limit: &Limit, hits: u64, times: u32) -> Self {
        let hits = u128::from(hits) * u128::from(times);
        Self::of_parts(hits.saturating_mul(window_length(limit).into()), limit.amount())
    }

    /// So many `amount`-ths of a microsecond.
    fn of_parts(parts: u128, amount: u64) -> Self {
        let amount = u128::from(amount);
        // The remainder has as many bits as the amount.
        u64::try_from(parts / amount)
            .ok()
            .filter(|whole| *whole < MAX_HITS)
            .map_or(Self { whole: MAX_HITS, part: 0 }, |whole| Self { whole, part: (parts % amount) as u64 })
    }

    /// The largest time to drain at which `hits` more fit; `None` when they never do.
    #[inline]
    pub fn room(limit: &Limit, hits: u64) -> Option<Self> {
        let amount = limit.amount();
        let capacity = Self::of(limit, limit.capacity()).min(Self::MOST);
        let cost = Self::of(limit, hits);
        (cost <= capacity).then(|| capacity.less(cost, amount))
    }

    fn more(self, other: Self, amount: u64) -> Self {
        let part = self.part + other.part;
        let carry = u64::from(part >= amount);
        let sum = Self { whole: self.whole + other.whole + carry, part: part - carry * amount };
        sum.min(Self::MOST)
    }

    fn less(self, other: Self, amount: u64) -> Self {
        if self <= other {
            return Self::default();
        }
        let borrow = u64::from(self.part < other.part);
        Self { whole: self.whole - other.whole - borrow, part: self.part + borrow * amount - other.part }
    }

    const fn is_zero(self) -> bool {
        self.whole == 0 && self.part == 0
    }
}

/// The state of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// When it is empty, whole microseconds; not before `seen`.
    pub arrival: Micros,
    /// And this many `amount`-ths of one.
    pub fraction: u64,
    /// The time of the last change.
    pub seen: Micros,
}

impl Backlog {
    /// The time to drain.
    #[inline]
    pub fn left(&self) -> Drain {
        Drain { whole: (self.arrival - self.seen).0, part: self.fraction }
    }

    #[inline]
    fn set(&mut self, left: Drain) {
        self.arrival = self.seen + Micros(left.whole);
        self.fraction = left.part;
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.left().is_zero()
    }

    /// Drains until `now`, which is returned, or the time of the last change if that is later.
    #[inline]
    pub fn settle(&mut self, now: Micros) -> Micros {
        self.seen = now.max(self.seen);
        if self.arrival < self.seen {
            self.arrival = self.seen;
            self.fraction = 0;
        }
        self.seen
    }

    /// Keeps the hits when the amount changes, which then take another time to drain.
    pub fn convert(&mut self, from: u64, to: u64) {
        let left = self.left();
        let parts = u128::from(left.whole) * u128::from(from) + u128::from(left.part);
        self.set(Drain::of_parts(parts, to).min(Drain::MOST));
    }

    /// Hits consumed, rounded up. The amount must not be 0, here and below.
    #[inline]
    pub fn level(&self, limit: &Limit) -> u64 {
        let (window, amount, left) = (window_length(limit), limit.amount(), self.left());
        match left.whole.checked_mul(amount).and_then(|parts| parts.checked_add(left.part)) {
            Some(parts) => parts.div_ceil(window).min(MAX_HITS),
            None => {
                let parts = u128::from(left.whole) * u128::from(amount) + u128::from(left.part);
                u64::try_from(parts.div_ceil(u128::from(window))).unwrap_or(MAX_HITS).min(MAX_HITS)
            }
        }
    }

    /// How long until `hits` more fit, when `before` have been consumed just before; `None` when they never do.
    #[inline]
    pub fn wait(&self, limit: &Limit, before: u64, hits: u64) -> Option<Micros> {
        let room = Drain::room(limit, hits)?;
        let mut left = self.left();
        if before > 0 {
            left = left.more(Drain::of(limit, before), limit.amount());
        }
        if left <= room {
            return Some(Micros::ZERO);
        }
        Some(Micros(left.whole - room.whole + u64::from(left.part > room.part)))
    }

    #[inline]
    pub fn charge(&mut self, limit: &Limit, hits: u64) {
        self.set(self.left().more(Drain::of(limit, hits), limit.amount()));
    }

    /// Gives back at most `hits`; whether there was anything.
    pub fn refund(&mut self, limit: &Limit, hits: u64) -> bool {
        self.take(Drain::of(limit, hits), limit.amount())
    }

    /// Gives back at most `hits`, of which everything has drained at `arrival` and `fraction`.
    pub fn release(&mut self, limit: &Limit, arrival: Micros, fraction: u64, hits: u64) -> bool {
        if arrival < self.seen {
            return false;
        }
        let left = Drain { whole: (arrival - self.seen).0, part: fraction };
        self.take(Drain::of(limit, hits).min(left), limit.amount())
    }

    fn take(&mut self, time: Drain, amount: u64) -> bool {
        let changed = !self.is_empty() && !time.is_zero();
        if changed {
            self.set(self.left().less(time, amount));
        }
        changed
    }

    /// The time until it is empty, rounded up.
    #[inline]
    pub fn reset_after(&self) -> Micros {
        let left = self.left();
        Micros(left.whole + u64::from(left.part > 0))
    }
}
