//! A circuit breaker for one node of the counter store, shared by all workers.
//!
//! Closed, everything passes, at the price of one relaxed load. After [`BreakerOptions::failures`] failures in a row it
//! opens: everything is refused at once, without waiting for a node that will not answer. After a pause one caller gets
//! to probe; its success closes the breaker, its failure opens it for twice as long. A probe that is never reported
//! counts as failed after [`PROBE_EXPIRY`]. Pauses vary at random, so that replicas do not probe in step.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::core::clock::Micros;

/// After this long a probe that nobody reported is given to somebody else.
const PROBE_EXPIRY: Micros = Micros::from_secs(1);
/// Pauses vary by up to this share, in percent, either way.
const JITTER: u64 = 20;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// So many failures in a row open it; at least 1.
    pub failures: u32,
    /// The first pause.
    pub open_for: Duration,
    /// The longest pause.
    pub max_open_for: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_millis(200), max_open_for: Duration::from_secs(5) }
    }
}

impl BreakerOptions {
    /// The longest pause, prolonged as much as may be.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.max_open_for.max(self.open_for).mul_f64(1.0 + JITTER as f64 / 100.0)
    }
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Pass,
    /// It may, and its result decides whether others may.
    Probe,
    /// It may not.
    Refuse,
}

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

/// The breaker. Times are readings of one monotonic clock.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    /// Failures in a row.
    failures: AtomicU32,
    /// Until when calls are refused, in microseconds; 0 when closed. Moved on by who takes the probe.
    until: AtomicU64,
    /// The present pause, in microseconds.
    pause: AtomicU64,
    /// Whether a probe is on its way.
    probing: AtomicU32,
    /// When it opened.
    since: AtomicU64,
    opened: AtomicU64,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        Self {
            options,
            failures: AtomicU32::new(0),
            until: AtomicU64::new(0),
            pause: AtomicU64::new(0),
            probing: AtomicU32::new(0),
            since: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        }
    }

    /// Whether a call may be made now. Whoever gets a [`Admission::Probe`] should report how it went.
    pub fn admit(&self, now: Micros) -> Admission {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return Admission::Pass;
        }
        if now.0 < until {
            return Admission::Refuse;
        }
        let next = (now + PROBE_EXPIRY).0;
        match self.until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => {
                self.probing.store(1, Ordering::Relaxed);
                Admission::Probe
            }
            // Somebody else has it.
            Err(_) => Admission::Refuse,
        }
    }

    /// A call was answered.
    pub fn succeeded(&self, _: Micros) {
        // Mostly nothing to do, and then nothing is written.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.until.load(Ordering::Relaxed) > 0 {
            self.probing.store(0, Ordering::Relaxed);
            self.pause.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Release);
        }
    }

    /// A call was not answered, or by an error that blames the node.
    pub fn failed(&self, now: Micros) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let until = self.until.load(Ordering::Relaxed);
        let probed = self.probing.swap(0, Ordering::Relaxed) == 1;
        // Calls that were on their way when it opened change nothing.
        if (until == 0 && failures >= self.options.failures) || probed {
            self.open(now, until);
        }
    }

    fn open(&self, now: Micros, seen: u64) {
        let pause = self.pause.load(Ordering::Relaxed);
        let first = Micros::from(self.options.open_for).0.max(1);
        let most = Micros::from(self.options.max_open_for).0.max(first);
        let pause = if pause == 0 { first } else { pause.saturating_mul(2).min(most) };
        let jitter = pause * JITTER / 100;
        let until = (now.0 + pause - jitter + fastrand::u64(0..=2 * jitter)).max(1);
        if self.until.compare_exchange(seen, until, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.pause.store(pause, Ordering::Relaxed);
            if seen == 0 {
                self.since.store(now.0, Ordering::Relaxed);
                self.opened.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match (self.until.load(Ordering::Relaxed), self.probing.load(Ordering::Relaxed)) {
            (0, _) => BreakerState::Closed,
            (_, 0) => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// How often it has opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Since when it has been open; `None` when it is closed.
    #[must_use]
    pub fn open_since(&self) -> Option<Micros> {
        (self.state() != BreakerState::Closed).then(|| Micros(self.since.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const OPTIONS: BreakerOptions =
        BreakerOptions { failures: 3, open_for: Duration::from_millis(100), max_open_for: Duration::from_millis(400) };

    fn at(millis: u64) -> Micros {
        Micros::from_millis(millis)
    }

    fn opened(now: Micros) -> Breaker {
        let breaker = Breaker::new(OPTIONS);
        (0..3).for_each(|_| breaker.failed(now));
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let breaker = Breaker::new(OPTIONS);
        for _ in 0..10 {
            breaker.failed(at(1));
            breaker.failed(at(1));
            breaker.succeeded(at(1));
        }
        assert_eq!(
            (breaker.admit(at(2)), breaker.state(), breaker.opened()),
            (Admission::Pass, BreakerState::Closed, 0)
        );
        (0..3).for_each(|_| breaker.failed(at(2)));
        assert_eq!((breaker.admit(at(3)), breaker.opened(), breaker.open_since()), (Admission::Refuse, 1, Some(at(2))));
    }

    #[test]
    fn after_the_pause_one_may_probe() {
        let breaker = opened(at(1_000));
        assert_eq!(breaker.admit(at(1_079)), Admission::Refuse);
        assert_eq!(breaker.admit(at(1_121)), Admission::Probe);
        assert_eq!((breaker.admit(at(1_122)), breaker.state()), (Admission::Refuse, BreakerState::HalfOpen));
        breaker.succeeded(at(1_123));
        assert_eq!((breaker.admit(at(1_124)), breaker.open_since()), (Admission::Pass, None));
    }

    #[test]
    fn failed_probes_double_the_pause_up_to_the_longest() {
        let breaker = opened(at(0));
        let mut now = 0;
        for pause in [100, 200, 400, 400] {
            assert_eq!(breaker.admit(at(now + pause * 79 / 100)), Admission::Refuse);
            now += pause * 121 / 100;
            assert_eq!(breaker.admit(at(now)), Admission::Probe, "{pause}");
            breaker.failed(at(now));
        }
        assert_eq!(breaker.opened(), 1);
        now += 500;
        assert_eq!(breaker.admit(at(now)), Admission::Probe);
        breaker.succeeded(at(now));
        (0..3).for_each(|_| breaker.failed(at(now)));
        assert_eq!(breaker.admit(at(now + 121)), Admission::Probe, "the first pause again");
    }

    #[test]
    fn late_failures_of_calls_under_way_change_nothing() {
        let breaker = opened(at(0));
        (0..100).for_each(|_| breaker.failed(at(50)));
        assert_eq!(breaker.admit(at(121)), Admission::Probe);
    }

    #[test]
    fn a_probe_that_nobody_reports_is_given_again() {
        let breaker = opened(at(0));
        assert_eq!(breaker.admit(at(200)), Admission::Probe);
        assert_eq!(breaker.admit(at(1_199)), Admission::Refuse);
        assert_eq!(breaker.admit(at(1_201)), Admission::Probe);
    }

    #[test]
    fn of_many_threads_one_probes() {
        for round in 0..100 {
            let breaker = opened(at(0));
            let probes = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        if breaker.admit(at(200)) == Admission::Probe {
                            probes.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(probes.into_inner(), 1, "{round}");
        }
    }
}
