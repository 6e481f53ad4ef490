//! Holds and their releases.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use smallvec::smallvec;
use tidegate::core::algorithm::{Outcome, State};
use tidegate::core::clock::{Micros, Now};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, Over};
use tidegate::counters::redis::program::{CounterProgram, Held, Independent, Run, Step};
use tidegate::counters::redis::replay::Replayed;
use tidegate::counters::redis::scripts::injected;

use crate::independent::counter;
use crate::schedules::{self, Amounts, Scale};
use crate::server::Server;

fn perform(server: &Server, limit: &Limit, time: u64, runs: Vec<Run>) -> Replayed {
    let counters = vec![CounterProgram { counter: counter("counter", limit), runs: runs.into() }];
    let program = Independent { counters, channel: Bytes::new() };
    let reply = server.call_at(&injected::INDEPENDENT, program.call(Micros(time)), time);
    program.replay(&reply).unwrap().counters.remove(0).unwrap()
}

fn one(server: &Server, limit: &Limit, time: u64, step: Step) -> Replayed {
    perform(server, limit, time, vec![Run { step, times: 1 }])
}

#[derive(Clone, Debug)]
enum Act {
    Operation(Operation),
    Hold(u64),
    /// Releases one of the holds that have not been released.
    Release(usize),
}

#[derive(Clone, Debug)]
struct Schedule {
    scale: Scale,
    window: u64,
    amounts: Amounts,
    acts: Vec<(i64, Option<Amounts>, Act)>,
}

fn schedule(algorithm: Algorithm, changes: f64) -> impl Strategy<Value = Schedule> {
    schedules::scale().prop_flat_map(move |scale| (Just(scale), schedules::window(scale))).prop_flat_map(
        move |(scale, window)| {
            let act = prop_oneof![
                3 => schedules::operation(algorithm, scale).prop_map(Act::Operation),
                3 => schedules::hits(algorithm, scale).prop_map(Act::Hold),
                4 => (0..8_usize).prop_map(Act::Release),
            ];
            let change = prop::option::weighted(changes, schedules::amounts(algorithm, scale));
            let acts = prop::collection::vec((schedules::advance(window), change, act), 1..40);
            (schedules::amounts(algorithm, scale), acts).prop_map(move |(amounts, acts)| Schedule {
                scale,
                window,
                amounts,
                acts,
            })
        },
    )
}

/// Windows and buckets agree with the core, and a release never gives back more than its hold took.
fn agrees(server: &Server, algorithm: Algorithm, schedule: &Schedule) {
    server.flush();
    let mut limit = schedules::limit(algorithm, schedule.window, &schedule.amounts);
    let mut state = State::fresh(&limit);
    let mut time = 1_750_000_000_000_000_u64;
    let mut open = Vec::new();
    for (advance, change, act) in &schedule.acts {
        time = time.saturating_add_signed(*advance).min((1 << 52) - 1);
        let now = Now { wall: Micros(time), mono: Micros(time) };
        if let Some(amounts) = change {
            limit = schedules::limit(algorithm, schedule.window, amounts);
        }
        match act {
            Act::Operation(operation) => {
                let real = one(server, &limit, time, Step::Operation(*operation));
                assert_eq!(real.outcomes.as_slice(), [state.apply(&limit, now, *operation)]);
            }
            Act::Hold(hits) => {
                let real = one(server, &limit, time, Step::Hold(*hits));
                let (outcome, hold) = state.hold(&limit, now, *hits);
                assert_eq!(real.outcomes.as_slice(), [outcome]);
                assert_eq!(real.held.first().map(|(_, held)| held.clone()), hold.map(Held::State));
                open.extend(hold.map(|hold| (hold, *hits)));
            }
            Act::Release(_) if open.is_empty() => {}
            Act::Release(which) => {
                let (hold, hits) = open.swap_remove(which % open.len());
                let before = state.evaluate(&limit, now, Operation::Charge(0));
                let real = one(server, &limit, time, Step::Release(Held::State(hold)));
                let outcome = state.release(&limit, now, &hold);
                assert_eq!(real.outcomes.as_slice(), [outcome], "{hold:?}");
                assert!(outcome.level <= before.level && outcome.level.saturating_add(hits) >= before.level);
            }
        }
    }
}

/// A log, hit by hit.
#[derive(Default)]
struct Hits {
    /// Times, and the hold that each belongs to.
    hits: Vec<(u64, Option<usize>)>,
}

impl Hits {
    fn charge(&mut self, limit: &Limit, time: u64, hits: u64, hold: Option<usize>, force: bool) -> (bool, u64) {
        let window = limit.window().nominal_length().0;
        let live = self.hits.iter().filter(|(hit, _)| hit + window > time).count() as u64;
        let fits = live.saturating_add(hits) <= limit.amount();
        if hits > 0 && (fits || force) {
            self.hits.retain(|(hit, _)| hit + window > time);
            let most = limit.amount() as usize + 1;
            self.hits.drain(..self.hits.len().saturating_sub(most));
            self.hits.extend(std::iter::repeat_n((time, hold), most.min(usize::try_from(hits).unwrap_or(most))));
        }
        let live = self.hits.iter().filter(|(hit, _)| hit + window > time).count() as u64;
        (fits, live)
    }
}

/// The log agrees with a list of hits, from which a release takes its own.
fn log_agrees(server: &Server, schedule: &Schedule) {
    server.flush();
    let limit = schedules::limit(Algorithm::SlidingWindowLog, schedule.window, &schedule.amounts);
    if limit.post_paid() || schedule.scale == Scale::Huge {
        return;
    }
    let window = schedule.window;
    let mut model = Hits::default();
    let mut time = 1_750_000_000_000_000_u64;
    let mut open: Vec<(usize, Held)> = Vec::new();
    for (number, (advance, _, act)) in schedule.acts.iter().enumerate() {
        time += advance.unsigned_abs();
        let check = |real: &Outcome, fits: bool, level: u64| {
            assert_eq!((real.allowed(), real.level), (fits, level), "act {number}: {act:?}");
        };
        match act {
            Act::Operation(Operation::Charge(hits)) => {
                let real = one(server, &limit, time, Step::Operation(Operation::Charge(*hits)));
                let (fits, level) = model.charge(&limit, time, *hits, None, limit.over() == Over::Record);
                check(&real.outcomes[0], fits, level);
            }
            Act::Operation(Operation::Refund(hits)) => {
                let real = one(server, &limit, time, Step::Operation(Operation::Refund(*hits)));
                model.hits.retain(|(hit, _)| hit + window > time);
                model.hits.drain(..model.hits.len().min(usize::try_from(*hits).unwrap_or(usize::MAX)));
                check(&real.outcomes[0], true, model.hits.len() as u64);
            }
            Act::Hold(hits) => {
                let real = one(server, &limit, time, Step::Hold(*hits));
                let (fits, level) = model.charge(&limit, time, *hits, Some(number), false);
                check(&real.outcomes[0], fits, level);
                assert_eq!(real.held.len(), usize::from(fits && *hits > 0));
                open.extend(real.held.into_iter().map(|(_, held)| (number, held)));
            }
            Act::Release(_) if open.is_empty() => {}
            Act::Release(which) => {
                let (hold, held) = open.swap_remove(which % open.len());
                model.hits.retain(|(_, owner)| *owner != Some(hold));
                let live = model.hits.iter().filter(|(hit, _)| hit + window > time).count() as u64;
                // Together with other steps, which must see each other in order.
                let peek = || Run::from(Operation::Charge(0));
                let runs = vec![peek(), Run { step: Step::Release(held), times: 1 }, peek()];
                let real = perform(server, &limit, time, runs);
                assert_eq!([real.outcomes[1].level, real.outcomes[2].level], [live; 2], "act {number}");
            }
        }
    }
}

#[test]
fn holds_on_windows_and_buckets_agree_with_the_core() {
    holds_agree(&Server::start(), 150);
}

#[test]
fn holds_on_a_node_of_a_cluster_agree_with_the_core() {
    holds_agree(&Server::start_node(), 30);
}

fn holds_agree(server: &Server, cases: u32) {
    for algorithm in Algorithm::ALL {
        TestRunner::new(schedules::config(cases))
            .run(&schedule(algorithm, 0.1), |schedule| {
                match algorithm {
                    Algorithm::SlidingWindowLog => log_agrees(server, &schedule),
                    _ => agrees(server, algorithm, &schedule),
                }
                Ok(())
            })
            .unwrap();
    }
}

/// What is released at once leaves nothing behind, and what is released when it does not count any more takes nothing.
#[test]
fn a_release_gives_back_its_own_and_nothing_else() {
    let server = Server::start();
    let start = 1_750_000_000_000_000_u64;
    for algorithm in Algorithm::ALL {
        let amounts = Amounts { amount: 10, burst: 10, over: Over::Record, post_paid: false };
        let limit = schedules::limit(algorithm, 1_000_000, &amounts);
        let charge = |time, hits| one(&server, &limit, time, Step::Operation(Operation::Charge(hits))).outcomes[0];
        server.flush();
        assert_eq!(charge(start, 4).level, 4);
        let held = one(&server, &limit, start, Step::Hold(6)).held.remove(0).1;
        let denied = one(&server, &limit, start, Step::Hold(1));
        assert!(!denied.outcomes[0].allowed() && denied.held.is_empty(), "{algorithm}");
        assert_eq!(denied.outcomes[0].level, 10, "{algorithm}: a denied hold leaves nothing behind");
        let released = one(&server, &limit, start, Step::Release(held));
        assert_eq!(released.outcomes[0].level, 4, "{algorithm}");

        let held = one(&server, &limit, start, Step::Hold(6)).held.remove(0).1;
        // Two windows and a bit later nothing of it counts.
        let later = start + 2_100_000;
        assert_eq!(charge(later, 5).level, 5, "{algorithm}");
        let released = one(&server, &limit, later, Step::Release(held));
        assert_eq!(released.outcomes[0].level, 5, "{algorithm}: nothing of it counts any more");
    }
}

#[test]
fn a_hold_of_a_joint_unit_is_named_and_released() {
    use tidegate::counters::redis::program::{Joint, UnitStep};
    let server = Server::start();
    let amounts = Amounts { amount: 5, burst: 5, over: Over::Record, post_paid: false };
    let limits = Algorithm::ALL.map(|algorithm| schedules::limit(algorithm, 1_000_000, &amounts));
    let unit = |hits| {
        (0..5)
            .map(|counter| UnitStep { counter, step: Step::Hold(hits), enforced: true })
            .collect::<smallvec::SmallVec<_>>()
    };
    let keys = ["a", "b", "c", "d", "e"];
    let program = Joint {
        counters: keys.iter().zip(&limits).map(|(key, limit)| counter(key, limit)).collect(),
        units: vec![unit(3), unit(3), unit(2)],
        channel: Bytes::new(),
    };
    let now = 1_750_000_000_000_000;
    let reply = program.replay(&server.call_at(&injected::JOINT, program.call(Micros(now)), now)).unwrap();
    let units: Vec<_> = reply.units.into_iter().map(Result::unwrap).collect();
    assert_eq!([0, 1, 2].map(|unit| units[unit].charged), [true, false, true]);
    assert_eq!([0, 1, 2].map(|unit| units[unit].held.len()), [5, 0, 5]);
    for ((key, limit), (_, held)) in keys.iter().zip(&limits).zip(units[0].held.clone()) {
        let runs = smallvec![Run { step: Step::Release(held), times: 1 }];
        let program = Independent {
            counters: vec![CounterProgram { counter: counter(key, limit), runs }],
            channel: Bytes::new(),
        };
        let reply = server.call_at(&injected::INDEPENDENT, program.call(Micros(now)), now);
        let replayed = program.replay(&reply).unwrap().counters.remove(0).unwrap();
        assert_eq!(replayed.outcomes[0].level, 2, "{key}");
    }
}
