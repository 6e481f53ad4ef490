//! The store's own time: what is told to wait is true, to the moment.
//!
//! The store looks at its clock somewhere between question and answer. So a hit surely comes too early as long as its
//! answer is here within the wait, counted from the question; and late enough, when it is sent that long after the
//! answer. On a machine that is too busy for the first the attempt shows nothing, and is made again.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use tidegate::core::algorithm::Outcome;
use tidegate::core::clock::Micros;
use tidegate::core::descriptor::Operation::Charge;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::counters::CounterStore;

use crate::redis_support::PATIENCE;
use crate::stand::Stand;
use crate::subject::{OVERS, Subject, with};

/// How much too early is early.
const EARLY: Duration = Duration::from_millis(15);

fn limit(algorithm: Algorithm, amount: u64, burst: u64, millis: u64, over: Over) -> Limit {
    let (burst, window) = (algorithm.has_burst().then_some(burst), Window::Length(Micros::from_millis(millis)));
    with(|parts| LimitParts { algorithm, amount, burst, over, window: window.clone(), ..parts })
}

/// An answer, and between which moments the store looked at its clock.
fn timed<S: CounterStore>(stand: &Stand<S>, client: &str, limit: &Limit, hits: u64) -> (Outcome, Instant, Instant) {
    let sent = Instant::now();
    let outcome = stand.one(Subject::new("time", "user").hit(client, limit, Charge(hits)));
    (outcome, sent, Instant::now())
}

fn sleep_until(then: Instant) {
    sleep(then.saturating_duration_since(Instant::now()));
}

/// Repeats what can be too slow to show anything, with another counter each time.
fn until_shown(what: &str, mut attempt: impl FnMut(&str) -> bool) {
    let since = Instant::now();
    for number in 0.. {
        if attempt(&format!("{what} {number}")) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "the machine is too busy for {what}");
    }
}

/// Does all of it at the same time: most of it is waiting.
fn at_once<T: Copy + Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

pub fn windows_end<S: CounterStore>(stand: &Stand<S>) {
    let cases = Algorithm::ALL.into_iter().flat_map(|algorithm| OVERS.map(|over| (algorithm, over)));
    at_once(cases, |(algorithm, over)| {
        let limit = limit(algorithm, 5, 5, 250, over);
        until_shown(&format!("end {algorithm} {over:?}"), |client| {
            assert!(timed(stand, client, &limit, 5).0.allowed(), "{client}: as new");
            // With `Over::Record` the one that is denied counts.
            let (full, _, answered) = timed(stand, client, &limit, 1);
            sleep_until(answered + full.reset_after.as_duration());
            let (again, ..) = timed(stand, client, &limit, 5);
            assert!(again.allowed(), "{client}: as new again: {full:?}, {again:?}");
            !full.allowed()
        });
    });
}

pub fn what_is_told_to_wait_is_true<S: CounterStore>(stand: &Stand<S>) {
    let cases = Algorithm::ALL.into_iter().flat_map(|algorithm| [(algorithm, 330, 3), (algorithm, 450, 1)]);
    at_once(cases, |(algorithm, millis, hits)| {
        let limit = limit(algorithm, 5, 4, millis, Over::Drop);
        until_shown(&format!("wait {algorithm} {millis}"), |client| {
            // Full, bit by bit, and nobody was denied before.
            for _ in 0..limit.capacity() {
                timed(stand, client, &limit, 1);
            }
            let (denied, sent, answered) = timed(stand, client, &limit, hits);
            let Some(wait) = denied.retry_after().map(Micros::as_duration) else {
                // So slow that there was room again.
                assert!(denied.allowed(), "{client}: {denied:?}");
                return false;
            };
            assert!(wait <= Duration::from_millis(2 * millis), "{client}: {denied:?}");
            let (first, last) = (sent + wait, answered + wait);
            sleep_until(first - EARLY.min(wait));
            let (early, asked, told) = timed(stand, client, &limit, hits);
            let surely_early = told < first;
            assert!(!surely_early || !early.allowed(), "{client}: not before {wait:?}: {early:?}");
            if let Some(rest) = early.retry_after().map(Micros::as_duration) {
                // Not later than was said, and not earlier, but for what a memory does not know.
                let slack = if stand.remembers() { answered - sent } else { Duration::ZERO };
                assert!(asked + rest <= last && told + rest + slack >= first, "{client}: {rest:?} of {wait:?}");
                sleep_until(last);
                let (late, ..) = timed(stand, client, &limit, hits);
                assert!(late.allowed(), "{client}: after {wait:?}: {late:?}");
            }
            surely_early
        });
    });
}

/// A client that waits as it is told passes each time, and passes as often as the rate allows, not more.
pub fn buckets_refill_at_their_rate<S: CounterStore>(stand: &Stand<S>) {
    const HITS: u32 = 10;
    const BURST: u32 = 2;
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyBucket] {
        for over in OVERS {
            // One in 40 ms.
            let limit = limit(algorithm, 6, BURST.into(), 240, over);
            let client = format!("rate {algorithm} {over:?}");
            let start = Instant::now();
            let mut denied = 0;
            for number in 0..HITS {
                let (outcome, _, answered) = timed(stand, &client, &limit, 1);
                if let Some(wait) = outcome.retry_after() {
                    denied += 1;
                    sleep_until(answered + wait.as_duration());
                    let (outcome, ..) = timed(stand, &client, &limit, 1);
                    assert!(outcome.allowed(), "{client} {number}: {outcome:?}");
                }
            }
            let least = Duration::from_millis(40) * (HITS - BURST);
            assert!(start.elapsed() >= least, "{client}: {:?}", start.elapsed());
            assert!(denied > 0 || start.elapsed() > 2 * least, "{client}: nobody had to wait");
        }
    }
}
