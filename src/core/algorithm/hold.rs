//! Holds: charges that can be given back by name.

use crate::core::clock::Micros;

/// What a charge took from a window or a bucket, by which it can be given back.
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
