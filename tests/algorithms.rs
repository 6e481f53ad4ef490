//! The five algorithms against a slow reference model, and against their promises.
#![allow(clippy::unwrap_used, clippy::panic)]

mod model;

use model::Model;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use tidegate::core::algorithm::{State, Verdict};
use tidegate::core::clock::{Micros, Now};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, MAX_HITS, Over, Window};

/// The same cases with every run.
fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(20_260_101), failure_persistence: None, ..Config::default() }
}

/// What a limit may change into while its counter stays.
#[derive(Clone, Debug)]
struct Amounts {
    amount: u64,
    burst: u64,
    over: Over,
    post_paid: bool,
}

/// One step of a schedule: time passes, the clock may be set, the limit may change, then something is done.
#[derive(Clone, Debug)]
struct Step {
    advance: u64,
    set_wall_by: i64,
    change: Option<Amounts>,
    operation: Operation,
}

#[derive(Clone, Debug)]
struct Schedule {
    algorithm: Algorithm,
    window: u64,
    start: u64,
    amounts: Amounts,
    steps: Vec<Step>,
}

impl Schedule {
    fn limit(&self, amounts: &Amounts) -> Limit {
        Limit::new(LimitParts {
            amount: amounts.amount,
            window: Window::Length(Micros(self.window)),
            algorithm: self.algorithm,
            burst: self.algorithm.has_burst().then_some(amounts.burst),
            over: amounts.over,
            post_paid: amounts.post_paid,
        })
        .unwrap()
    }
}

fn amounts(over: impl Strategy<Value = Over>, post_paid: f64) -> impl Strategy<Value = Amounts> {
    let amount = prop_oneof![1 => Just(0), 12 => 1..=12_u64, 2 => 90..=110_u64];
    (amount, 1..=15_u64, over, prop::bool::weighted(post_paid)).prop_map(|(amount, burst, over, post_paid)| Amounts {
        amount,
        burst,
        over,
        post_paid,
    })
}

fn operation(algorithm: Algorithm) -> impl Strategy<Value = Operation> {
    // What the model of the log does not forget, it keeps hit by hit.
    let huge = if algorithm == Algorithm::SlidingWindowLog { 200..=500_u64 } else { 1 << 40..=MAX_HITS };
    prop_oneof![
        10 => Just(Operation::Charge(1)),
        6 => (2..=6_u64).prop_map(Operation::Charge),
        4 => Just(Operation::Charge(0)),
        3 => (0..=5_u64).prop_map(Operation::Refund),
        1 => (7..=120_u64).prop_map(Operation::Charge),
        1 => huge.prop_flat_map(|huge| prop_oneof![Just(Operation::Charge(huge)), Just(Operation::Refund(huge))]),
    ]
}

/// Any schedule at all.
fn schedule(algorithm: Algorithm) -> BoxedStrategy<Schedule> {
    let over = || prop_oneof![Just(Over::Record), Just(Over::Drop)];
    let window = prop_oneof![1..=10_u64, 90..=110_u64, Just(1_000_u64), 5_000..=20_000_u64];
    (window, 0..=1_000_000_000_u64, amounts(over(), 0.1))
        .prop_flat_map(move |(window, start, amounts_first)| {
            let advance = prop_oneof![
                3 => Just(0),
                2 => Just(1),
                6 => 0..=window / 8 + 1,
                3 => 0..=window + 1,
                1 => 0..=window * 3,
            ];
            let back = i64::try_from(window * 3).unwrap();
            let set_wall_by = prop_oneof![15 => Just(0), 1 => -back..=back];
            let change = prop::option::weighted(0.08, amounts(over(), 0.1));
            let step = (advance, set_wall_by, change, operation(algorithm))
                .prop_map(|(advance, set_wall_by, change, operation)| Step { advance, set_wall_by, change, operation });
            prop::collection::vec(step, 1..60).prop_map(move |steps| Schedule {
                algorithm,
                window,
                start: start + 3 * window * 60,
                amounts: amounts_first.clone(),
                steps,
            })
        })
        .boxed()
}

/// Runs a schedule in the real state and in the model; they agree in everything at every step.
fn agrees_with_the_model(schedule: &Schedule) {
    let mut limit = schedule.limit(&schedule.amounts);
    let mut state = State::fresh(&limit);
    let mut model = Model::new(&limit);
    let mut now = Now { wall: Micros(schedule.start), mono: Micros::ZERO };
    for (number, step) in schedule.steps.iter().enumerate() {
        now.mono = now.mono + Micros(step.advance);
        now.wall = Micros((now.wall.0 + step.advance).saturating_add_signed(step.set_wall_by));
        if let Some(amounts) = &step.change {
            limit = schedule.limit(amounts);
        }
        let before = state.clone();
        let evaluated = state.evaluate(&limit, now, step.operation);
        assert_eq!(state, before, "step {number}: evaluate changes nothing");
        assert_eq!(evaluated, model.evaluate(&limit, now, step.operation), "step {number}: {step:?} evaluated");

        let applied = state.apply(&limit, now, step.operation);
        assert_eq!(applied, model.apply(&limit, now, step.operation), "step {number}: {step:?} applied");
        assert_eq!(applied.allowed(), evaluated.allowed(), "step {number}: evaluate says what apply does");

        // A wait that is longer than time goes on reads as the longest there is.
        if let Verdict::NotUntil(wait) = applied.verdict
            && wait.0 < u64::MAX / 2
        {
            assert_ne!(wait, Micros::ZERO, "step {number}");
            // On a clock that is behind what the counter has seen, waits count from what it has seen.
            let after = |wait: Micros| {
                let behind = Micros(behind(&state, schedule.window, now));
                Now { wall: now.wall + behind + wait, mono: now.mono + wait }
            };
            assert!(
                state.evaluate(&limit, after(wait), step.operation).allowed(),
                "step {number}: passes after {wait:?}"
            );
            let early = after(wait - Micros(1));
            assert!(!state.evaluate(&limit, early, step.operation).allowed(), "step {number}: not a moment before");
        }
    }
}

/// How far the wall clock is behind the start of the counter's window.
fn behind(state: &State, window: u64, now: Now) -> u64 {
    (0..=600 * window).find(|by| !state.is_ahead_of(now.wall + Micros(*by))).unwrap()
}

macro_rules! against_the_model {
    ($($name:ident: $algorithm:ident;)*) => {$(
        proptest! {
            #![proptest_config(config(400))]
            #[test]
            fn $name(schedule in schedule(Algorithm::$algorithm)) {
                agrees_with_the_model(&schedule);
            }
        }
    )*};
}

against_the_model! {
    fixed_window_agrees_with_the_model: FixedWindow;
    sliding_window_log_agrees_with_the_model: SlidingWindowLog;
    sliding_window_counter_agrees_with_the_model: SlidingWindowCounter;
    token_bucket_agrees_with_the_model: TokenBucket;
    leaky_bucket_agrees_with_the_model: LeakyBucket;
}

/// A limit of one algorithm that drops what does not fit.
fn limit(algorithm: Algorithm, amount: u64, window: u64, burst: Option<u64>) -> Limit {
    Limit::new(LimitParts {
        amount,
        window: Window::Length(Micros(window)),
        algorithm,
        burst,
        over: Over::Drop,
        post_paid: false,
    })
    .unwrap()
}

/// Charges, with the time between them.
fn charges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let gap = prop_oneof![3 => Just(0_u64), 4 => 1..=12_u64, 1 => 1..=300_u64];
    let cost = prop_oneof![6 => Just(1_u64), 2 => 2..=5_u64];
    prop::collection::vec((gap, cost), 1..200)
}

/// Performs charges, and returns when each accepted hit was accepted.
fn accepted(limit: &Limit, start: u64, charges: &[(u64, u64)]) -> Vec<u64> {
    let mut state = State::fresh(limit);
    let mut time = start;
    let mut accepted = Vec::new();
    for &(gap, cost) in charges {
        time += gap;
        let now = Now { wall: Micros(time), mono: Micros(time) };
        if state.apply(limit, now, Operation::Charge(cost)).allowed() {
            accepted.extend(std::iter::repeat_n(time, cost as usize));
        }
    }
    accepted
}

/// The most hits in any span `(t - length, t]`. It is enough to look at spans that end with a hit.
fn most_in_any(accepted: &[u64], length: u64) -> u64 {
    let within = |end: u64| accepted.iter().filter(|&&time| time <= end && time + length > end).count() as u64;
    accepted.iter().map(|&end| within(end)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_log_never_admits_more_than_the_limit_in_any_window(
        amount in 1..20_u64, window in 1..200_u64, start in 0..1_000_u64, charges in charges(),
    ) {
        let limit = limit(Algorithm::SlidingWindowLog, amount, window, None);
        let accepted = accepted(&limit, start, &charges);
        prop_assert!(most_in_any(&accepted, window) <= amount);
    }

    #[test]
    fn a_fixed_window_never_admits_more_than_the_limit_in_its_window_nor_twice_in_any(
        amount in 1..20_u64, window in 1..200_u64, start in 0..1_000_u64, charges in charges(),
    ) {
        let limit = limit(Algorithm::FixedWindow, amount, window, None);
        let accepted = accepted(&limit, start, &charges);
        for number in 0..=accepted.last().map_or(0, |last| last / window) {
            prop_assert!(accepted.iter().filter(|&&time| time / window == number).count() as u64 <= amount);
        }
        prop_assert!(most_in_any(&accepted, window) <= 2 * amount);
    }

    #[test]
    fn a_sliding_counter_keeps_its_error_bound(
        amount in 1..20_u64, window in 1..200_u64, start in 0..1_000_u64, charges in charges(),
    ) {
        let limit = limit(Algorithm::SlidingWindowCounter, amount, window, None);
        let accepted = accepted(&limit, start, &charges);
        for number in 0..=accepted.last().map_or(0, |last| last / window) {
            prop_assert!(accepted.iter().filter(|&&time| time / window == number).count() as u64 <= amount);
        }
        prop_assert!(most_in_any(&accepted, window) < 2 * amount);
        // And the level: how far it is from the hits truly in the window, at any time into the last two windows.
        let last = accepted.last().copied().unwrap_or(start);
        let mut state = State::fresh(&limit);
        for &time in &accepted {
            let now = Now { wall: Micros(time), mono: Micros(time) };
            prop_assert!(state.apply(&limit, now, Operation::Charge(1)).allowed());
        }
        for time in last..last + 2 * window {
            let now = Now { wall: Micros(time), mono: Micros(time) };
            let level = state.evaluate(&limit, now, Operation::Charge(0)).level;
            let truly = accepted.iter().filter(|&&hit| hit <= time && hit + window > time).count() as u64;
            let previous = accepted.iter().filter(|&&hit| hit / window + 1 == time / window).count() as u64;
            let covered = window - time % window;
            prop_assert!(level <= truly + (previous * covered).div_ceil(window));
            prop_assert!(level * window + previous * (window - covered) >= truly * window);
        }
    }

    #[test]
    fn buckets_keep_their_rate_and_burst_in_any_span(
        amount in 1..20_u64, window in 1..200_u64, burst in 1..10_u64, charges in charges(),
        algorithm in prop_oneof![Just(Algorithm::TokenBucket), Just(Algorithm::LeakyBucket)],
    ) {
        let limit = limit(algorithm, amount, window, Some(burst));
        let accepted = accepted(&limit, 0, &charges);
        for (first, &from) in accepted.iter().enumerate() {
            for (last, &to) in accepted.iter().enumerate().skip(first) {
                let hits = (last - first + 1) as u64;
                prop_assert!(hits * window <= burst * window + (to - from) * amount, "{hits} in {from}..={to}");
            }
        }
    }

    /// Forgetting what cannot matter loses no decision, as long as the amount stays.
    #[test]
    fn a_log_that_records_denials_decides_as_if_it_forgot_nothing(
        amount in 0..12_u64, window in 1..200_u64, post_paid in prop::bool::weighted(0.2), charges in charges(),
        peek_every in 1..5_usize,
    ) {
        let limit = Limit::new(LimitParts {
            over: Over::Record,
            post_paid,
            algorithm: Algorithm::SlidingWindowLog,
            ..LimitParts::fixed_window(amount, Window::Length(Micros(window)))
        }).unwrap();
        let mut state = State::fresh(&limit);
        let mut model = Model::new(&limit);
        model.forgets = false;
        let mut now = Now { wall: Micros::ZERO, mono: Micros::ZERO };
        for (number, &(gap, cost)) in charges.iter().enumerate() {
            now.mono = now.mono + Micros(gap);
            let cost = if number % peek_every == 0 { 0 } else { cost };
            let real = state.apply(&limit, now, Operation::Charge(cost));
            let full = model.apply(&limit, now, Operation::Charge(cost));
            prop_assert_eq!(real.verdict, full.verdict);
            prop_assert_eq!(real.reset_after, full.reset_after);
            prop_assert_eq!(real.remaining, full.remaining);
            prop_assert_eq!(real.level > amount, full.level > amount);
            prop_assert!(real.level <= full.level);
        }
    }

    /// Whichever hits were given back, what remains admitted is never more than the limit in any window.
    #[test]
    fn refunds_never_make_a_log_admit_too_much(
        amount in 1..10_u64, window in 1..100_u64, charges in charges(),
        over in prop_oneof![Just(Over::Record), Just(Over::Drop)],
        refunds in prop::collection::vec((0..1_000_usize, 0..10_usize), 200),
    ) {
        let limit = Limit::new(LimitParts {
            over,
            algorithm: Algorithm::SlidingWindowLog,
            ..LimitParts::fixed_window(amount, Window::Length(Micros(window)))
        }).unwrap();
        let mut state = State::fresh(&limit);
        let mut admitted: Vec<u64> = Vec::new();
        let mut time = 0;
        for (&(gap, cost), &(which, whether)) in charges.iter().zip(&refunds) {
            time += gap;
            let now = Now { wall: Micros::ZERO, mono: Micros(time) };
            if state.apply(&limit, now, Operation::Charge(cost)).allowed() {
                admitted.extend(std::iter::repeat_n(time, cost as usize));
            }
            let in_window: Vec<usize> = (0..admitted.len()).filter(|&hit| admitted[hit] + window > time).collect();
            if whether < 3 && !in_window.is_empty() {
                admitted.remove(in_window[which % in_window.len()]);
                state.apply(&limit, now, Operation::Refund(1));
            }
            prop_assert!(admitted.iter().filter(|&&hit| hit + window > time).count() as u64 <= amount);
        }
    }

    /// With demand above the limit, exactly the limit is admitted.
    #[test]
    fn a_limit_is_used_up(amount in 1..30_u64, window in 40..200_u64, first_window in 0..100_u64) {
        let demand: Vec<_> = (0..window).flat_map(|time| [(u64::from(time > 0), 1), (0, 1)]).collect();
        let start = first_window * window;
        for algorithm in Algorithm::ALL {
            let limit = limit(algorithm, amount, window, None);
            let accepted = accepted(&limit, start, &demand).len() as u64;
            let expected = match algorithm {
                // A full bucket to begin with, and what drains by the window's last microsecond.
                Algorithm::TokenBucket => amount + amount * (window - 1) / window,
                Algorithm::LeakyBucket => {
                    // One hit each interval, but a hit can only come at a whole microsecond.
                    let mut next = 0;
                    (0..window).filter(|time| {
                        let due = time * amount >= next;
                        if due { next = time * amount + window; }
                        due
                    }).count() as u64
                }
                _ => amount,
            };
            prop_assert_eq!(accepted, expected, "{}", algorithm);
        }
    }

    /// Whatever the input, no arithmetic overflows (tests check that) and nothing panics.
    #[test]
    fn nothing_panics(
        algorithm in prop::sample::select(&Algorithm::ALL[..]),
        amount in extreme(MAX_HITS), burst in extreme(MAX_HITS), window in extreme(10 * 365 * 86_400_000_000),
        steps in prop::collection::vec((extreme(u64::MAX), extreme(u64::MAX), extreme(u64::MAX), any::<[bool; 2]>()), 1..20),
        record in any::<bool>(), post_paid in any::<bool>(),
    ) {
        let amount = if algorithm == Algorithm::SlidingWindowLog { amount.min(10_000) } else { amount };
        let limit = Limit::new(LimitParts {
            amount,
            window: Window::Length(Micros(window.max(1))),
            algorithm,
            burst: algorithm.has_burst().then_some(burst.max(1)),
            over: if record { Over::Record } else { Over::Drop },
            post_paid,
        }).unwrap();
        let mut state = State::fresh(&limit);
        for (wall, mono, hits, [refund, _]) in steps {
            let now = Now { wall: Micros(wall), mono: Micros(mono) };
            let operation = if refund { Operation::Refund(hits) } else { Operation::Charge(hits) };
            let evaluated = state.evaluate(&limit, now, operation);
            let applied = state.apply(&limit, now, operation);
            prop_assert_eq!(evaluated.allowed(), applied.allowed());
            prop_assert_ne!(applied.verdict, Verdict::NotUntil(Micros::ZERO));
            prop_assert!(applied.level <= MAX_HITS);
            prop_assert!(applied.remaining <= limit.capacity());
        }
    }
}

/// Numbers up to `most`, with a liking for the ends.
fn extreme(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![0..=10_u64, most - 10..=most, 0..=most, 0..=1_000_000_u64]
}

#[test]
fn the_sliding_counters_error_bound_is_reached() {
    // All at the end of one window, then as late as possible in the next.
    let (amount, window) = (10, 1_000);
    let limit = limit(Algorithm::SlidingWindowCounter, amount, window, None);
    let charges: Vec<_> = std::iter::once((window - 1, amount)).chain([(window - 1, amount - 1)]).collect();
    let accepted = accepted(&limit, 0, &charges);
    assert_eq!(accepted.len() as u64, 2 * amount - 1);
    assert_eq!(most_in_any(&accepted, window), 2 * amount - 1);
}

#[test]
fn evenly_spaced_hits_are_counted_as_they_are() {
    let limit = limit(Algorithm::SlidingWindowCounter, 100, 1_000, None);
    let mut state = State::fresh(&limit);
    // One each 20 us is 50 in each window of 1000.
    for hit in 0..500_u64 {
        let time = Micros(hit * 20);
        let outcome = state.apply(&limit, Now { wall: time, mono: time }, Operation::Charge(1));
        let truly = (hit + 1).min(50);
        assert!((truly..=truly + 1).contains(&outcome.level), "hit {hit}: {} instead of {truly}", outcome.level);
    }
}
