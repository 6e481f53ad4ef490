//! `sliding_window_counter`: two counts of aligned windows, the older weighted by the share of it that the sliding
//! window still covers, as Cloudflare published it ("How we built rate limiting capable of scaling to millions of
//! domains", 2017).
//!
//! At `e` microseconds into the present window the level is `ceil(previous x (window - e) / window) + current`.
//!
//! **Error bound.** The estimate takes the previous window's hits to be spread evenly. Of these, between none and all
//! can truly lie in the sliding window; so with the share `f = (window - e) / window`, the level is at most
//! `ceil(previous x f)` above the true count of the last window, and at most `previous x (1 - f)` below it. Without
//! recorded denials `previous <= amount`, and a hit is admitted only at `current <= amount - ceil(previous x f)`:
//! so never more than `2 x amount - 1` in any window, and never more than `amount` in an aligned one; for traffic that
//! comes evenly the level is the true count, rounded up.
//!
//! **Refunds** take from the present window only. **A changed amount** keeps both counts.

use super::hold::Hold;
use super::{Meter, window_length};
use crate::core::clock::{Micros, Now};
use crate::core::limit::{Limit, MAX_HITS};

/// The state: the present window's start, its count and the count of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlidingWindowCounter {
    start: Micros,
    previous: u64,
    current: u64,
}

impl SlidingWindowCounter {
    /// The window that begins at `start`, with the hits of the one before and its own.
    pub(crate) fn restore(start: Micros, previous: u64, current: u64) -> Self {
        Self { start, previous, current }
    }

    pub(super) fn start(&self) -> Micros {
        self.start
    }
}

impl Meter for SlidingWindowCounter {
    fn settle(&mut self, limit: &Limit, now: Now) -> Micros {
        let window = window_length(limit);
        let wall = now.wall.max(self.start);
        let passed = (wall - self.start).0 / window;
        if passed > 0 {
            let previous = if passed == 1 { self.current } else { 0 };
            *self = Self { start: Micros(wall.0 - wall.0 % window), previous, current: 0 };
        }
        wall
    }

    fn level(&self, limit: &Limit, now: Micros) -> u64 {
        let window = window_length(limit);
        let left = window.saturating_sub((now - self.start).0);
        let covered = (u128::from(self.previous) * u128::from(left)).div_ceil(u128::from(window));
        // Not more than `previous`, so it fits.
        (self.current + covered as u64).min(MAX_HITS)
    }

    fn wait(&self, limit: &Limit, now: Micros, before: u64, hits: u64) -> Option<Micros> {
        let room = limit.amount().checked_sub(hits)?;
        if self.level(limit, now) + before <= room {
            return Some(Micros::ZERO);
        }
        let window = window_length(limit);
        let current = (self.current + before).min(MAX_HITS);
        let fits_from = match room.checked_sub(current).map(|room| first_fit(self.previous, room, window)) {
            Some(elapsed) if elapsed < window => elapsed,
            // In the next window at the earliest, where the present one is the previous.
            _ => window.saturating_add(first_fit(current, room, window)),
        };
        Some((self.start + Micros(fits_from) - now).max(Micros(1)))
    }

    fn charge(&mut self, _: &Limit, _: Micros, hits: u64) -> bool {
        self.current = self.current.saturating_add(hits).min(MAX_HITS);
        true
    }

    fn refund(&mut self, _: &Limit, _: Micros, hits: u64) -> bool {
        take(&mut self.current, hits)
    }

    fn release(&mut self, limit: &Limit, _: Micros, hold: &Hold) -> bool {
        match *hold {
            Hold::Window { start, hits } if start == self.start => take(&mut self.current, hits),
            Hold::Window { start, hits } if start + Micros(window_length(limit)) == self.start => {
                take(&mut self.previous, hits)
            }
            _ => false,
        }
    }

    fn reset_after(&self, limit: &Limit, now: Micros) -> Micros {
        let window = window_length(limit);
        let end = match (self.previous, self.current) {
            (0, 0) => return Micros::ZERO,
            (_, 0) => window,
            _ => window.saturating_mul(2),
        };
        self.start + Micros(end) - now
    }
}

/// Takes at most `hits` from a count; whether there were any.
fn take(count: &mut u64, hits: u64) -> bool {
    let before = *count;
    *count = before.saturating_sub(hits);
    *count < before
}

/// The smallest time into a window, at most the whole of it, at which what is left of `previous` is at most `room`:
/// `previous x (window - e) <= room x window`.
fn first_fit(previous: u64, room: u64, window: u64) -> u64 {
    if previous <= room {
        return 0;
    }
    // Less than the window, because the room is less than what it is divided by.
    window - (u128::from(room) * u128::from(window) / u128::from(previous)) as u64
}
