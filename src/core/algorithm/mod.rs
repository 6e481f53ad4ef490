//! The five algorithms, each one pure definition: `state x limit x now x operation -> (state', outcome)`.
//!
//! The memory store runs exactly this code; the Redis scripts must agree with it step by step. What they share:
//!
//! - A charge fits when `level + hits <= capacity`. `Charge(0)` is a peek: it fits while the level is not above the
//!   capacity, as in envoyproxy/ratelimit.
//! - A charge that does not fit is recorded all the same with [`Over::Record`], and changes nothing with
//!   [`Over::Drop`].
//! - A `post_paid` limit records every charge and answers it [`Verdict::Allowed`]; its peek is denied once nothing is
//!   left, that is unless one more hit would fit.
//! - A refund is always allowed, and gives back at most what is consumed (in the present window, where there are
//!   windows).
//! - Levels saturate at [`MAX_HITS`]. Time never runs backwards for a counter: a reading earlier than the last one
//!   counts as the last one.
//!
//! [`Over::Record`]: super::limit::Over::Record
//! [`Over::Drop`]: super::limit::Over::Drop
//! [`MAX_HITS`]: super::limit::MAX_HITS

use super::clock::{Micros, Now};
use super::descriptor::Operation;
use super::limit::Limit;

/// Whether an operation may pass, and if not, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Allowed,
    /// It does not, and the same one will pass after this long, if nobody else consumes. Never zero.
    NotUntil(Micros),
    /// It costs more than the limit ever holds and never passes.
    InsufficientCapacity,
}

/// What one operation did to one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it may pass.
    pub verdict: Verdict,
    /// Hits consumed after the operation, rounded up; above the capacity when denied hits are recorded.
    pub level: u64,
    /// Hits left after the operation, rounded down.
    pub remaining: u64,
    /// How long until the counter is as new: the window's end, or the time to drain. After that it does not matter
    /// any more and may be forgotten.
    pub reset_after: Micros,
}

impl Outcome {
    /// Whether the operation may pass.
    #[must_use]
    pub const fn allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allowed)
    }

    /// How long to wait before the same operation can pass; `None` when it passed, or never will.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Micros> {
        match self.verdict {
            Verdict::NotUntil(wait) => Some(wait),
            Verdict::Allowed | Verdict::InsufficientCapacity => None,
        }
    }
}

/// The state of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {}

impl State {
    /// The state of a counter that nothing has been charged to.
    #[must_use]
    pub fn fresh(limit: &Limit) -> Self {
        todo!("{limit:?}")
    }

    /// Performs `operation` under `limit` at `now`.
    ///
    /// The state must have been made for a limit with the same algorithm and window; the amount may differ.
    pub fn apply(&mut self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        todo!("{limit:?} {now:?} {operation:?}")
    }

    /// What [`State::apply`] would answer, as far as the verdict goes, while nothing is charged, not even what
    /// `Over::Record` would record: level, remaining and reset are those of the untouched counter.
    #[must_use]
    pub fn evaluate(&self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        todo!("{limit:?} {now:?} {operation:?}")
    }
}
