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
//! - An operation that changes nothing leaves no trace, not even of the time: a peek, a charge that is denied and
//!   dropped, a refund of nothing.
//! - Levels saturate at [`MAX_HITS`]. Time never runs backwards for a counter: a reading earlier than that of its last
//!   change counts as that one. Of the wall clock only the window is remembered, so that a reading earlier than the
//!   window counts as its start, while a step back inside the window is taken as it is.
//! - All arithmetic is in whole numbers and exact; a level that is no whole number reads rounded up, and a wait is
//!   the first microsecond at which the same hits fit, also after what their own denial has recorded.
//! - An amount of 0 admits nothing. A bucket that drains at the rate 0 would never empty: it keeps what it holds, but
//!   records nothing more and reads as empty until the amount is back; then the time in between counts as any other.
//!
//! What becomes of a counter whose limit changes is said at each algorithm.
//!
//! [`Over::Record`]: super::limit::Over::Record
//! [`Over::Drop`]: super::limit::Over::Drop
//! [`MAX_HITS`]: super::limit::MAX_HITS

pub(crate) mod backlog;
mod fixed_window;
mod hold;
mod leaky_bucket;
mod sliding_window_counter;
mod sliding_window_log;
mod token_bucket;

use self::backlog::Backlog;
use super::clock::{Micros, Now};
use super::descriptor::Operation;
use super::limit::{Algorithm, Limit, MAX_HITS, Over};

pub use backlog::MAX_BACKLOG;
pub use fixed_window::FixedWindow;
pub use hold::Hold;
pub use leaky_bucket::LeakyBucket;
pub use sliding_window_counter::SlidingWindowCounter;
pub use sliding_window_log::SlidingWindowLog;
pub use token_bucket::TokenBucket;
use token_bucket::Tokens;

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
pub enum State {
    /// Of a `fixed_window`.
    FixedWindow(FixedWindow),
    /// Of a `sliding_window_log`; boxed, because it is large and rare.
    SlidingWindowLog(Box<SlidingWindowLog>),
    /// Of a `sliding_window_counter`.
    SlidingWindowCounter(SlidingWindowCounter),
    /// Of a `token_bucket`.
    TokenBucket(TokenBucket),
    /// Of a `leaky_bucket`.
    LeakyBucket(LeakyBucket),
}

impl State {
    /// The state of a counter that nothing has been charged to.
    #[must_use]
    pub fn fresh(limit: &Limit) -> Self {
        match limit.algorithm() {
            Algorithm::FixedWindow => Self::FixedWindow(FixedWindow::default()),
            Algorithm::SlidingWindowLog => Self::SlidingWindowLog(Box::default()),
            Algorithm::SlidingWindowCounter => Self::SlidingWindowCounter(SlidingWindowCounter::default()),
            Algorithm::TokenBucket => Self::TokenBucket(TokenBucket::default()),
            Algorithm::LeakyBucket => Self::LeakyBucket(LeakyBucket::default()),
        }
    }

    /// The algorithm it belongs to.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::FixedWindow(_) => Algorithm::FixedWindow,
            Self::SlidingWindowLog(_) => Algorithm::SlidingWindowLog,
            Self::SlidingWindowCounter(_) => Algorithm::SlidingWindowCounter,
            Self::TokenBucket(_) => Algorithm::TokenBucket,
            Self::LeakyBucket(_) => Algorithm::LeakyBucket,
        }
    }

    /// Performs `operation` under `limit` at `now`.
    ///
    /// The state must have been made for a limit with the same algorithm and window; the amount may differ. The state
    /// of another algorithm starts afresh.
    pub fn apply(&mut self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        self.perform(limit, now, &Act::Operation(operation, limit.over()))
    }

    /// Charges `hits` if they fit, or if the limit is post-paid; whatever it says of denied hits, they leave nothing
    /// behind. Also returns what was taken, by which it can be released; `None` when nothing was, and for a log.
    pub fn hold(&mut self, limit: &Limit, now: Now, hits: u64) -> (Outcome, Option<Hold>) {
        let hits = hits.min(MAX_HITS);
        let outcome = self.perform(limit, now, &Act::Operation(Operation::Charge(hits), Over::Drop));
        let bucket = |backlog: &Backlog| Hold::Bucket {
            arrival: backlog.arrival,
            fraction: backlog.fraction,
            amount: limit.amount(),
            hits,
        };
        let held = match self {
            _ if hits == 0 || !outcome.allowed() => None,
            // A bucket that stands still has recorded nothing.
            Self::TokenBucket(_) | Self::LeakyBucket(_) if limit.amount() == 0 => None,
            Self::FixedWindow(meter) => Some(Hold::Window { start: meter.start(), hits }),
            Self::SlidingWindowCounter(meter) => Some(Hold::Window { start: meter.start(), hits }),
            Self::TokenBucket(meter) => Some(bucket(&meter.unpack().backlog)),
            Self::LeakyBucket(meter) => Some(bucket(&meter.0)),
            Self::SlidingWindowLog(_) => None,
        };
        (outcome, held)
    }

    /// Gives back what of `hold` still counts. To be called once for a hold.
    pub fn release(&mut self, limit: &Limit, now: Now, hold: &Hold) -> Outcome {
        self.perform(limit, now, &Act::Release(*hold))
    }

    fn perform(&mut self, limit: &Limit, now: Now, act: &Act) -> Outcome {
        if self.algorithm() != limit.algorithm() {
            *self = Self::fresh(limit);
        }
        match self {
            Self::FixedWindow(meter) => perform(meter, limit, now, act),
            Self::SlidingWindowLog(meter) => {
                let now = meter.present(now);
                perform_settled(&mut **meter, limit, now, act).0
            }
            Self::SlidingWindowCounter(meter) => perform(meter, limit, now, act),
            Self::TokenBucket(packed) => {
                let mut meter = packed.unpack();
                let outcome = perform(&mut meter, limit, now, act);
                *packed = meter.pack();
                outcome
            }
            Self::LeakyBucket(meter) => perform(meter, limit, now, act),
        }
    }

    /// Whether [`State::apply`] would allow it, while nothing is charged, not even what `Over::Record` would record:
    /// wait, level, remaining and reset are those of the untouched counter.
    #[must_use]
    pub fn evaluate(&self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        if self.algorithm() != limit.algorithm() {
            return Self::fresh(limit).evaluate(limit, now, operation);
        }
        match self {
            Self::FixedWindow(meter) => consider(*meter, limit, now, operation),
            // Does without a copy: its answers need no settling.
            Self::SlidingWindowLog(meter) => {
                let now = meter.present(now);
                answer(&**meter, limit, now, judge(&**meter, limit, now, operation, Over::Drop))
            }
            Self::SlidingWindowCounter(meter) => consider(*meter, limit, now, operation),
            Self::TokenBucket(packed) => consider(packed.unpack(), limit, now, operation),
            Self::LeakyBucket(meter) => consider(*meter, limit, now, operation),
        }
    }

    /// A fixed window that began at `start`, with so many hits.
    pub(crate) fn fixed_window(limit: &Limit, start: Micros, count: u64) -> Self {
        Self::FixedWindow(FixedWindow::restore(limit, start, count))
    }

    /// A sliding counter whose window began at `start`, with the hits of the window before and its own.
    pub(crate) fn sliding_window_counter(start: Micros, previous: u64, current: u64) -> Self {
        Self::SlidingWindowCounter(SlidingWindowCounter::restore(start, previous, current))
    }

    /// A log of hits at these times, in order.
    pub(crate) fn log(entries: impl IntoIterator<Item = (Micros, u64)>) -> Self {
        Self::SlidingWindowLog(Box::new(SlidingWindowLog::restore(entries)))
    }

    /// A token bucket that is full at `arrival` and so many `amount`-ths of a microsecond, and last changed at `seen`.
    pub(crate) fn token_bucket(arrival: Micros, fraction: u64, seen: Micros, amount: u64) -> Self {
        Self::TokenBucket(Tokens { backlog: Backlog { arrival, fraction, seen }, amount }.pack())
    }

    /// A leaky bucket that is empty at `arrival` and so many `amount`-ths of a microsecond, and last changed at `seen`.
    pub(crate) fn leaky_bucket(arrival: Micros, fraction: u64, seen: Micros) -> Self {
        Self::LeakyBucket(LeakyBucket(Backlog { arrival, fraction, seen }))
    }

    /// Whether its aligned window has not begun yet by the wall clock, because that clock has been set back.
    #[must_use]
    pub fn is_ahead_of(&self, wall: Micros) -> bool {
        match self {
            Self::FixedWindow(meter) => meter.start() > wall,
            Self::SlidingWindowCounter(meter) => meter.start() > wall,
            Self::SlidingWindowLog(_) | Self::TokenBucket(_) | Self::LeakyBucket(_) => false,
        }
    }

    /// Whether it counts a fixed window that is still running by the wall clock.
    #[must_use]
    pub fn is_running_at(&self, wall: Micros) -> bool {
        matches!(self, Self::FixedWindow(meter) if meter.contains(wall))
    }

    /// Bytes it holds beside its own size.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::SlidingWindowLog(meter) => meter.heap_bytes(),
            _ => 0,
        }
    }
}

/// What the algorithms have in common: something that is filled by charges and empties with time. `settle` comes
/// first and says what time it is for this counter; everything else is asked at that time.
pub(crate) trait Meter {
    /// Brings the state to `now`: windows end, buckets drain. Returns the present on the clock this algorithm goes by.
    fn settle(&mut self, limit: &Limit, now: Now) -> Micros;

    /// Hits consumed, rounded up, at most `MAX_HITS`.
    fn level(&self, limit: &Limit, now: Micros) -> u64;

    /// How long until `hits` more fit, when `before` have been consumed just before: zero when they do now, `None` when
    /// they never will.
    fn wait(&self, limit: &Limit, now: Micros, before: u64, hits: u64) -> Option<Micros>;

    /// Consumes `hits`, at least one, whether they fit or not; whether that changed anything.
    fn charge(&mut self, limit: &Limit, now: Micros, hits: u64) -> bool;

    /// Gives back at most `hits`; whether that changed anything.
    fn refund(&mut self, limit: &Limit, now: Micros, hits: u64) -> bool;

    /// Gives back what of `hold` still counts; whether that changed anything.
    fn release(&mut self, limit: &Limit, now: Micros, hold: &Hold) -> bool;

    /// How long until it is as new.
    fn reset_after(&self, limit: &Limit, now: Micros) -> Micros;
}

/// What is done to a meter.
enum Act {
    /// An operation, where denied charges are recorded or dropped.
    Operation(Operation, Over),
    /// A release.
    Release(Hold),
}

/// Performs an operation on a meter that is a state in another shape.
pub(crate) fn operate<M: Meter>(meter: &mut M, limit: &Limit, now: Now, operation: Operation, over: Over) -> Outcome {
    let now = meter.settle(limit, now);
    perform_settled(meter, limit, now, &Act::Operation(operation, over)).0
}

/// [`State::perform`] for one algorithm, on a copy of the state, so that what changes nothing leaves no trace.
fn perform<M: Meter + Copy>(meter: &mut M, limit: &Limit, now: Now, act: &Act) -> Outcome {
    let mut copy = *meter;
    let now = copy.settle(limit, now);
    let (outcome, changed) = perform_settled(&mut copy, limit, now, act);
    if changed {
        *meter = copy;
    }
    outcome
}

/// Performs an act at the meter's own present; whether it changed anything.
fn perform_settled<M: Meter>(meter: &mut M, limit: &Limit, now: Micros, act: &Act) -> (Outcome, bool) {
    let (verdict, changed) = match *act {
        Act::Operation(operation, over) => {
            let verdict = judge(meter, limit, now, operation, over);
            let changed = match operation {
                Operation::Charge(1..) if verdict != Verdict::Allowed && over == Over::Drop => false,
                Operation::Charge(0) => false,
                Operation::Charge(hits) => meter.charge(limit, now, hits.min(MAX_HITS)),
                Operation::Refund(hits) => meter.refund(limit, now, hits.min(MAX_HITS)),
            };
            (verdict, changed)
        }
        Act::Release(ref hold) => (Verdict::Allowed, meter.release(limit, now, hold)),
    };
    (answer(meter, limit, now, verdict), changed)
}

/// [`State::evaluate`] for one algorithm, on a copy of the state.
pub(crate) fn consider<M: Meter>(mut meter: M, limit: &Limit, now: Now, operation: Operation) -> Outcome {
    let now = meter.settle(limit, now);
    let verdict = judge(&meter, limit, now, operation, Over::Drop);
    answer(&meter, limit, now, verdict)
}

/// The verdict on an operation that is denied and recorded, or denied and dropped.
fn judge<M: Meter>(meter: &M, limit: &Limit, now: Micros, operation: Operation, over: Over) -> Verdict {
    let (hits, recorded) = match operation {
        Operation::Refund(_) => return Verdict::Allowed,
        Operation::Charge(0) if limit.post_paid() => (1, 0),
        Operation::Charge(_) if limit.post_paid() => return Verdict::Allowed,
        Operation::Charge(hits) if over == Over::Record => (hits, hits),
        Operation::Charge(hits) => (hits, 0),
    };
    match meter.wait(limit, now, 0, hits) {
        Some(Micros::ZERO) => Verdict::Allowed,
        // Who is denied and recorded has to wait for that, too.
        Some(_) if recorded > 0 => {
            meter.wait(limit, now, recorded, hits).map_or(Verdict::InsufficientCapacity, Verdict::NotUntil)
        }
        Some(wait) => Verdict::NotUntil(wait),
        None => Verdict::InsufficientCapacity,
    }
}

fn answer<M: Meter>(meter: &M, limit: &Limit, now: Micros, verdict: Verdict) -> Outcome {
    let level = meter.level(limit, now);
    Outcome {
        verdict,
        level,
        remaining: limit.capacity().saturating_sub(level),
        reset_after: meter.reset_after(limit, now),
    }
}

/// The length of a limit's window in microseconds, never zero.
pub(crate) fn window_length(limit: &Limit) -> u64 {
    limit.window().nominal_length().0.max(1)
}

#[cfg(test)]
mod tests;
