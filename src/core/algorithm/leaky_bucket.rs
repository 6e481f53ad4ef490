//! `leaky_bucket`: the generic cell rate algorithm (ITU-T I.371; ATM Forum Traffic Management 4.0), a leaky bucket
//! kept as one point in time.
//!
//! Hits are emitted one each interval `T = window / amount`. Kept is the theoretical arrival time, at which everything
//! admitted so far is emitted and the bucket is empty ([`super::backlog`]). The level is the time to it, in intervals;
//! `burst` intervals are the capacity, 142 years at most. Promise: with burst 1 admitted hits are at least `T` apart;
//! in any span of `t`, at most `burst + t / T`.
//!
//! **A changed amount** keeps the time to drain (to within a microsecond, whose parts change): who had to wait two
//! seconds still waits two seconds.

use super::backlog::Backlog;
use super::hold::Hold;
use super::{Meter, Now};
use crate::core::clock::Micros;
use crate::core::limit::Limit;

/// The state: the theoretical arrival time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeakyBucket(pub(crate) Backlog);

impl Meter for LeakyBucket {
    #[inline]
    fn settle(&mut self, limit: &Limit, now: Now) -> Micros {
        let now = self.0.settle(now.mono);
        if limit.amount() > 0 {
            // Of another limit, if it is that large.
            self.0.fraction = self.0.fraction.min(limit.amount() - 1);
        }
        now
    }

    #[inline]
    fn level(&self, limit: &Limit, _: Micros) -> u64 {
        if limit.amount() == 0 { 0 } else { self.0.level(limit) }
    }

    #[inline]
    fn wait(&self, limit: &Limit, _: Micros, before: u64, hits: u64) -> Option<Micros> {
        if limit.amount() == 0 { (hits == 0).then_some(Micros::ZERO) } else { self.0.wait(limit, before, hits) }
    }

    #[inline]
    fn charge(&mut self, limit: &Limit, _: Micros, hits: u64) -> bool {
        if limit.amount() > 0 {
            self.0.charge(limit, hits);
        }
        limit.amount() > 0
    }

    fn refund(&mut self, limit: &Limit, _: Micros, hits: u64) -> bool {
        limit.amount() > 0 && self.0.refund(limit, hits)
    }

    fn release(&mut self, limit: &Limit, _: Micros, hold: &Hold) -> bool {
        hold.bucket(limit).is_some_and(|(arrival, fraction, hits)| self.0.release(limit, arrival, fraction, hits))
    }

    #[inline]
    fn reset_after(&self, _: &Limit, _: Micros) -> Micros {
        self.0.reset_after()
    }
}
