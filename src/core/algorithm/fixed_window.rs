//! `fixed_window`: a count per window, where windows are aligned to the Unix epoch or the calendar.
//!
//! Promise: at most `amount` per window; up to twice that in a span that straddles a boundary. A changed amount keeps
//! the count.

use super::Meter;
use super::hold::Hold;
use crate::core::clock::{Micros, Now};
use crate::core::limit::{Limit, MAX_HITS, Window};

/// The state: which window, and how many hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FixedWindow {
    start: Micros,
    /// Kept, so that a calendar is asked only once per window.
    end: Micros,
    count: u64,
}

impl FixedWindow {
    /// The window that begins at `start`, with so many hits.
    pub(crate) fn restore(limit: &Limit, start: Micros, count: u64) -> Self {
        let end = match limit.window() {
            Window::Length(length) => start + Micros(length.0.max(1)),
            Window::Calendar(calendar) => calendar.bounds(start).1,
        };
        Self { start, end, count }
    }

    pub(super) fn start(&self) -> Micros {
        self.start
    }

    pub(super) fn contains(&self, wall: Micros) -> bool {
        self.start <= wall && wall < self.end
    }
}

impl Meter for FixedWindow {
    fn settle(&mut self, limit: &Limit, now: Now) -> Micros {
        let wall = now.wall.max(self.start);
        if wall >= self.end {
            let (start, end) = bounds(limit.window(), wall);
            *self = Self { start, end, count: 0 };
        }
        wall
    }

    fn level(&self, _: &Limit, _: Micros) -> u64 {
        self.count
    }

    fn wait(&self, limit: &Limit, now: Micros, before: u64, hits: u64) -> Option<Micros> {
        if hits > limit.amount() {
            None
        } else if self.count + before + hits <= limit.amount() {
            Some(Micros::ZERO)
        } else {
            Some((self.end - now).max(Micros(1)))
        }
    }

    fn charge(&mut self, _: &Limit, _: Micros, hits: u64) -> bool {
        self.count = self.count.saturating_add(hits).min(MAX_HITS);
        true
    }

    fn refund(&mut self, _: &Limit, _: Micros, hits: u64) -> bool {
        let before = self.count;
        self.count = before.saturating_sub(hits);
        self.count < before
    }

    fn release(&mut self, limit: &Limit, now: Micros, hold: &Hold) -> bool {
        match *hold {
            Hold::Window { start, hits } if start == self.start => self.refund(limit, now, hits),
            _ => false,
        }
    }

    fn reset_after(&self, _: &Limit, now: Micros) -> Micros {
        self.end - now
    }
}

fn bounds(window: &Window, wall: Micros) -> (Micros, Micros) {
    match window {
        Window::Length(length) => {
            let length = length.0.max(1);
            let start = Micros(wall.0 - wall.0 % length);
            (start, start + Micros(length))
        }
        Window::Calendar(calendar) => calendar.bounds(wall),
    }
}
