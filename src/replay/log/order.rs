//! Lines that are nearly in the order of time, put in order.

use std::collections::VecDeque;

use super::entry::Entry;
use crate::core::clock::Micros;

/// How far a line may be out of order.
pub const TOLERANCE: Micros = Micros::from_secs(10);
/// The most entries that wait for earlier ones; with more, the earliest goes on.
const MAX_HELD: usize = 131_072;
/// The most bytes of text that wait; with more, the earliest goes on.
const MAX_HELD_BYTES: usize = 128 << 20;
/// The most entries kept to be used again, and the most bytes of each.
const MAX_SPARE: usize = 16_384;
const MAX_SPARE_BYTES: usize = 2_048;
/// A line that is so much later than all before is only believed when the next one is as late: one wrong clock would
/// make all others late.
const JUMP: Micros = Micros::from_secs(86_400);

/// Sorts. Time never goes back in what it gives.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    /// In order.
    held: VecDeque<Box<Entry>>,
    held_bytes: usize,
    newest: Option<Micros>,
    released: Micros,
    /// A line that jumped, until another agrees.
    aside: Option<Box<Entry>>,
    late: u64,
    finished: bool,
    #[allow(clippy::vec_box, reason = "the boxes themselves are used again")]
    spare: Vec<Box<Entry>>,
}

impl Sorter {
    pub(super) fn push(&mut self, entry: Box<Entry>) {
        if let Some(aside) = self.aside.take() {
            if entry.at + TOLERANCE >= aside.at {
                self.insert(aside);
            } else {
                self.late += 1;
                self.recycle(aside);
            }
        }
        if self.newest.is_none_or(|newest| entry.at > newest + JUMP) {
            self.aside = Some(entry);
        } else {
            self.insert(entry);
        }
    }

    fn insert(&mut self, entry: Box<Entry>) {
        let newest = self.newest.unwrap_or_default().max(entry.at);
        self.newest = Some(newest);
        if entry.at + TOLERANCE < newest || entry.at < self.released {
            self.late += 1;
            return self.recycle(entry);
        }
        self.held_bytes += entry.bytes_held();
        if self.held.back().is_none_or(|last| last.at <= entry.at) {
            self.held.push_back(entry);
        } else {
            let at = self.held.partition_point(|held| held.at <= entry.at);
            self.held.insert(at, entry);
        }
    }

    /// The earliest, when none that comes can be earlier.
    pub(super) fn pop(&mut self) -> Option<Box<Entry>> {
        let first = self.held.front()?.at;
        let ready = self.finished
            || self.held.len() > MAX_HELD
            || self.held_bytes > MAX_HELD_BYTES
            || self.newest.is_some_and(|newest| first + TOLERANCE < newest);
        if !ready {
            return None;
        }
        self.released = first;
        let entry = self.held.pop_front()?;
        self.held_bytes -= entry.bytes_held();
        Some(entry)
    }

    /// There are no more.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        if let Some(aside) = self.aside.take() {
            self.insert(aside);
        }
    }

    /// Lines left out because they came too late.
    pub(super) const fn late(&self) -> u64 {
        self.late
    }

    /// An empty entry.
    pub(super) fn spare(&mut self) -> Box<Entry> {
        let mut entry = self.spare.pop().unwrap_or_default();
        entry.clear();
        entry
    }

    /// Takes an entry for [`Sorter::spare`].
    pub(super) fn recycle(&mut self, entry: Box<Entry>) {
        if self.spare.len() < MAX_SPARE && entry.bytes_held() <= MAX_SPARE_BYTES {
            self.spare.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: u64) -> Box<Entry> {
        let mut entry = Box::<Entry>::default();
        entry.at = Micros::from_secs(second);
        entry
    }

    fn sorted(seconds: &[u64]) -> (Vec<u64>, u64) {
        let mut sorter = Sorter::default();
        let mut out = Vec::new();
        for &at in seconds {
            sorter.push(entry(at));
            while let Some(entry) = sorter.pop() {
                out.push(entry.at.0 / 1_000_000);
            }
        }
        sorter.finish();
        while let Some(entry) = sorter.pop() {
            out.push(entry.at.0 / 1_000_000);
        }
        (out, sorter.late())
    }

    #[test]
    fn lines_out_of_order_by_seconds_are_sorted() {
        assert_eq!(sorted(&[10, 12, 11, 15, 10, 16, 12]), (vec![10, 10, 11, 12, 12, 15, 16], 0));
        assert_eq!(sorted(&[10]), (vec![10], 0));
    }

    #[test]
    fn lines_that_come_too_late_are_counted() {
        assert_eq!(sorted(&[10, 11, 25, 14, 15, 26]), (vec![10, 11, 15, 25, 26], 1));
    }

    #[test]
    fn one_wrong_clock_does_not_make_all_others_late() {
        const YEAR: u64 = 31_536_000;
        assert_eq!(sorted(&[10, 11, YEAR, 12, 13]), (vec![10, 11, 12, 13], 1));
        assert_eq!(sorted(&[YEAR, 10, 11]), (vec![10, 11], 1));
        // A night without traffic is no wrong clock.
        assert_eq!(sorted(&[10, 11, YEAR, YEAR + 1]), (vec![10, 11, YEAR, YEAR + 1], 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let many = vec![7; 3 * MAX_HELD];
        let mut sorter = Sorter::default();
        for at in many {
            sorter.push(entry(at));
            while sorter.pop().is_some() {}
            assert!(sorter.held.len() <= MAX_HELD);
        }
        assert_eq!(sorter.late(), 0);
    }

    #[test]
    fn long_lines_that_wait_are_bounded_too() {
        let mut sorter = Sorter::default();
        let long = "u".repeat(64 * 1024);
        for _ in 0..2 * MAX_HELD_BYTES / long.len() {
            let mut entry = entry(7);
            entry.set(super::super::entry::Field::User, &long);
            sorter.push(entry);
            while let Some(entry) = sorter.pop() {
                sorter.recycle(entry);
            }
            assert!(sorter.held_bytes <= MAX_HELD_BYTES);
        }
        assert!(sorter.held.len() < MAX_HELD_BYTES / long.len() + 1 && sorter.spare.is_empty());
    }
}
