use std::sync::Arc;

use fastrand::Rng;
use smallvec::smallvec;

use super::*;
use crate::core::algorithm::State;
use crate::core::calendar::CalendarWindow;
use crate::core::clock::{ManualClock, Now};
use crate::core::descriptor::Operation;
use crate::core::limit::{Algorithm, MAX_HITS, Over};
use crate::core::spec::FailureMode;
use crate::counters::CounterName;

const SECOND: u64 = 1_000_000;

fn limit_of(algorithm: Algorithm, amount: u64, burst: u64, window: Micros) -> Limit {
    let burst = algorithm.has_burst().then_some(burst);
    let window = Window::Length(window);
    Limit::new(LimitParts { algorithm, burst, over: Over::Drop, ..LimitParts::fixed_window(amount, window) }).unwrap()
}

fn fixed(amount: u64, seconds: u64) -> Limit {
    limit_of(Algorithm::FixedWindow, amount, 0, Micros::from_secs(seconds))
}

fn length(limit: &Limit) -> u64 {
    match limit.window() {
        Window::Length(length) => length.0,
        Window::Calendar(calendar) => panic!("a calendar window: {calendar:?}"),
    }
}

/// Amount, seconds per window, burst.
fn share(limit: &Limit, replicas: u32) -> (u64, f64, u64) {
    let share = share_of(limit, replicas);
    assert_eq!((share.algorithm(), share.over()), (limit.algorithm(), limit.over()));
    (share.amount(), length(&share) as f64 / SECOND as f64, share.capacity())
}

#[test]
fn windows_stay_while_everybody_has_a_whole_hit() {
    assert_eq!(share(&fixed(25, 60), 10), (2, 60.0, 2));
    assert_eq!(share(&fixed(10, 60), 10), (1, 60.0, 1));
    assert_eq!(share(&fixed(5, 60), 10), (1, 120.0, 1));
    assert_eq!(share(&fixed(7, 60), 10), (1, 85.714286, 1));
    assert_eq!(share(&fixed(5, 60), 1), (5, 60.0, 5));
    assert_eq!(share(&fixed(5, 60), 0), (5, 60.0, 5));
    assert_eq!(share(&fixed(0, 60), 10), (0, 60.0, 0));
}

#[test]
fn buckets_keep_their_rate() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyBucket] {
        let bucket = |amount, burst| limit_of(algorithm, amount, burst, Micros::from_secs(60));
        assert_eq!(share(&bucket(25, 50), 10), (2, 48.0, 5));
        assert_eq!(share(&bucket(20, 9), 10), (2, 60.0, 1));
        assert_eq!(share(&bucket(5, 100), 10), (1, 120.0, 10));
    }
}

#[test]
fn calendars_become_plain_where_they_would_be_longer() {
    let calendar = |unit, amount| {
        let window = Window::Calendar(Arc::new(CalendarWindow::new(unit, "Europe/Berlin").unwrap()));
        Limit::new(LimitParts::fixed_window(amount, window)).unwrap()
    };
    let month = calendar(CalendarUnit::Month, 25);
    let shared = share_of(&month, 10);
    assert_eq!((shared.amount(), shared.window()), (2, month.window()));
    for (unit, hours) in
        [(CalendarUnit::Day, 25), (CalendarUnit::Week, 169), (CalendarUnit::Month, 745), (CalendarUnit::Year, 8_785)]
    {
        assert_eq!(share(&calendar(unit, 5), 10), (1, f64::from(hours * 2 * 3_600), 1), "{unit:?}");
    }
}

#[test]
fn windows_end_somewhere() {
    let long = limit_of(Algorithm::TokenBucket, 1, MAX_HITS, MAX_WINDOW);
    let shared = share_of(&long, u32::MAX);
    assert_eq!((shared.amount(), length(&shared)), (1, MAX_WINDOW.0));
    let large = limit_of(Algorithm::TokenBucket, MAX_HITS, MAX_HITS, MAX_WINDOW);
    let shared = share_of(&large, 3);
    assert_eq!((shared.amount(), length(&shared)), (MAX_HITS / 3, MAX_WINDOW.0));
    assert_eq!(length(&share_of(&limit_of(Algorithm::LeakyBucket, MAX_HITS, 1, Micros(1)), 2)), 1);
}

/// The most that all replicas together admit, as the module says.
struct Bound {
    amount: u64,
    burst: u64,
    window: u64,
    replicas: u64,
    /// Of the share.
    length: u64,
    algorithm: Algorithm,
}

impl Bound {
    /// Checks what was admitted, when and how much, in the order of time.
    fn check(&self, admitted: &[(u64, u64)]) {
        let whole = self.amount >= self.replicas;
        let length = if whole { self.window } else { self.length };
        let total = |hits: &[(u64, u64)]| hits.iter().map(|(_, hits)| hits).sum::<u64>();
        let most_in_any = |length: u64| {
            let windows = (0..admitted.len()).map(|last| {
                let since = admitted.partition_point(|(time, _)| time + length <= admitted[last].0);
                total(&admitted[since..=last])
            });
            windows.max().unwrap_or_default()
        };
        match self.algorithm {
            Algorithm::FixedWindow => {
                for window in admitted.chunk_by(|a, b| a.0 / length == b.0 / length) {
                    assert!(total(window) <= if whole { self.amount } else { self.replicas });
                }
            }
            Algorithm::SlidingWindowLog => {
                assert!(most_in_any(length) <= if whole { self.amount } else { self.replicas });
            }
            Algorithm::SlidingWindowCounter => {
                let most = if whole { 2 * self.amount - self.replicas } else { self.replicas };
                assert!(most_in_any(length) <= most);
            }
            Algorithm::TokenBucket | Algorithm::LeakyBucket => {
                for first in 0..admitted.len() {
                    let mut hits = 0;
                    for (time, more) in &admitted[first..] {
                        hits += more;
                        let beyond = hits.saturating_sub(self.burst.max(self.replicas));
                        assert!(beyond * self.window <= (time - admitted[first].0) * self.amount);
                    }
                }
            }
        }
    }
}

/// Floods replicas at random, all of them or a few; what they admitted in the end.
fn flood(rng: &mut Rng, share: &Limit, replicas: u32, horizon: u64) -> Vec<(u64, u64)> {
    // Windows are aligned to this.
    let mut now = length(share) * 1_000;
    let end = now + horizon;
    let mut states = vec![State::fresh(share); replicas as usize];
    let mut admitted = Vec::new();
    while now < end && admitted.len() < 400 {
        now += match rng.u8(..3) {
            0 => rng.u64(..100),
            1 => rng.u64(..length(share) / 4),
            _ => length(share) - now % length(share),
        };
        let few = rng.bool();
        for state in &mut states {
            if few && rng.u8(..3) > 0 {
                continue;
            }
            for _ in 0..rng.u8(1..8) {
                let hits = if rng.bool() { 1 } else { rng.u64(1..4) };
                let present = Now { wall: Micros(now), mono: Micros(now) };
                if state.apply(share, present, Operation::Charge(hits)).allowed() {
                    admitted.push((now, hits));
                }
            }
        }
    }
    admitted
}

#[test]
fn all_replicas_together_keep_to_the_bound() {
    for algorithm in Algorithm::ALL {
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let (amount, burst, replicas) = (rng.u64(1..40), rng.u64(1..60), rng.u32(2..12));
            let window = rng.u64(SECOND..60 * SECOND);
            let limit = limit_of(algorithm, amount, burst, Micros(window));
            let share = share_of(&limit, replicas);
            let case = format!("{algorithm}, seed {seed}: {limit:?} over {replicas}: {share:?}");

            // In the long run.
            let together = share.amount() * u64::from(replicas);
            let (rate, of) =
                (u128::from(together) * u128::from(window), u128::from(amount) * u128::from(length(&share)));
            assert!(rate <= of, "{case}");
            assert!(2 * rate > of, "more than half is left: {case}");
            if algorithm.has_burst() || amount < u64::from(replicas) {
                // To within the microsecond by which the window is rounded up.
                assert!(of - rate < u128::from(amount), "{case}");
            }

            let admitted = flood(&mut rng, &share, replicas, 20 * length(&share));
            assert!(admitted.len() >= replicas as usize, "{case}");
            let replicas = u64::from(replicas);
            let bound = Bound { amount, burst, window, replicas, length: length(&share), algorithm };
            let kept = std::panic::catch_unwind(|| bound.check(&admitted));
            assert!(kept.is_ok(), "{case}");
        }
    }
}

fn counters(clock: &ManualClock) -> LocalCounters<ManualClock> {
    LocalCounters::new(clock.clone(), MemoryOptions::default())
}

fn key<'a>() -> CounterKey<'a> {
    CounterKey { space: 7, name: CounterName::default(), values: smallvec![b"alice" as &[u8]] }
}

/// How many of `hits` pass.
fn passed(counters: &LocalCounters<ManualClock>, limit: &Limit, replicas: u32, hits: usize) -> usize {
    let hit =
        || Hit { key: key(), limit, operation: Operation::Charge(1), enforced: true, failure_mode: FailureMode::Local };
    let passes = |_: &usize| counters.perform(&[hit()], Charge::Independent, replicas)[0].allowed();
    (0..hits).filter(passes).count()
}

#[test]
fn five_a_minute_over_ten_replicas_are_one_per_two_minutes_each() {
    let clock = ManualClock::at(Micros::from_secs(120 * 1_000_000));
    let (counters, limit) = (counters(&clock), fixed(5, 60));
    let per_minute = (0..6).map(|_| {
        let passed = passed(&counters, &limit, 10, 3);
        clock.advance(Micros::from_secs(60));
        passed
    });
    assert_eq!(per_minute.collect::<Vec<_>>(), [1, 0, 1, 0, 1, 0]);
}

#[test]
fn counters_go_on_when_replicas_come_and_go_and_the_window_stays() {
    let clock = ManualClock::at(Micros::from_secs(3_600 * 500_000));
    let (counters, limit) = (counters(&clock), fixed(20, 3_600));
    assert_eq!(passed(&counters, &limit, 4, 10), 5);
    assert_eq!(passed(&counters, &limit, 2, 10), 5, "ten, of which five are gone");
    assert_eq!(passed(&counters, &limit, 4, 10), 0);
    // A longer window is another counter.
    assert_eq!(passed(&counters, &limit, 40, 10), 1);
    assert_eq!(passed(&counters, &limit, 4, 10), 0);
    assert_eq!(counters.live_counters(), 2);
}

#[tokio::test]
async fn a_counter_can_be_reset() {
    let clock = ManualClock::at(Micros::from_secs(3_600 * 500_000));
    let (counters, limit) = (counters(&clock), fixed(5, 3_600));
    assert!(!counters.reset(&key(), &limit, 10).await);
    assert_eq!(passed(&counters, &limit, 10, 2), 1);
    assert!(counters.reset(&key(), &limit, 10).await);
    assert_eq!(passed(&counters, &limit, 10, 2), 1);
}
