//! What is written and what is not, for how long, and what happens to values that are no states.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::prelude::*;
use smallvec::{SmallVec, smallvec};
use tidegate::core::algorithm::{Outcome, State, Verdict};
use tidegate::core::calendar::{CalendarUnit, CalendarWindow};
use tidegate::core::clock::{Clock, Micros, Now, SystemClock};
use tidegate::core::descriptor::Operation::{self, Charge, Refund};
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::counters::redis::program::{CounterProgram, Independent, Joint, Run, Step, UnitStep};
use tidegate::counters::redis::replay::{CounterError, IndependentReply};
use tidegate::counters::redis::scripts::{self, injected};

use crate::independent::counter;
use crate::server::Server;

const NOW: u64 = 1_750_000_000_000_000;

fn limit(algorithm: Algorithm, amount: u64, over: Over) -> Limit {
    let burst = algorithm.has_burst().then_some(amount.max(1));
    let window = Window::Length(Micros::from_secs(86_400));
    Limit::new(LimitParts { algorithm, over, burst, ..LimitParts::fixed_window(amount, window) }).unwrap()
}

fn program(counters: &[(&str, &Limit, &[Operation])]) -> Independent {
    let counters = counters.iter().map(|(key, limit, operations)| CounterProgram {
        counter: counter(key, limit),
        runs: operations.iter().copied().map(Run::from).collect(),
    });
    Independent { counters: counters.collect(), channel: Bytes::new() }
}

/// On Redis' own time.
fn perform(server: &Server, key: &str, limit: &Limit, operations: &[Operation]) -> SmallVec<[Outcome; 2]> {
    let program = program(&[(key, limit, operations)]);
    let reply = server.call(program.call(SystemClock::new().now().wall));
    program.replay(&reply).unwrap().counters.remove(0).unwrap().outcomes
}

fn perform_at(server: &Server, program: &Independent, now: u64) -> IndependentReply {
    program.replay(&server.call_at(&injected::INDEPENDENT, program.call(Micros(now)), now)).unwrap()
}

#[test]
fn the_hash_is_the_one_that_redis_computes() {
    let server = Server::start();
    for script in [&scripts::INDEPENDENT, &scripts::JOINT, &injected::INDEPENDENT, &injected::JOINT] {
        let sha1: String = server.block_on(server.client.script_load(script.source)).unwrap();
        assert_eq!(sha1, script.sha1);
    }
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let server = Server::start();
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 5, Over::Drop);
        for operation in [Charge(0), Charge(6), Refund(3), Refund(0)] {
            perform(&server, "counter", &limit, &[operation]);
            assert_eq!(server.keys(), 0, "{algorithm}: {operation:?}");
        }
        let unit = [("counter", Charge(1)), ("other", Charge(6))];
        let joint = Joint {
            counters: unit.iter().map(|(key, _)| counter(key, &limit)).collect(),
            units: vec![
                unit.iter()
                    .enumerate()
                    .map(|(counter, (_, operation))| UnitStep {
                        counter,
                        step: Step::Operation(*operation),
                        enforced: true,
                    })
                    .collect(),
            ],
            channel: Bytes::new(),
        };
        server.call(joint.call(Micros(NOW)));
        assert_eq!(server.keys(), 0, "{algorithm}: a unit that is refused");
    }
}

/// A key lives as long as its counter matters: a moment longer, never shorter, and denied hits do not prolong it.
#[test]
fn a_key_expires_when_its_counter_is_as_new() {
    let server = Server::start();
    for algorithm in Algorithm::ALL {
        server.flush();
        let limit = limit(algorithm, 7, Over::Drop);
        for hits in [3, 4] {
            let outcome = perform(&server, "counter", &limit, &[Charge(hits)])[0];
            let (left, reset) = (server.ttl("counter"), i64::try_from(outcome.reset_after.0.div_ceil(1_000)).unwrap());
            // A moment is a millisecond, and what the machine's clock was set back by in between.
            assert!((reset - 2_000..=reset + 20).contains(&left), "{algorithm}: {left} ms for {reset} ms");
        }
        // Shortened, so that it shows when somebody sets it anew.
        server.command(&["PEXPIRE", "counter", "5000"]);
        for operation in [Charge(1), Charge(0), Charge(8), Refund(0)] {
            perform(&server, "counter", &limit, &[operation]);
            assert!((0..=5_000).contains(&server.ttl("counter")), "{algorithm}: {operation:?}");
        }
    }
}

#[test]
fn a_refund_of_everything_leaves_nothing_that_matters() {
    let server = Server::start();
    for algorithm in Algorithm::ALL {
        server.flush();
        let limit = limit(algorithm, 5, Over::Record);
        perform(&server, "counter", &limit, &[Charge(5), Charge(3)]);
        assert_eq!(perform(&server, "counter", &limit, &[Refund(100)])[0].level, 0, "{algorithm}");
        assert!(perform(&server, "counter", &limit, &[Charge(5)])[0].allowed(), "{algorithm}");
    }
}

/// The clock was a year ahead, and is right again. Once the counter is seen, it lasts no longer than it should.
#[test]
fn a_counter_that_is_far_ahead_of_the_clock_is_gone_in_time() {
    let server = Server::start();
    const YEAR: u64 = 365 * 86_400_000_000;
    for algorithm in Algorithm::ALL {
        for over in [Over::Record, Over::Drop] {
            server.flush();
            let limit = limit(algorithm, 5, over);
            let charge = |now| perform_at(&server, &program(&[("counter", &limit, &[Charge(5)])]), now);
            assert!(charge(NOW + YEAR).counters[0].as_ref().unwrap().outcomes[0].allowed());
            server.command(&["PEXPIRE", "counter", &(YEAR / 1_000).to_string()]);
            assert!(!charge(NOW).counters[0].as_ref().unwrap().outcomes[0].allowed(), "{algorithm}");
            // With the hour that tests keep keys longer.
            let most = 3_600_000 + 2 * 86_400_000 + 1;
            assert!(server.ttl("counter") <= most, "{algorithm}: {}", server.ttl("counter"));
            server.command(&["PEXPIRE", "counter", "5000"]);
            charge(NOW);
            assert!(server.ttl("counter") <= 5_000, "{algorithm}: use does not prolong it");
        }
    }
}

#[test]
fn a_counter_that_cannot_be_read_does_not_spoil_the_others() {
    let server = Server::start();
    for algorithm in Algorithm::ALL {
        server.flush();
        let limit = limit(algorithm, 5, Over::Drop);
        server.command(&["LPUSH", "list", "something"]);
        let asked =
            program(&[("a", &limit, &[Charge(2)]), ("list", &limit, &[Charge(2)]), ("b", &limit, &[Charge(2)])]);
        let reply = perform_at(&server, &asked, NOW);
        let levels = [0, 2].map(|counter| reply.counters[counter].as_ref().unwrap().outcomes[0].level);
        assert_eq!(levels, [2, 2], "{algorithm}");
        let Err(CounterError::Refused(text)) = &reply.counters[1] else { panic!("{algorithm}: {reply:?}") };
        assert!(text.contains("WRONGTYPE"), "{text}");

        let step = |counter, enforced| UnitStep { counter, step: Step::Operation(Charge(2)), enforced };
        let joint = Joint {
            counters: ["a", "list", "b"].map(|key| counter(key, &limit)).into(),
            units: vec![smallvec![step(0, true), step(1, true)], smallvec![step(0, true), step(2, true)]],
            channel: Bytes::new(),
        };
        let reply = joint.replay(&server.call_at(&injected::JOINT, joint.call(Micros(NOW)), NOW)).unwrap();
        assert!(matches!(reply.units[0], Err(CounterError::Refused(_))));
        let unit = reply.units[1].as_ref().unwrap();
        assert_eq!(unit.outcomes.iter().map(|outcome| outcome.level).collect::<Vec<_>>(), [4, 4], "{algorithm}");
        assert_eq!(reply.states.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    }
}

#[test]
fn a_value_that_is_no_state_counts_as_absent() {
    let server = Server::start();
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::SlidingWindowLog) {
        for value in ["", "x", "\u{1}\u{2}", &"\u{4}".repeat(25), &"\u{7}".repeat(33), &"y".repeat(17)] {
            server.flush();
            server.command(&["SET", "counter", value]);
            let limit = limit(algorithm, 5, Over::Drop);
            let asked = program(&[("counter", &limit, &[Charge(2), Charge(2)])]);
            for level in [[2, 4], [4, 4]] {
                let outcomes = perform_at(&server, &asked, NOW).counters.remove(0).unwrap().outcomes;
                assert_eq!([outcomes[0].level, outcomes[1].level], level, "{algorithm}: {value:?}");
            }
        }
    }
}

#[test]
fn calendar_windows_agree_with_the_core() {
    let server = Server::start();
    for unit in [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year] {
        server.flush();
        let calendar = Arc::new(CalendarWindow::new(unit, "Europe/Berlin").unwrap());
        let limit = Limit::new(LimitParts::fixed_window(3, Window::Calendar(Arc::clone(&calendar)))).unwrap();
        let mut state = State::fresh(&limit);
        let (start, end) = calendar.bounds(Micros(NOW));
        let later = calendar.bounds(end).1;
        // On both sides of the bounds, with the caller's clock a window behind and ahead; and back again.
        let times = [start.0, start.0 + 7, end.0 - 1, end.0, end.0 + 1, later.0 - 1, end.0 - 1, later.0];
        for time in times {
            let now = Now { wall: Micros(time), mono: Micros(time) };
            let expected = state.apply(&limit, now, Charge(2));
            let asked = program(&[("counter", &limit, &[Charge(2)])]);
            let reply = server.call_at(&injected::INDEPENDENT, asked.call(Micros(time)), time);
            assert_eq!(asked.replay(&reply).unwrap().counters[0].as_ref().unwrap().outcomes[0], expected, "{time}");
            for callers in [calendar.bounds(Micros(time)).1, calendar.bounds(Micros(time)).0 - Micros(1)] {
                let expected = state.apply(&limit, now, Charge(1));
                let asked = program(&[("counter", &limit, &[Charge(1)])]);
                let reply = server.call_at(&injected::INDEPENDENT, asked.call(callers), time);
                let real = asked.replay(&reply).unwrap().counters.remove(0).unwrap();
                assert_eq!(real.outcomes[0], expected, "{time} on a machine at {callers}");
            }
        }
        let asked = program(&[("counter", &limit, &[Charge(1)]), ("other", &limit, &[Charge(1)])]);
        let far = calendar.bounds(later).1.0;
        let reply = asked.replay(&server.call_at(&injected::INDEPENDENT, asked.call(Micros(far)), start.0)).unwrap();
        assert_eq!(reply.counters[0].as_ref().unwrap_err(), &CounterError::ClocksApart);
    }
}

#[test]
fn what_lowers_a_level_is_announced() {
    let server = Server::start();
    let (subscriber, mut messages) = server.block_on(async {
        let subscriber =
            Builder::from_config(Config::from_url(&server.url()).unwrap()).build_subscriber_client().unwrap();
        subscriber.init().await.unwrap();
        subscriber.subscribe("forget").await.unwrap();
        let messages = subscriber.message_rx();
        (subscriber, messages)
    });
    let mut received = |count: usize| -> Vec<String> {
        server.block_on(async {
            let mut payloads = Vec::new();
            for _ in 0..count {
                let message = tokio::time::timeout(Duration::from_secs(30), messages.recv()).await.unwrap().unwrap();
                payloads.push(message.value.into_string().unwrap());
            }
            payloads
        })
    };
    for algorithm in Algorithm::ALL {
        server.flush();
        let limit = limit(algorithm, 5, Over::Drop);
        let noticed = |key: &str, operations: &[Operation]| {
            let mut counter = counter(key, &limit);
            counter.notice = Some(Bytes::from(format!("{algorithm} {key}")));
            CounterProgram { counter, runs: operations.iter().copied().map(Run::from).collect() }
        };
        let send = |counters: Vec<CounterProgram>| {
            let program = Independent { counters, channel: Bytes::from_static(b"forget") };
            perform_at(&server, &program, NOW);
        };
        send(vec![noticed("a", &[Charge(5), Charge(1), Refund(0)]), noticed("b", &[Refund(2)])]);
        send(vec![noticed("a", &[Charge(1), Refund(2), Refund(1)]), noticed("b", &[Charge(1), Refund(1)])]);
        let joint = |units: Vec<Vec<(usize, Operation)>>| {
            let units = units.into_iter().map(|unit| {
                let steps = unit.into_iter();
                steps.map(|(counter, operation)| UnitStep { counter, step: Step::Operation(operation), enforced: true })
            });
            let program = Joint {
                counters: ["a", "b"].map(|key| noticed(key, &[]).counter).into(),
                units: units.map(Iterator::collect).collect(),
                channel: Bytes::from_static(b"forget"),
            };
            program.replay(&server.call_at(&injected::JOINT, program.call(Micros(NOW)), NOW)).unwrap()
        };
        joint(vec![vec![(0, Charge(1)), (1, Refund(2))]]);
        // The second is refused; its refund is performed.
        let reply = joint(vec![vec![(0, Charge(1))], vec![(0, Refund(1)), (1, Charge(6))]]);
        assert!(matches!(reply.units[1].as_ref().unwrap().outcomes[1].verdict, Verdict::InsufficientCapacity));
        let expected = ["a", "b", "a"].map(|key| format!("{algorithm} {key}"));
        assert_eq!(received(3), expected);
    }
    // Nothing else was: a message of our own is the next.
    server.command(&["PUBLISH", "forget", "the end"]);
    assert_eq!(received(1), ["the end"]);
    server.block_on(subscriber.quit()).unwrap();
}
