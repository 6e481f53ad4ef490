use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use smallvec::smallvec;

use super::*;
use crate::core::algorithm::State;
use crate::core::calendar::{CalendarUnit, CalendarWindow};
use crate::core::clock::{ManualClock, Now};
use crate::core::descriptor::Operation;
use crate::core::limit::{Algorithm, MAX_HITS, Over};
use crate::core::spec::FailureMode;
use crate::counters::CounterName;

const MINUTE: Micros = Micros::from_secs(60);

fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(20_260_102), failure_persistence: None, ..Config::default() }
}

fn parts(algorithm: Algorithm, amount: u64) -> LimitParts {
    LimitParts { algorithm, over: Over::Drop, ..LimitParts::fixed_window(amount, Window::Length(MINUTE)) }
}

fn limit(algorithm: Algorithm, amount: u64) -> Limit {
    Limit::new(parts(algorithm, amount)).unwrap()
}

/// Amount, window in seconds, capacity.
fn numbers(limit: &Limit) -> (u64, u64, u64) {
    (limit.amount(), limit.window().nominal_length().as_secs_ceil(), limit.capacity())
}

#[test]
fn shares_by_example() {
    for algorithm in Algorithm::ALL {
        let share = |amount, replicas| numbers(&share_of(&limit(algorithm, amount), replicas));
        let (buckets, leaky) = (algorithm.has_burst(), algorithm == Algorithm::LeakyBucket);
        assert_eq!(share(5, 10), (1, 120, 1), "{algorithm}");
        assert_eq!(share(1, 10), (1, 600, 1), "{algorithm}");
        assert_eq!(share(10, 10), (1, 60, 1), "{algorithm}");
        assert_eq!(share(25, 10), (2, if buckets { 48 } else { 60 }, if leaky { 1 } else { 2 }), "{algorithm}");
        assert_eq!(share(0, 10), (0, 60, 0), "{algorithm}");
        for replicas in [0, 1] {
            assert_eq!(share_of(&limit(algorithm, 5), replicas), limit(algorithm, 5), "{algorithm}");
        }
    }
    let burst = Limit::new(LimitParts { burst: Some(35), ..parts(Algorithm::TokenBucket, 100) }).unwrap();
    assert_eq!(numbers(&share_of(&burst, 10)), (10, 60, 3));
    assert_eq!(numbers(&share_of(&burst, 50)), (2, 60, 1));
}

#[test]
fn a_share_keeps_what_it_does_not_divide() {
    for (over, post_paid) in [(Over::Record, false), (Over::Record, true), (Over::Drop, true)] {
        for algorithm in Algorithm::ALL {
            let limit = Limit::new(LimitParts { over, post_paid, ..parts(algorithm, 50) }).unwrap();
            let share = share_of(&limit, 7);
            assert_eq!((share.algorithm(), share.over(), share.post_paid()), (algorithm, over, post_paid));
        }
    }
}

#[test]
fn a_calendar_window_stays_while_there_is_a_hit_for_everybody() {
    let month = Window::Calendar(Arc::new(CalendarWindow::new(CalendarUnit::Month, "Europe/Berlin").unwrap()));
    let limit = Limit::new(LimitParts::fixed_window(20, month.clone())).unwrap();
    let share = share_of(&limit, 20);
    assert_eq!((share.amount(), share.window()), (1, &month));
    // 21 twentieths of the longest month, in which clocks are set back once.
    let share = share_of(&limit, 21);
    assert_eq!((share.amount(), share.window()), (1, &Window::Length(Micros::from_secs(745 * 3_600 / 20 * 21))));
    let calendar = |unit| Window::Calendar(Arc::new(CalendarWindow::new(unit, "UTC").unwrap()));
    for (unit, hours) in [(CalendarUnit::Day, 25), (CalendarUnit::Week, 169), (CalendarUnit::Year, 8_785)] {
        let limit = Limit::new(LimitParts::fixed_window(1, calendar(unit))).unwrap();
        assert_eq!(numbers(&share_of(&limit, 2)), (1, 2 * 3_600 * hours, 1), "{unit:?}");
    }
}

#[test]
fn extremes_are_bounded() {
    for algorithm in Algorithm::ALL {
        let most = if algorithm == Algorithm::SlidingWindowLog { 10_000 } else { MAX_HITS };
        for (amount, window) in [(1, MAX_WINDOW), (most, MAX_WINDOW), (most, Micros(1)), (1, Micros(1))] {
            let parts = LimitParts { window: Window::Length(window), ..parts(algorithm, amount) };
            let limit = Limit::new(parts).unwrap();
            for replicas in [2, 3, u32::MAX] {
                let share = share_of(&limit, replicas);
                assert!(share.window().nominal_length() <= MAX_WINDOW);
                assert_eq!(share.amount(), (amount / u64::from(replicas)).max(1), "{algorithm} {amount} {replicas}");
            }
        }
        let yearly = Limit::new(LimitParts { window: Window::Length(MAX_WINDOW), ..parts(algorithm, 1) }).unwrap();
        assert_eq!(share_of(&yearly, 2).window(), &Window::Length(MAX_WINDOW));
    }
}

fn any_limit() -> impl Strategy<Value = Limit> {
    let amount = prop_oneof![1..=40_u64, 41..=10_000_u64];
    let window = prop_oneof![Just(1_u64), 2..=2_000_u64, Just(1_000_000), 1_000_000..=600_000_000_u64];
    (prop::sample::select(&Algorithm::ALL), amount, 1..=60_u64, window).prop_map(
        |(algorithm, amount, burst, window)| {
            let burst = algorithm.has_burst().then_some(burst);
            let window = Window::Length(Micros(window));
            Limit::new(LimitParts { burst, window, ..parts(algorithm, amount) }).unwrap()
        },
    )
}

/// Hits admitted by each of `replicas`, each of which is asked at times of its own, as `(time, hits)`.
fn admitted(share: &Limit, replicas: u32, asked: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut states: Vec<_> = (0..replicas).map(|_| State::fresh(share)).collect();
    let window = share.window().nominal_length().0;
    let mut time = window * 60;
    let mut admitted = Vec::new();
    for (number, (step, hits)) in asked.iter().enumerate() {
        // From nothing to some windows, and often to the edges of one.
        time += match step % 8 {
            0 => 0,
            1 => 1,
            2 => window - time % window,
            3 => window - time % window - 1,
            4 => window,
            _ => step % (window * 2 / 3 + 2),
        };
        // Everybody is asked, or one: far too much, or little.
        let asked = if number % 3 == 0 { vec![number % states.len()] } else { (0..states.len()).collect() };
        for replica in asked {
            let now = Now { wall: Micros(time), mono: Micros(time) };
            for hits in [*hits, share.capacity(), 1] {
                if states[replica].apply(share, now, Operation::Charge(hits)).allowed() {
                    admitted.push((time, hits));
                }
            }
        }
    }
    admitted
}

/// The most hits in any span of less than `t`.
fn most_within(admitted: &[(u64, u64)], t: u64) -> u64 {
    let (mut most, mut sum, mut first) = (0, 0, 0);
    for (time, hits) in admitted {
        sum += hits;
        while admitted[first].0 + t <= *time {
            sum -= admitted[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

fn most_aligned(admitted: &[(u64, u64)], window: u64) -> u64 {
    let mut sums = std::collections::BTreeMap::<u64, u64>::new();
    admitted.iter().for_each(|(time, hits)| *sums.entry(time / window).or_default() += hits);
    sums.into_values().max().unwrap_or_default()
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn all_shares_together_are_never_faster_than_the_limit(limit in any_limit(), replicas in 1..=300_u32) {
        let share = share_of(&limit, replicas);
        let window = |limit: &Limit| u128::from(limit.window().nominal_length().0);
        let together = u128::from(share.amount()) * u128::from(replicas);
        prop_assert!(together * window(&limit) <= u128::from(limit.amount()) * window(&share));
        // Nor slower than whole hits and whole microseconds make them.
        if limit.algorithm().has_burst() || limit.amount() < u64::from(replicas) {
            prop_assert!(together * window(&limit) > u128::from(limit.amount()) * (window(&share) - 1));
        } else {
            prop_assert!(together > u128::from(limit.amount()) - u128::from(replicas));
            prop_assert_eq!(share.window(), limit.window());
        }
        prop_assert!(share.capacity() * u64::from(replicas) <= limit.capacity().max(u64::from(replicas)));
    }

    #[test]
    fn what_all_replicas_admit_keeps_to_the_bound(
        limit in any_limit(),
        replicas in 1..=12_u32,
        asked in prop::collection::vec((any::<u32>().prop_map(u64::from), 1..=6_u64), 1..60),
        span in 0..=3_000_u64,
    ) {
        let share = share_of(&limit, replicas);
        let admitted = admitted(&share, replicas, &asked);
        let n = u64::from(replicas);
        let (a, w, b) = (share.amount(), share.window().nominal_length().0, share.capacity());
        let (amount, window) = (limit.amount(), limit.window().nominal_length().0);
        // Up to three windows.
        let t = (w * span / 1_000).max(1);
        let most = most_within(&admitted, t);
        match limit.algorithm() {
            Algorithm::FixedWindow | Algorithm::SlidingWindowCounter => {
                prop_assert!(most_aligned(&admitted, w) <= n * a);
                prop_assert!(most <= n * a * (t.div_ceil(w) + 1));
                if amount >= n {
                    prop_assert!(most_aligned(&admitted, window) <= amount, "the limit's own promise");
                }
            }
            Algorithm::SlidingWindowLog => {
                prop_assert!(most <= n * a * t.div_ceil(w));
                if amount >= n {
                    prop_assert!(most_within(&admitted, window) <= amount, "the limit's own promise");
                }
            }
            Algorithm::TokenBucket | Algorithm::LeakyBucket => {
                let rated = |burst: u64, rate: u64, window: u64| {
                    u128::from(burst) + u128::from(rate) * u128::from(t) / u128::from(window)
                };
                prop_assert!(u128::from(most) <= rated(n * b, n * a, w));
                prop_assert!(u128::from(most) <= rated(n * b, amount, window));
                if limit.capacity() >= n {
                    prop_assert!(u128::from(most) <= rated(limit.capacity(), amount, window), "its own promise");
                }
            }
        }
    }
}

fn counters() -> (ManualClock, LocalCounters<ManualClock>) {
    let clock = ManualClock::at(Micros::from_secs(1_700_000_040));
    let counters = LocalCounters::new(clock.clone(), MemoryOptions { max_counters: 100 });
    (clock, counters)
}

fn passes(counters: &LocalCounters<ManualClock>, limit: &Limit, replicas: u32) -> bool {
    let key = CounterKey { space: 1, name: CounterName::default(), values: smallvec![b"client".as_slice()] };
    let operation = Operation::Charge(1);
    let hit = Hit { key, limit, operation, enforced: true, failure_mode: FailureMode::Local };
    counters.perform(&[hit], Charge::Independent, replicas)[0].allowed()
}

#[test]
fn five_a_minute_over_ten_replicas_is_one_per_two_minutes_each() {
    let (clock, counters) = counters();
    let limit = limit(Algorithm::SlidingWindowLog, 5);
    let passed = (0..600)
        .filter(|_| {
            clock.advance(Micros::SECOND);
            passes(&counters, &limit, 10)
        })
        .count();
    assert_eq!(passed, 5);
}

#[test]
fn while_the_window_stays_another_number_of_replicas_finds_the_same_counter() {
    let (_, counters) = counters();
    let limit = limit(Algorithm::FixedWindow, 20);
    assert_eq!((0..20).filter(|_| passes(&counters, &limit, 10)).count(), 2);
    assert!(!passes(&counters, &limit, 20));
    assert_eq!((0..20).filter(|_| passes(&counters, &limit, 5)).count(), 2, "four each, of which two are used");
    assert_eq!((0..40).filter(|_| passes(&counters, &limit, 1)).count(), 16);
    assert_eq!(counters.live_counters(), 1);
}

#[test]
fn a_counter_of_another_window_is_another_counter() {
    let (_, counters) = counters();
    let limit = limit(Algorithm::FixedWindow, 5);
    for replicas in [10, 20, 10, 20] {
        passes(&counters, &limit, replicas);
        assert!(!passes(&counters, &limit, replicas), "{replicas}");
    }
    assert_eq!(counters.live_counters(), 2);
}

#[tokio::test]
async fn a_reset_forgets_the_counter() {
    let (_, counters) = counters();
    let limit = limit(Algorithm::FixedWindow, 5);
    let key = CounterKey { space: 1, name: CounterName::default(), values: smallvec![b"client".as_slice()] };
    assert!(passes(&counters, &limit, 10));
    assert!(!counters.reset(&key, &limit, 20).await, "that is another one");
    assert!(counters.reset(&key, &limit, 10).await);
    assert!(passes(&counters, &limit, 10));
}
