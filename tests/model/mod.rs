//! A plain and slow model of the five algorithms. It knows nothing of how the real ones keep their state: it remembers
//! what happened and works everything out anew, and finds waits by trying.

use tidegate::core::algorithm::{Outcome, Verdict};
use tidegate::core::clock::{Micros, Now};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, MAX_HITS, Over};

/// The longest time to drain of a bucket.
const MAX_BACKLOG: u128 = 1 << 52;

/// An exact level: `parts / whole` hits.
#[derive(Clone, Copy, Debug)]
struct Level {
    parts: u128,
    whole: u128,
}

impl Level {
    fn hits(hits: u128) -> Self {
        Self { parts: hits, whole: 1 }
    }

    fn rounded_up(self) -> u64 {
        u64::try_from(self.parts.div_ceil(self.whole)).unwrap_or(u64::MAX).min(MAX_HITS)
    }

    fn is_at_most(self, hits: u64) -> bool {
        self.parts <= u128::from(hits) * self.whole
    }
}

/// Something recorded: hits consumed or given back.
#[derive(Clone, Copy, Debug)]
struct Event {
    /// On the clock the algorithm goes by.
    time: u64,
    operation: Operation,
}

/// One counter.
#[derive(Clone, Debug)]
pub struct Model {
    algorithm: Algorithm,
    window: u64,
    /// The time of the last change; of aligned windows, the start of its window.
    seen: u64,
    now: u64,
    /// Windows: everything ever recorded, in order.
    events: Vec<Event>,
    /// Log: the time of each single hit.
    log: Vec<u64>,
    /// Token bucket: consumed window-ths of a hit. Leaky bucket: time to drain, in `scale`-ths of a microsecond.
    parts: u128,
    scale: u128,
    /// Whether a log forgets what cannot matter any more.
    pub forgets: bool,
}

impl Model {
    pub fn new(limit: &Limit) -> Self {
        Self {
            algorithm: limit.algorithm(),
            window: limit.window().nominal_length().0,
            seen: 0,
            now: 0,
            events: Vec::new(),
            log: Vec::new(),
            parts: 0,
            scale: 1,
            forgets: true,
        }
    }

    /// What the real one should answer.
    pub fn apply(&mut self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        let mut after = self.clone();
        after.observe(limit, now);
        let mut verdict = after.verdict(limit, operation);
        let mut changed = false;
        match operation {
            Operation::Refund(hits) => {
                changed = hits > 0 && after.has_something_to_give_back(limit);
                after.refund(limit, hits);
            }
            Operation::Charge(hits) if hits > 0 && (verdict == Verdict::Allowed || limit.over() == Over::Record) => {
                let denied = verdict != Verdict::Allowed;
                changed = limit.amount() > 0 || !limit.algorithm().has_burst();
                after.record(limit, hits);
                if denied {
                    verdict = after.verdict(limit, operation);
                }
            }
            Operation::Charge(_) => {}
        }
        let outcome = after.outcome(limit, verdict);
        // What changes nothing leaves no trace.
        if changed {
            *self = after;
        }
        outcome
    }

    fn has_something_to_give_back(&self, limit: &Limit) -> bool {
        match self.algorithm {
            Algorithm::SlidingWindowCounter => self.counted_in(u128::from(self.now / self.window)) > 0,
            _ => self.level(limit, 0).parts > 0,
        }
    }

    /// What the real one should answer when nothing is charged.
    pub fn evaluate(&self, limit: &Limit, now: Now, operation: Operation) -> Outcome {
        let mut copy = self.clone();
        copy.observe(limit, now);
        copy.outcome(limit, copy.verdict(limit, operation))
    }

    fn verdict(&self, limit: &Limit, operation: Operation) -> Verdict {
        let hits = match operation {
            Operation::Refund(_) => return Verdict::Allowed,
            Operation::Charge(0) if limit.post_paid() => 1,
            Operation::Charge(_) if limit.post_paid() => return Verdict::Allowed,
            Operation::Charge(hits) => hits,
        };
        let Some(room) = limit.capacity().checked_sub(hits) else { return Verdict::InsufficientCapacity };
        match first(|after| self.level(limit, after).is_at_most(room)) {
            0 => Verdict::Allowed,
            wait => Verdict::NotUntil(Micros(wait)),
        }
    }

    fn outcome(&self, limit: &Limit, verdict: Verdict) -> Outcome {
        let level = self.level(limit, 0).rounded_up();
        let reset_after = match self.algorithm {
            Algorithm::FixedWindow => self.window - self.now % self.window,
            Algorithm::TokenBucket if limit.amount() == 0 => u64::from(self.parts > 0) * self.window,
            Algorithm::LeakyBucket => u64::try_from(self.parts.div_ceil(self.scale)).unwrap_or(u64::MAX),
            _ => first(|after| self.level(limit, after).parts == 0),
        };
        Outcome { verdict, level, remaining: limit.capacity().saturating_sub(level), reset_after: Micros(reset_after) }
    }

    fn observe(&mut self, limit: &Limit, now: Now) {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindowCounter => {
                self.now = now.wall.0.max(self.seen);
                self.seen = self.now - self.now % self.window;
            }
            Algorithm::SlidingWindowLog => {
                self.now = now.mono.0.max(self.log.last().copied().unwrap_or(0));
                let (window, now) = (self.window, self.now);
                self.log.retain(|time| time + window > now);
            }
            Algorithm::TokenBucket => {
                self.now = now.mono.0.max(self.seen);
                if limit.amount() == 0 {
                    return;
                }
                self.parts = self.parts.min(MAX_BACKLOG * u128::from(limit.amount()));
                // Drip by drip.
                for _ in self.seen..self.now {
                    self.parts = self.parts.saturating_sub(limit.amount().into());
                    if self.parts == 0 {
                        break;
                    }
                }
                self.seen = self.now;
            }
            Algorithm::LeakyBucket => {
                self.now = now.mono.0.max(self.seen);
                self.parts = self.parts.saturating_sub(u128::from(self.now - self.seen) * self.scale);
                self.seen = self.now;
                if limit.amount() > 0 {
                    let scale = u128::from(limit.amount());
                    // Whole microseconds stay; of the rest, what can be said in the new scale.
                    self.parts = self.parts / self.scale * scale + (self.parts % self.scale).min(scale - 1);
                    self.scale = scale;
                }
            }
        }
    }

    /// The level a while after now, if nothing happens.
    fn level(&self, limit: &Limit, after: u64) -> Level {
        let time = u128::from(self.now) + u128::from(after);
        let window = u128::from(self.window);
        match self.algorithm {
            Algorithm::FixedWindow => Level::hits(self.counted_in(time / window)),
            Algorithm::SlidingWindowLog => {
                Level::hits(self.log.iter().filter(|hit| u128::from(**hit) + window > time).count() as u128)
            }
            Algorithm::SlidingWindowCounter => {
                let current = self.counted_in(time / window);
                let previous = if time < window { 0 } else { self.counted_in(time / window - 1) };
                Level { parts: previous * (window - time % window) + current * window, whole: window }
            }
            Algorithm::TokenBucket | Algorithm::LeakyBucket if limit.amount() == 0 => Level::hits(0),
            Algorithm::TokenBucket => {
                let drained = u128::from(limit.amount()) * u128::from(after);
                Level { parts: self.parts.saturating_sub(drained), whole: window }
            }
            Algorithm::LeakyBucket => {
                let left = self.parts.saturating_sub(u128::from(after) * self.scale);
                // One hit is window / amount microseconds.
                Level { parts: left, whole: self.scale * window / u128::from(limit.amount()) }
            }
        }
    }

    /// Everything recorded in one aligned window.
    fn counted_in(&self, window: u128) -> u128 {
        let mut count: u64 = 0;
        for event in self.events.iter().filter(|event| u128::from(event.time / self.window) == window) {
            count = match event.operation {
                Operation::Charge(hits) => count.saturating_add(hits).min(MAX_HITS),
                Operation::Refund(hits) => count.saturating_sub(hits),
            };
        }
        count.into()
    }

    fn record(&mut self, limit: &Limit, hits: u64) {
        let amount = u128::from(limit.amount());
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindowCounter => {
                self.events.push(Event { time: self.now, operation: Operation::Charge(hits) });
            }
            Algorithm::SlidingWindowLog => {
                let keep = if self.forgets { amount as usize + 1 } else { usize::MAX };
                self.log.drain(..self.log.len().saturating_sub(keep));
                let counted = if self.forgets { hits.min(limit.amount() + 1) } else { hits };
                self.log.extend(std::iter::repeat_n(self.now, counted as usize));
            }
            Algorithm::TokenBucket | Algorithm::LeakyBucket if amount == 0 => {}
            Algorithm::TokenBucket => {
                self.parts = (self.parts + u128::from(hits) * u128::from(self.window)).min(MAX_BACKLOG * amount);
            }
            Algorithm::LeakyBucket => {
                let interval = self.scale * u128::from(self.window) / amount;
                self.parts = (self.parts + u128::from(hits) * interval).min(MAX_BACKLOG * self.scale);
            }
        }
    }

    fn refund(&mut self, limit: &Limit, hits: u64) {
        let amount = u128::from(limit.amount());
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindowCounter => {
                self.events.push(Event { time: self.now, operation: Operation::Refund(hits) });
            }
            Algorithm::SlidingWindowLog => {
                self.log.drain(..self.log.len().min(usize::try_from(hits).unwrap_or(usize::MAX)));
            }
            Algorithm::TokenBucket | Algorithm::LeakyBucket if amount == 0 => {}
            Algorithm::TokenBucket => {
                self.parts = self.parts.saturating_sub(u128::from(hits) * u128::from(self.window));
            }
            Algorithm::LeakyBucket => {
                let interval = self.scale * u128::from(self.window) / amount;
                self.parts = self.parts.saturating_sub(u128::from(hits) * interval);
            }
        }
    }
}

/// The smallest time for which `holds`, which once true stays so; the largest time there is when none is found.
fn first(holds: impl Fn(u64) -> bool) -> u64 {
    if holds(0) {
        return 0;
    }
    let mut not = 0;
    let mut does = 1;
    while does < u64::MAX && !holds(does) {
        not = does;
        does = does.saturating_mul(2);
    }
    while does - not > 1 {
        let middle = not + (does - not) / 2;
        if holds(middle) {
            does = middle;
        } else {
            not = middle;
        }
    }
    does
}
