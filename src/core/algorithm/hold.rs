//! Holds: charges that can be given back by name, for hits that are charged all or not at all although no lock spans
//! their counters.
//!
//! A release gives back what of its hold still counts, and nothing else: of an aligned window, while that window is
//! the present one (of a sliding counter also while it is the one before); of a bucket, what has not drained yet, where
//! hits drain in the order of their arrival. It is to be performed once for a hold.

use super::Limit;
use crate::core::clock::Micros;

/// What a charge took from a window or a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// From an aligned window.
    Window {
        /// The window's start.
        start: Micros,
        /// How much.
        hits: u64,
    },
    /// From a bucket.
    Bucket {
        /// When the bucket would have been empty, just after the charge: whole microseconds.
        arrival: Micros,
        /// And this many `amount`-ths of one.
        fraction: u64,
        /// The limit's amount.
        amount: u64,
        /// How much.
        hits: u64,
    },
}

impl Hold {
    /// The arrival, its fraction and the hits of a hold on a bucket, under a limit. When the amount has changed since,
    /// parts of a microsecond are left out, so that a little less is given back.
    pub(crate) fn bucket(&self, limit: &Limit) -> Option<(Micros, u64, u64)> {
        match *self {
            Self::Bucket { arrival, fraction, amount, hits } if limit.amount() > 0 => {
                Some((arrival, if amount == limit.amount() { fraction } else { 0 }, hits))
            }
            _ => None,
        }
    }
}
