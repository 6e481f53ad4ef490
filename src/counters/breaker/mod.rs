//! A circuit breaker for one node of the counter store, shared by all workers.
//!
//! **Closed**, everything passes, at the price of one relaxed load. After [`BreakerOptions::failures`] failures in a
//! row it **opens**: everything is refused at once, without waiting for a node that will not answer. After a pause it
//! is **half-open**: one caller gets to probe, and everybody else is still refused. The probe's success closes the
//! breaker, its failure opens it for twice as long. A probe that nobody reports, because its task was dropped, counts
//! as failed after [`PROBE_EXPIRY`].
//!
//! **Whose report counts.** An [`Admission`] carries what the breaker was when it was given, and a report counts only
//! while the breaker is still that. So the many calls that were on their way when it opened, and fail one after the
//! other, neither lengthen the pause, nor pass for the probe, nor open it again behind a probe's success; and an answer
//! that took until after the pause closes nothing.
//!
//! **No herd, neither way.** Pauses vary at random, so that replicas do not probe in step. And when a probe has
//! succeeded, traffic comes back evenly over [`BreakerOptions::ramp`]: a node that has just started has cold caches,
//! no scripts, and every client connecting to it.
//!
//! All of the state is one word: the kind, and a time. Changes of it are compare-and-swaps, so that of several callers
//! exactly one makes each.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::core::clock::Micros;

/// After this long a probe that nobody reported counts as failed.
pub const PROBE_EXPIRY: Micros = Micros::from_secs(1);
/// Pauses vary by up to this share, in percent, either way.
const JITTER: u64 = 20;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// So many failures in a row open it; 0 counts as 1.
    pub failures: u32,
    /// The first pause.
    pub open_for: Duration,
    /// The longest pause; a shorter one than the first counts as the first.
    pub max_open_for: Duration,
}

impl BreakerOptions {
    /// The longest pause, prolonged as much as may be.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.max_open_for.max(self.open_for).mul_f64(1.0 + JITTER as f64 / 100.0)
    }

    /// How long traffic takes to come back after a probe's success: as long as the first pause.
    #[must_use]
    pub fn ramp(&self) -> Micros {
        self.open_for.into()
    }
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_millis(200), max_open_for: Duration::from_secs(1) }
    }
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Pass(Ticket),
    /// It may, and its result decides whether others may.
    Probe(Ticket),
    /// It may not.
    Refuse,
}

impl Admission {
    /// Whether the call may not be made.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refuse)
    }
}

/// What a breaker was when it let a call pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(Word);

/// For gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// A probe is on its way.
    HalfOpen,
}

/// The whole state: a time in microseconds, and in its lowest two bits what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

impl Word {
    /// Closed from the start. (One that has been closed at the time 0 is as good.)
    const NEW: Self = Self(0);
    const KINDS: u64 = 3;
    /// Closed since.
    const CLOSED: u64 = 0;
    /// Open until.
    const OPEN: u64 = 1;
    /// Half-open: the probe expires at.
    const PROBING: u64 = 2;

    const fn new(kind: u64, time: Micros) -> Self {
        // Monotonic times count from the start of the process, and 62 bits are 146 000 years.
        Self(time.0 << 2 | kind)
    }

    const fn kind(self) -> u64 {
        self.0 & Self::KINDS
    }

    const fn time(self) -> Micros {
        Micros(self.0 >> 2)
    }
}

/// The breaker. Times are readings of one monotonic clock.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    word: AtomicU64,
    /// Failures in a row while closed.
    failures: AtomicU32,
    /// Pauses in a row without a success between.
    pauses: AtomicU32,
    /// Calls that came while traffic was coming back.
    ramped: AtomicU64,
    /// When it opened last.
    since: AtomicU64,
    opened: AtomicU64,
    refused: AtomicU64,
    /// Where the random part of pauses comes from.
    seed: u64,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        Self::with_seed(options, fastrand::u64(..))
    }

    /// A closed breaker whose pauses vary in a known way, for tests that must repeat exactly.
    #[must_use]
    pub const fn with_seed(options: BreakerOptions, seed: u64) -> Self {
        Self {
            options,
            word: AtomicU64::new(Word::NEW.0),
            failures: AtomicU32::new(0),
            pauses: AtomicU32::new(0),
            ramped: AtomicU64::new(0),
            since: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            seed,
        }
    }

    /// Whether a call may be made now. Whoever makes it reports by [`Breaker::succeeded`] or [`Breaker::failed`].
    pub fn admit(&self, now: Micros) -> Admission {
        let word = self.word();
        let admission = match word.kind() {
            Word::CLOSED if word == Word::NEW || self.has_come_back(word, now) => Admission::Pass(Ticket(word)),
            Word::OPEN if now >= word.time() => self.probe(word, now),
            // Nobody knows what became of it. Whoever finds that out does not probe yet.
            Word::PROBING if now >= word.time() => {
                self.open(word, now);
                Admission::Refuse
            }
            _ => Admission::Refuse,
        };
        if admission.is_refused() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admission
    }

    /// A call was answered.
    pub fn succeeded(&self, admission: Admission, now: Micros) {
        match admission {
            // Mostly there is nothing to do, and then nothing is written.
            Admission::Pass(Ticket(word)) if self.failures.load(Ordering::Relaxed) > 0 && self.word() == word => {
                self.failures.store(0, Ordering::Relaxed);
            }
            Admission::Probe(Ticket(word)) => {
                // Nobody else counts while it is half-open.
                self.failures.store(0, Ordering::Relaxed);
                if self.change(word, Word::new(Word::CLOSED, now)) {
                    self.pauses.store(0, Ordering::Relaxed);
                }
            }
            Admission::Pass(_) | Admission::Refuse => {}
        }
    }

    /// A call was not answered, or by an error that blames the node.
    pub fn failed(&self, admission: Admission, now: Micros) {
        match admission {
            Admission::Pass(Ticket(word)) if self.word() == word => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                if failures >= self.options.failures {
                    self.open(word, now);
                }
            }
            Admission::Probe(Ticket(word)) => self.open(word, now),
            Admission::Pass(_) | Admission::Refuse => {}
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.word().kind() {
            Word::CLOSED => BreakerState::Closed,
            Word::OPEN => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// How often it has opened; failed probes open it no more than it is.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Calls refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Since when it has not been closed; `None` when it is.
    #[must_use]
    pub fn open_since(&self) -> Option<Micros> {
        (self.state() != BreakerState::Closed).then(|| Micros(self.since.load(Ordering::Relaxed)))
    }

    fn word(&self) -> Word {
        // Relaxed will do: nothing else is read by what it says.
        Word(self.word.load(Ordering::Relaxed))
    }

    fn change(&self, from: Word, to: Word) -> bool {
        self.word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn probe(&self, word: Word, now: Micros) -> Admission {
        let probing = Word::new(Word::PROBING, now + PROBE_EXPIRY);
        // Else somebody was quicker.
        if self.change(word, probing) { Admission::Probe(Ticket(probing)) } else { Admission::Refuse }
    }

    fn open(&self, word: Word, now: Micros) {
        let number = self.pauses.load(Ordering::Relaxed);
        if self.change(word, Word::new(Word::OPEN, now + self.pause(number))) {
            self.pauses.store(number.saturating_add(1), Ordering::Relaxed);
            if word.kind() == Word::CLOSED {
                self.since.store(now.0, Ordering::Relaxed);
                self.opened.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The pause after `number` others: twice as long as the one before, and a little more or less.
    fn pause(&self, number: u32) -> Micros {
        let first = Micros::from(self.options.open_for).0.max(1);
        let most = Micros::from(self.options.max_open_for).0.max(first);
        let pause = first.saturating_mul(1_u64.checked_shl(number.min(63)).unwrap_or(u64::MAX)).min(most);
        let spread = pause / 100 * JITTER;
        let mut random = fastrand::Rng::with_seed(self.seed ^ self.opened() << 32 ^ u64::from(number));
        Micros((pause - spread).saturating_add(random.u64(0..=2 * spread)).max(1))
    }

    /// Whether this call is among those that may pass `now - since` after a probe's success: a share of them that
    /// grows from none to all. Multiples of the golden ratio pick them evenly, whatever the share.
    fn has_come_back(&self, closed: Word, now: Micros) -> bool {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let (passed, ramp) = (now - closed.time(), self.options.ramp());
        if passed >= ramp {
            return true;
        }
        let turn = self.ramped.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        u128::from(turn) * u128::from(ramp.0) < u128::from(passed.0) << 64
    }
}

#[cfg(test)]
mod tests;
