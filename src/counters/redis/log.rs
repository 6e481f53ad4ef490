//! A `sliding_window_log` of which only some hits are known.
//!
//! Hits are numbered from the window's first (0) before the call, on through those that the call appends.

use super::program::{Held, Step};
use super::wire::LogReply;
use crate::core::algorithm::{self, Hold, Meter, Outcome, State, window_length};
use crate::core::clock::{Micros, Now};
use crate::core::descriptor::Operation;
use crate::core::limit::{Limit, MAX_HITS, Over};

/// The log while its steps are repeated.
#[derive(Clone)]
pub(super) struct Log<'a> {
    before: LogReply<'a>,
    /// Hits in the window.
    hits: u64,
    /// How many have been removed from the front.
    removed: u64,
    /// The time of the newest hit.
    newest: Option<Micros>,
}

impl<'a> Log<'a> {
    pub fn new(before: LogReply<'a>) -> Self {
        let newest = (before.newest > Micros::ZERO).then_some(before.newest);
        Self { hits: before.hits, removed: 0, newest, before }
    }

    pub fn perform(&mut self, limit: &Limit, now: Now, step: &Step) -> (Outcome, Option<Held>) {
        match step {
            Step::Operation(operation) => (algorithm::operate(self, limit, now, *operation, limit.over()), None),
            Step::Evaluate(hits) => (self.evaluate(limit, now, Operation::Charge(*hits)), None),
            // A reply to a release tells what is after it.
            Step::Release(_) => (self.evaluate(limit, now, Operation::Refund(0)), None),
            Step::Hold(hits) => {
                let first = self.before.following + self.removed + self.hits - self.before.hits;
                let operation = Operation::Charge(*hits);
                let outcome = algorithm::operate(self, limit, now, operation, Over::Drop);
                let count = (*hits).min(limit.amount() + 1);
                (outcome, (outcome.allowed() && count > 0).then_some(Held::Members { first, count }))
            }
        }
    }

    pub fn evaluate(&self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        algorithm::consider(self.clone(), limit, now, operation)
    }

    /// A log that never denies what the true one would not: unknown times are as early as they may be.
    pub fn state(&self, limit: &Limit, now: Micros) -> State {
        let present = self.newest.map_or(now, |newest| newest.max(now));
        let earliest = Micros((present.0 + 1).saturating_sub(window_length(limit)));
        let mut known: Vec<(u64, Micros)> = self.before.asked().collect();
        known.sort_unstable();
        known.dedup();
        // From which number on hits are at least how late.
        let mut bounds = vec![(self.removed, earliest)];
        bounds.extend(known.into_iter().filter(|(number, _)| *number >= self.removed));
        if let Some(last) = self.before.hits.checked_sub(1).filter(|last| *last >= self.removed) {
            bounds.push((last, self.before.newest));
        }
        bounds.push((self.before.hits.max(self.removed), self.newest.unwrap_or(present)));
        let ends = bounds.iter().skip(1).map(|bound| bound.0).chain([self.removed + self.hits]);
        State::log(bounds.iter().zip(ends).map(|(&(from, time), to)| (time, to.saturating_sub(from))))
    }
}

impl Meter for Log<'_> {
    fn settle(&mut self, _: &Limit, now: Now) -> Micros {
        self.newest.map_or(now.mono, |newest| newest.max(now.mono))
    }

    fn level(&self, _: &Limit, _: Micros) -> u64 {
        self.hits.min(MAX_HITS)
    }

    fn wait(&self, limit: &Limit, now: Micros, before: u64, hits: u64) -> Option<Micros> {
        if hits > limit.amount() {
            return None;
        }
        let surplus = (self.hits + before + hits).saturating_sub(limit.amount());
        if surplus == 0 {
            return Some(Micros::ZERO);
        }
        let window = Micros(window_length(limit));
        let number = self.removed + surplus - 1;
        if number >= self.before.hits {
            // One of those that came just now.
            return Some(window);
        }
        // The script tells of every hit that somebody has to wait for.
        Some(self.before.time_of(number).map_or(Micros(1), |time| (time + window - now).max(Micros(1))))
    }

    fn charge(&mut self, limit: &Limit, now: Micros, hits: u64) -> bool {
        let most = limit.amount() + 1;
        let surplus = self.hits.saturating_sub(most);
        self.removed += surplus;
        self.hits = self.hits - surplus + hits.min(most);
        self.newest = Some(now);
        true
    }

    fn refund(&mut self, _: &Limit, _: Micros, hits: u64) -> bool {
        let given = hits.min(self.hits);
        self.removed += given;
        self.hits -= given;
        if self.hits == 0 {
            self.newest = None;
        }
        given > 0
    }

    fn release(&mut self, _: &Limit, _: Micros, _: &Hold) -> bool {
        false
    }

    fn reset_after(&self, limit: &Limit, now: Micros) -> Micros {
        let window = Micros(window_length(limit));
        self.newest.map_or(Micros::ZERO, |newest| newest + window - now)
    }
}
