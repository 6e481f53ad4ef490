//! Each algorithm by example. That they keep their promises whatever comes is in `tests/algorithms.rs`.

use std::sync::Arc;

use super::Verdict::{Allowed, InsufficientCapacity, NotUntil};
use super::*;
use crate::core::calendar::{CalendarUnit, CalendarWindow};
use crate::core::limit::{LimitParts, Window};

const SECOND: u64 = 1_000_000;

fn parts(algorithm: Algorithm, amount: u64) -> LimitParts {
    LimitParts { algorithm, over: Over::Drop, ..LimitParts::fixed_window(amount, Window::Length(Micros::SECOND)) }
}

fn limit(algorithm: Algorithm, amount: u64) -> Limit {
    Limit::new(parts(algorithm, amount)).unwrap()
}

fn recording(algorithm: Algorithm, amount: u64) -> Limit {
    Limit::new(LimitParts { over: Over::Record, ..parts(algorithm, amount) }).unwrap()
}

fn burst(algorithm: Algorithm, amount: u64, burst: u64) -> Limit {
    Limit::new(LimitParts { burst: Some(burst), ..parts(algorithm, amount) }).unwrap()
}

/// A state, and what it is asked at times in microseconds.
struct Counter(State);

impl Counter {
    fn new(limit: &Limit) -> Self {
        Self(State::fresh(limit))
    }

    fn charge(&mut self, limit: &Limit, time: u64, hits: u64) -> Outcome {
        let now = Now { wall: Micros(time), mono: Micros(time) };
        self.0.apply(limit, now, Operation::Charge(hits))
    }

    fn refund(&mut self, limit: &Limit, time: u64, hits: u64) -> Outcome {
        let now = Now { wall: Micros(time), mono: Micros(time) };
        self.0.apply(limit, now, Operation::Refund(hits))
    }
}

#[test]
fn a_state_is_small() {
    assert!(size_of::<State>() <= 32, "{}", size_of::<State>());
}

#[test]
fn a_fixed_window_starts_anew_at_its_end() {
    let limit = limit(Algorithm::FixedWindow, 3);
    let mut counter = Counter::new(&limit);
    let outcome = counter.charge(&limit, 5 * SECOND + 400_000, 2);
    assert_eq!(outcome, Outcome { verdict: Allowed, level: 2, remaining: 1, reset_after: Micros(600_000) });
    assert_eq!(counter.charge(&limit, 5 * SECOND + 500_000, 2).verdict, NotUntil(Micros(500_000)));
    assert_eq!(counter.charge(&limit, 5 * SECOND + 500_000, 4).verdict, InsufficientCapacity);
    assert_eq!(counter.charge(&limit, 6 * SECOND - 1, 1).verdict, Allowed);
    assert_eq!(counter.charge(&limit, 6 * SECOND, 3).level, 3);
}

#[test]
fn a_fixed_window_never_returns_to_an_earlier_one() {
    let limit = limit(Algorithm::FixedWindow, 1);
    let mut counter = Counter::new(&limit);
    assert!(counter.charge(&limit, 5 * SECOND, 1).allowed());
    assert_eq!(counter.charge(&limit, 2 * SECOND, 1).verdict, NotUntil(Micros::SECOND));
    assert!(counter.charge(&limit, 6 * SECOND, 1).allowed());
}

#[test]
fn a_calendar_window_is_as_long_as_its_day() {
    let calendar = CalendarWindow::new(CalendarUnit::Day, "Europe/Berlin").unwrap();
    let limit = Limit::new(LimitParts::fixed_window(1, Window::Calendar(Arc::new(calendar)))).unwrap();
    let mut counter = Counter::new(&limit);
    // 2026-03-29 00:00 in Berlin, a day of 23 hours.
    let midnight = 1_774_738_800 * SECOND;
    let hours = |hours: u64| Micros::from_secs(3_600 * hours);
    assert_eq!(counter.charge(&limit, midnight, 1).reset_after, hours(23));
    assert_eq!(counter.charge(&limit, midnight + hours(1).0, 1).verdict, NotUntil(hours(22)));
    let next = counter.charge(&limit, midnight + hours(23).0, 1);
    assert_eq!((next.verdict, next.reset_after), (Allowed, hours(24)));
}

#[test]
fn a_log_forgets_each_hit_after_its_window() {
    let limit = limit(Algorithm::SlidingWindowLog, 3);
    let mut counter = Counter::new(&limit);
    assert!(counter.charge(&limit, 100, 1).allowed());
    assert!(counter.charge(&limit, 300, 2).allowed());
    assert_eq!(counter.charge(&limit, 500, 1).verdict, NotUntil(Micros(SECOND - 400)));
    assert_eq!(counter.charge(&limit, 500, 2).verdict, NotUntil(Micros(SECOND - 200)));
    let outcome = counter.charge(&limit, SECOND + 100, 1);
    assert_eq!(outcome, Outcome { verdict: Allowed, level: 3, remaining: 0, reset_after: Micros::SECOND });
    assert_eq!(counter.charge(&limit, SECOND + 300, 0).level, 1);
}

#[test]
fn a_flooded_log_stays_small() {
    let limit = recording(Algorithm::SlidingWindowLog, 100);
    let mut counter = Counter::new(&limit);
    for time in 0..100_000 {
        counter.charge(&limit, time, 1);
        counter.charge(&limit, time, MAX_HITS);
    }
    assert!(counter.0.heap_bytes() < 300 * 16, "{}", counter.0.heap_bytes());
    // And gives its memory back, but for a little.
    counter.charge(&limit, 10 * SECOND, 0);
    for time in 0..10 {
        counter.charge(&limit, (20 + time) * SECOND, 1);
    }
    assert!(counter.0.heap_bytes() < 300, "{}", counter.0.heap_bytes());
}

#[test]
fn a_sliding_counter_weighs_the_window_before() {
    let limit = limit(Algorithm::SlidingWindowCounter, 10);
    let mut counter = Counter::new(&limit);
    assert_eq!(counter.charge(&limit, SECOND / 2, 10).remaining, 0);
    // A quarter into the next window, three quarters of ten are left, rounded up.
    let outcome = counter.charge(&limit, SECOND + SECOND / 4, 2);
    assert_eq!(outcome.level, 10);
    assert_eq!(outcome.reset_after, Micros(SECOND + SECOND * 3 / 4));
    assert_eq!(counter.charge(&limit, SECOND + SECOND / 4, 1).verdict, NotUntil(Micros(SECOND / 20)));
    // Refunds are of this window only.
    assert_eq!(counter.refund(&limit, SECOND + SECOND / 4, 5).level, 8);
}

#[test]
fn a_token_bucket_refills_by_parts_of_a_hit() {
    let limit = burst(Algorithm::TokenBucket, 3, 2);
    let mut counter = Counter::new(&limit);
    assert_eq!(counter.charge(&limit, 7, 2).reset_after, Micros(666_667));
    assert_eq!(counter.charge(&limit, 7, 1).verdict, NotUntil(Micros(333_334)));
    assert_eq!(counter.charge(&limit, 7 + 333_333, 1).verdict, NotUntil(Micros(1)));
    assert!(counter.charge(&limit, 7 + 333_334, 1).allowed());
    // The third of a microsecond too much is not lost: three intervals are a second.
    assert!(counter.charge(&limit, 7 + 666_667, 1).allowed());
    assert!(counter.charge(&limit, 7 + 1_000_000, 1).allowed());
    assert_eq!(counter.charge(&limit, 7, 3).verdict, InsufficientCapacity);
}

#[test]
fn a_leaky_bucket_spaces_hits_equally() {
    let limit = limit(Algorithm::LeakyBucket, 4);
    let mut counter = Counter::new(&limit);
    let passed = (0..SECOND).step_by(10_000).filter(|&time| counter.charge(&limit, time, 1).allowed());
    assert_eq!(passed.collect::<Vec<_>>(), [0, 250_000, 500_000, 750_000]);
}

#[test]
fn a_changed_amount_keeps_what_a_token_bucket_has_consumed_and_what_a_leaky_bucket_has_to_drain() {
    let (before, after) = (burst(Algorithm::TokenBucket, 10, 10), burst(Algorithm::TokenBucket, 20, 20));
    let mut tokens = Counter::new(&before);
    assert_eq!(tokens.charge(&before, 0, 8).reset_after, Micros(800_000));
    let outcome = tokens.charge(&after, 0, 0);
    assert_eq!((outcome.level, outcome.remaining, outcome.reset_after), (8, 12, Micros(400_000)));

    let (before, after) = (burst(Algorithm::LeakyBucket, 10, 10), burst(Algorithm::LeakyBucket, 20, 20));
    let mut leaky = Counter::new(&before);
    assert_eq!(leaky.charge(&before, 0, 8).reset_after, Micros(800_000));
    let outcome = leaky.charge(&after, 0, 0);
    assert_eq!((outcome.level, outcome.remaining, outcome.reset_after), (16, 4, Micros(800_000)));
}

#[test]
fn a_recorded_denial_counts_and_is_waited_for() {
    for (algorithm, wait) in [
        (Algorithm::FixedWindow, SECOND),
        (Algorithm::SlidingWindowLog, SECOND),
        // Ten of ten plus two more: at the next window two thirds of them must have gone.
        (Algorithm::SlidingWindowCounter, SECOND + SECOND.div_ceil(3)),
        // Twelve consumed; two more fit at eight.
        (Algorithm::TokenBucket, SECOND * 4 / 10),
    ] {
        let limit = recording(algorithm, 10);
        let mut counter = Counter::new(&limit);
        assert!(counter.charge(&limit, 0, 10).allowed());
        let outcome = counter.charge(&limit, 0, 2);
        assert_eq!((outcome.verdict, outcome.level), (NotUntil(Micros(wait)), 12), "{algorithm}");
        assert!(!counter.charge(&limit, 0, 0).allowed(), "{algorithm}: a peek above the limit");
        let refunded = counter.refund(&limit, 0, 2);
        assert_eq!((refunded.verdict, refunded.level), (Allowed, 10), "{algorithm}");
        assert!(counter.charge(&limit, 0, 0).allowed(), "{algorithm}: a peek at the limit");
        assert_eq!(counter.refund(&limit, 0, 1_000).level, 0, "{algorithm}: not below nothing");
        assert!(counter.charge(&limit, 0, 10).allowed(), "{algorithm}: un-denied at once");
    }
}

#[test]
fn a_post_paid_charge_always_passes_and_its_peek_only_while_something_is_left() {
    for algorithm in Algorithm::ALL {
        let burst = algorithm.has_burst().then_some(1_000);
        let limit = Limit::new(LimitParts { post_paid: true, amount: 1_000, burst, ..parts(algorithm, 0) }).unwrap();
        let mut counter = Counter::new(&limit);
        for (charge, level) in [(500, 500), (499, 999), (500, 1_499)] {
            assert!(counter.charge(&limit, 0, 0).allowed(), "{algorithm}: something is left");
            let outcome = counter.charge(&limit, 0, charge);
            assert_eq!((outcome.verdict, outcome.level), (Allowed, level), "{algorithm}");
        }
        assert!(!counter.charge(&limit, 0, 0).allowed(), "{algorithm}: nothing is left");
        assert!(counter.charge(&limit, 0, 1).allowed(), "{algorithm}: it has been consumed already");
        counter.refund(&limit, 0, 501);
        let level = counter.charge(&limit, 0, 0).level;
        assert_eq!(counter.charge(&limit, 0, 1_000 - level).level, 1_000, "{algorithm}");
        assert!(!counter.charge(&limit, 0, 0).allowed(), "{algorithm}: at the limit one more would not fit");
    }
}

#[test]
fn an_amount_of_zero_denies_all_but_peeks() {
    for algorithm in Algorithm::ALL {
        for limit in [limit(algorithm, 0), recording(algorithm, 0)] {
            let mut counter = Counter::new(&limit);
            assert!(counter.charge(&limit, 0, 0).allowed(), "{algorithm}");
            assert_eq!(counter.charge(&limit, 0, 1).verdict, InsufficientCapacity, "{algorithm}");
            assert_eq!(counter.charge(&limit, 0, MAX_HITS).remaining, 0, "{algorithm}");
        }
    }
}

#[test]
fn a_bucket_stands_still_while_the_amount_is_zero() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyBucket] {
        let (some, none) = (burst(algorithm, 10, 10), burst(algorithm, 0, 10));
        let mut counter = Counter::new(&some);
        counter.charge(&some, 0, 8);
        let outcome = counter.charge(&none, 0, 1);
        assert_eq!((outcome.verdict, outcome.level), (InsufficientCapacity, 0), "{algorithm}");
        assert!(outcome.reset_after > Micros::ZERO, "{algorithm}: it must not be forgotten");
        assert_eq!(counter.charge(&some, 0, 0).level, 8, "{algorithm}");
    }
}

#[test]
fn a_burst_that_would_take_centuries_to_drain_is_cut() {
    let window = Window::Length(crate::core::limit::MAX_WINDOW);
    let limit = Limit::new(LimitParts { burst: Some(MAX_HITS), window, ..parts(Algorithm::LeakyBucket, 1) }).unwrap();
    let mut counter = Counter::new(&limit);
    assert_eq!(counter.charge(&limit, 0, MAX_HITS).verdict, InsufficientCapacity);
    // 142 years are fourteen times ten years.
    let passed = (0..100).filter(|_| counter.charge(&limit, 0, 1).allowed()).count();
    assert_eq!(passed, 14);
}

#[test]
fn levels_saturate() {
    for algorithm in Algorithm::ALL {
        let limit = recording(algorithm, 10);
        let mut counter = Counter::new(&limit);
        for _ in 0..3 {
            counter.charge(&limit, 0, u64::MAX);
        }
        let outcome = counter.charge(&limit, 0, 0);
        assert!(!outcome.allowed(), "{algorithm}");
        assert!(outcome.level > 10 && outcome.level <= MAX_HITS, "{algorithm}: {}", outcome.level);
    }
}

#[test]
fn the_state_of_another_algorithm_starts_afresh() {
    let (log, tokens) = (limit(Algorithm::SlidingWindowLog, 5), limit(Algorithm::TokenBucket, 5));
    let mut counter = Counter::new(&log);
    counter.charge(&log, 0, 5);
    assert!(counter.0.evaluate(&tokens, Now { wall: Micros(1), mono: Micros(1) }, Operation::Charge(5)).allowed());
    assert_eq!(counter.charge(&tokens, 1, 5).level, 5);
}
