//! `token_bucket`: a bucket of `burst` tokens, refilled at `amount` per window. A charge takes tokens.
//!
//! Kept is when it will be full again, if nothing more is taken ([`super::backlog`]): what is missing is the time to it,
//! at the limit's rate. Promise: in any span of `t`, at most `burst + t x amount / window` hits. A bucket that would
//! need more than 142 years to fill is cut to that.
//!
//! **A changed amount** or burst keeps what is consumed: it drains at the new rate since the last change, and a larger
//! bucket has its extra tokens at once. A store may forget a counter that would be full under the amount of its last
//! change.

use super::backlog::Backlog;
use super::hold::Hold;
use super::{Meter, Now, window_length};
use crate::core::clock::Micros;
use crate::core::limit::Limit;

/// The state: when the bucket is full, and under which amount. Packed, so that a state of any algorithm has 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, packed)]
pub struct TokenBucket {
    backlog: Backlog,
    /// Little-endian, `MAX_HITS` at most.
    amount: [u8; 7],
}

/// The same, to work with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub backlog: Backlog,
    /// The amount at the last change.
    pub amount: u64,
}

impl TokenBucket {
    #[inline]
    pub(crate) fn unpack(self) -> Tokens {
        let [a, b, c, d, e, f, g] = self.amount;
        Tokens { backlog: self.backlog, amount: u64::from_le_bytes([a, b, c, d, e, f, g, 0]) }
    }
}

impl Tokens {
    #[inline]
    pub(crate) fn pack(self) -> TokenBucket {
        let [a, b, c, d, e, f, g, _] = self.amount.to_le_bytes();
        TokenBucket { backlog: self.backlog, amount: [a, b, c, d, e, f, g] }
    }
}

impl Meter for Tokens {
    #[inline]
    fn settle(&mut self, limit: &Limit, now: Now) -> Micros {
        let amount = limit.amount();
        if amount == 0 {
            return now.mono.max(self.backlog.seen);
        }
        if self.amount != amount {
            self.backlog.convert(self.amount, amount);
            self.amount = amount;
        }
        self.backlog.settle(now.mono)
    }

    #[inline]
    fn level(&self, limit: &Limit, _: Micros) -> u64 {
        if limit.amount() == 0 { 0 } else { self.backlog.level(limit) }
    }

    #[inline]
    fn wait(&self, limit: &Limit, _: Micros, before: u64, hits: u64) -> Option<Micros> {
        if limit.amount() == 0 { (hits == 0).then_some(Micros::ZERO) } else { self.backlog.wait(limit, before, hits) }
    }

    #[inline]
    fn charge(&mut self, limit: &Limit, _: Micros, hits: u64) -> bool {
        if limit.amount() > 0 {
            self.backlog.charge(limit, hits);
        }
        limit.amount() > 0
    }

    fn refund(&mut self, limit: &Limit, _: Micros, hits: u64) -> bool {
        limit.amount() > 0 && self.backlog.refund(limit, hits)
    }

    fn release(&mut self, limit: &Limit, _: Micros, hold: &Hold) -> bool {
        hold.bucket(limit).is_some_and(|(arrival, fraction, hits)| self.backlog.release(limit, arrival, fraction, hits))
    }

    #[inline]
    fn reset_after(&self, limit: &Limit, _: Micros) -> Micros {
        match limit.amount() {
            0 if self.backlog.is_empty() => Micros::ZERO,
            0 => Micros(window_length(limit)),
            _ => self.backlog.reset_after(),
        }
    }
}
