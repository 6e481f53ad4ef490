//! Runs on several counters, each on its own.

use bytes::Bytes;
use proptest::test_runner::TestRunner;
use tidegate::core::algorithm::{Outcome, State};
use tidegate::core::clock::{Micros, Now};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit};
use tidegate::counters::redis::program::{Counter, CounterProgram, Independent, Run, Step};
use tidegate::counters::redis::scripts::injected;

use crate::schedules::{self, Schedule};
use crate::server::{Server, tagged};

pub fn counter(key: &str, limit: &Limit) -> Counter {
    Counter { key: Bytes::copy_from_slice(key.as_bytes()), limit: limit.clone(), notice: None }
}

fn expected(state: &mut State, limit: &Limit, now: Now, runs: &[Run]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for run in runs {
        for _ in 0..run.times {
            outcomes.push(match run.step {
                Step::Operation(operation) => state.apply(limit, now, operation),
                Step::Hold(hits) => state.hold(limit, now, hits).0,
                Step::Evaluate(hits) => state.evaluate(limit, now, Operation::Charge(hits)),
                Step::Release(_) => unreachable!("of no schedule"),
            });
        }
    }
    outcomes
}

fn agrees(server: &Server, schedule: &Schedule) {
    server.flush();
    let mut limit = schedules::limit(schedule.algorithm, schedule.window, &schedule.amounts);
    let mut states = vec![State::fresh(&limit); 3];
    let mut time = schedule.start;
    for (number, step) in schedule.steps.iter().enumerate() {
        time = time.saturating_add_signed(step.advance).min((1 << 52) - 1);
        if let Some(amounts) = &step.change {
            limit = schedules::limit(schedule.algorithm, schedule.window, amounts);
        }
        let counters = step.counters.iter().map(|(key, runs)| CounterProgram {
            counter: counter(&tagged(*key), &limit),
            runs: runs.iter().cloned().collect(),
        });
        let program = Independent { counters: counters.collect(), channel: Bytes::new() };
        let reply = server.call_at(&injected::INDEPENDENT, program.call(Micros(time)), time);
        let replayed = program.replay(&reply).unwrap();
        assert_eq!(replayed.now, Micros(time));
        let now = Now { wall: Micros(time), mono: Micros(time) };
        for ((key, runs), real) in step.counters.iter().zip(replayed.counters) {
            let real = real.unwrap();
            let expected = expected(&mut states[*key], &limit, now, runs);
            assert_eq!(real.outcomes.as_slice(), expected, "step {number}, counter {key} under {limit:?}: {runs:?}");
            if schedule.algorithm == Algorithm::SlidingWindowLog {
                denies_no_more(&real.state, &states[*key], &limit, now, schedule.window);
            } else {
                assert_eq!(
                    real.state.evaluate(&limit, now, Operation::Charge(1)),
                    states[*key].evaluate(&limit, now, Operation::Charge(1)),
                    "step {number}, counter {key}"
                );
            }
        }
    }
}

/// What is remembered of a log never denies what the log itself would not, however late.
fn denies_no_more(remembered: &State, real: &State, limit: &Limit, now: Now, window: u64) {
    let level = |state: &State| state.evaluate(limit, now, Operation::Charge(0)).level;
    assert_eq!(level(remembered), level(real));
    for after in [0, 1, window / 3, window / 2, window - 1, window, window + 1] {
        let then = Now { wall: now.wall + Micros(after), mono: now.mono + Micros(after) };
        for hits in [0, 1, 2, 5, limit.amount()] {
            let denies = |state: &State| !state.evaluate(limit, then, Operation::Charge(hits)).allowed();
            assert!(!denies(remembered) || denies(real), "{hits} after {after}: {remembered:?}, {real:?}");
        }
    }
}

fn conforms(algorithm: Algorithm) {
    conforms_on(&Server::start(), algorithm, 300);
}

fn conforms_on(server: &Server, algorithm: Algorithm, cases: u32) {
    let mut runner = TestRunner::new(schedules::config(cases));
    runner
        .run(&schedules::schedule(algorithm), |schedule| {
            agrees(server, &schedule);
            Ok(())
        })
        .unwrap();
}

#[test]
fn fixed_window_agrees_with_the_core() {
    conforms(Algorithm::FixedWindow);
}

#[test]
fn sliding_window_log_agrees_with_the_core() {
    conforms(Algorithm::SlidingWindowLog);
}

#[test]
fn sliding_window_counter_agrees_with_the_core() {
    conforms(Algorithm::SlidingWindowCounter);
}

#[test]
fn token_bucket_agrees_with_the_core() {
    conforms(Algorithm::TokenBucket);
}

#[test]
fn leaky_bucket_agrees_with_the_core() {
    conforms(Algorithm::LeakyBucket);
}

#[test]
fn a_node_of_a_cluster_agrees_with_the_core() {
    let server = Server::start_node();
    for algorithm in Algorithm::ALL {
        conforms_on(&server, algorithm, 40);
    }
}
