//! Units of hits that are charged all or not at all, as the memory store charges them.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use smallvec::smallvec;
use tidegate::core::clock::{Clock, ManualClock, Micros};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit};
use tidegate::core::spec::{Charge, FailureMode};
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::counters::redis::program::{Joint, Step, Unit, UnitStep};
use tidegate::counters::redis::scripts::injected;
use tidegate::counters::{CounterKey, CounterName, CounterStore as _, Hit};

use crate::independent::counter;
use crate::schedules::{self, Amounts, Scale};
use crate::server::{Server, tagged};

/// A counter, under two limits.
#[derive(Clone, Debug)]
struct Subject {
    algorithm: Algorithm,
    window: u64,
    amounts: [Amounts; 2],
}

impl Subject {
    fn limit(&self, which: usize) -> Limit {
        schedules::limit(self.algorithm, self.window, &self.amounts[which])
    }
}

#[derive(Clone, Debug)]
struct Schedule {
    subjects: Vec<Subject>,
    /// Time that passes, and units.
    calls: Vec<(u64, Vec<Asked>)>,
}

/// Of each hit the subject, which of its limits, the operation, and whether it is enforced.
type Asked = Vec<(usize, usize, Operation, bool)>;

fn subject(scale: Scale) -> impl Strategy<Value = Subject> {
    (select(&Algorithm::ALL[..]), schedules::window(scale)).prop_flat_map(move |(algorithm, window)| {
        let amounts = [(); 2].map(|()| schedules::amounts(algorithm, scale));
        amounts.prop_map(move |amounts| Subject { algorithm, window, amounts })
    })
}

fn schedule() -> impl Strategy<Value = Schedule> {
    schedules::scale().prop_flat_map(|scale| (Just(scale), prop::collection::vec(subject(scale), 1..=4))).prop_flat_map(
        |(scale, subjects)| {
            let least = subjects.iter().map(|subject| subject.window).min().unwrap_or(1);
            let choose = (0..subjects.len(), prop::bool::weighted(0.15), prop::bool::weighted(0.75));
            let algorithms: Vec<_> = subjects.iter().map(|subject| subject.algorithm).collect();
            let hit = choose.prop_flat_map(move |(subject, other, enforced)| {
                schedules::operation(algorithms[subject], scale)
                    .prop_map(move |operation| (subject, usize::from(other), operation, enforced))
            });
            let unit = prop::collection::vec(hit, 1..=4);
            let advance = prop_oneof![3 => Just(0), 2 => Just(1), 4 => 0..=least / 8 + 1, 1 => 0..=least * 3];
            let call = (advance, prop::collection::vec(unit, 1..=4));
            prop::collection::vec(call, 1..20).prop_map(move |calls| Schedule { subjects: subjects.clone(), calls })
        },
    )
}

fn agrees(server: &Server, schedule: &Schedule) {
    server.flush();
    let clock = ManualClock::at(Micros(1_750_000_000_123_456));
    let memory = MemoryStore::with_secret(clock.clone(), MemoryOptions { max_counters: 10_000 }, [1, 2]);
    for (number, (advance, units)) in schedule.calls.iter().enumerate() {
        clock.advance(Micros(*advance));
        let limits: Vec<[Limit; 2]> =
            schedule.subjects.iter().map(|subject| [0, 1].map(|which| subject.limit(which))).collect();
        let program = Joint {
            counters: limits
                .iter()
                .enumerate()
                .flat_map(|(key, limits)| limits.iter().map(move |limit| counter(&tagged(key), limit)))
                .collect(),
            units: units
                .iter()
                .map(|unit| {
                    unit.iter()
                        .map(|&(subject, which, operation, enforced)| UnitStep {
                            counter: 2 * subject + which,
                            step: Step::Operation(operation),
                            enforced,
                        })
                        .collect::<Unit>()
                })
                .collect(),
            channel: Bytes::new(),
        };
        let time = clock.now().wall;
        let reply = server.call_at(&injected::JOINT, program.call(time), time.0);
        let replayed = program.replay(&reply).unwrap();
        for (unit, real) in units.iter().zip(replayed.units) {
            let hits: Vec<Hit<'_>> = unit
                .iter()
                .map(|&(subject, which, operation, enforced)| Hit {
                    key: CounterKey { space: subject as u128, name: CounterName::default(), values: smallvec![] },
                    limit: &limits[subject][which],
                    operation,
                    enforced,
                    failure_mode: FailureMode::default(),
                })
                .collect();
            let expected = memory.perform_now(&hits, Charge::AllOrNothing).unwrap();
            let real = real.unwrap();
            assert_eq!(real.outcomes, expected, "call {number}: {unit:?} of {:?}", schedule.subjects);
            let denied = unit.iter().zip(&expected).any(|(hit, outcome)| hit.3 && !outcome.allowed());
            assert_eq!(real.charged, !denied);
        }
    }
}

fn units_agree(server: &Server, cases: u32) {
    TestRunner::new(schedules::config(cases))
        .run(&schedule(), |schedule| {
            agrees(server, &schedule);
            Ok(())
        })
        .unwrap();
}

#[test]
fn units_agree_with_the_memory_store() {
    units_agree(&Server::start(), 600);
}

#[test]
fn units_on_a_node_of_a_cluster_agree_with_the_memory_store() {
    units_agree(&Server::start_node(), 100);
}
