//! The memory store: exact under concurrency, bounded under floods, and what it does at its cap.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Barrier;
use std::thread;

use smallvec::smallvec;
use tidegate::core::algorithm::{Outcome, Verdict};
use tidegate::core::clock::{Clock, ManualClock, Micros};
use tidegate::core::descriptor::Operation::{self, Charge, Refund};
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::core::spec::Charge::{AllOrNothing, Independent};
use tidegate::core::spec::FailureMode;
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::counters::{CounterKey, CounterName, CounterStore, Hit, Outcomes};

type Store = MemoryStore<ManualClock>;

fn clock() -> ManualClock {
    ManualClock::at(Micros::from_secs(1_700_000_000))
}

fn store(clock: &ManualClock, max_counters: usize) -> Store {
    MemoryStore::with_secret(clock.clone(), MemoryOptions { max_counters }, [1, 2])
}

fn limit(algorithm: Algorithm, amount: u64, over: Over) -> Limit {
    let window = Window::Length(Micros::from_secs(60));
    let burst = algorithm.has_burst().then_some(amount);
    Limit::new(LimitParts { algorithm, over, burst, ..LimitParts::fixed_window(amount, window) }).unwrap()
}

fn dropping(amount: u64) -> Limit {
    limit(Algorithm::FixedWindow, amount, Over::Drop)
}

fn hit<'a>(space: u128, client: &'a [u8], limit: &'a Limit, operation: Operation) -> Hit<'a> {
    Hit {
        key: CounterKey { space, name: CounterName::default(), values: smallvec![client] },
        limit,
        operation,
        enforced: true,
        failure_mode: FailureMode::default(),
    }
}

fn independent(store: &Store, hits: &[Hit<'_>]) -> Outcomes {
    store.perform_now(hits, Independent).unwrap()
}

fn together(store: &Store, hits: &[Hit<'_>]) -> Outcomes {
    store.perform_now(hits, AllOrNothing).unwrap()
}

fn one(store: &Store, space: u128, client: &str, limit: &Limit, operation: Operation) -> Outcome {
    independent(store, &[hit(space, client.as_bytes(), limit, operation)])[0]
}

fn level(store: &Store, space: u128, client: &str, limit: &Limit) -> Option<u64> {
    let key = CounterKey { space, name: CounterName::default(), values: smallvec![client.as_bytes()] };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.inspect(&key, limit)).unwrap().map(|outcome| outcome.level)
}

fn allowed(outcomes: &[Outcome]) -> Vec<bool> {
    outcomes.iter().map(Outcome::allowed).collect()
}

#[test]
fn counters_are_apart_by_space_and_values() {
    let store = store(&clock(), 1_000);
    let limit = dropping(2);
    for (space, client) in [(1, "a"), (1, "b"), (2, "a"), (1, ""), (1, "ab")] {
        assert_eq!(one(&store, space, client, &limit, Charge(2)).level, 2, "{space} {client}");
        assert!(!one(&store, space, client, &limit, Charge(1)).allowed(), "{space} {client}");
    }
    assert_eq!(store.live_counters(), 5);
}

#[test]
fn looking_makes_no_counter() {
    let store = store(&clock(), 1_000);
    for algorithm in Algorithm::ALL {
        let limit = limit(algorithm, 5, Over::Drop);
        assert_eq!(level(&store, 1, "a", &limit), None);
        assert_eq!(one(&store, 1, "a", &limit, Charge(0)).remaining, 5);
        assert!(one(&store, 1, "a", &limit, Refund(3)).allowed());
        assert!(!one(&store, 1, "a", &limit, Charge(6)).allowed());
        together(&store, &[hit(1, b"a", &limit, Charge(0)), hit(1, b"a", &limit, Refund(1))]);
        together(&store, &[hit(1, b"a", &limit, Charge(3)), hit(1, b"b", &limit, Charge(6))]);
        assert_eq!(store.live_counters(), 0, "{algorithm}");
    }
}

#[test]
fn inspecting_consumes_nothing_and_sees_no_expired_counter() {
    let clock = clock();
    let store = store(&clock, 1_000);
    let limit = dropping(5);
    one(&store, 1, "a", &limit, Charge(3));
    assert_eq!(level(&store, 1, "a", &limit), Some(3));
    assert_eq!(level(&store, 1, "a", &limit), Some(3));
    clock.advance(Micros::from_secs(60));
    assert_eq!(level(&store, 1, "a", &limit), None);
}

#[test]
fn one_counter_is_exact_from_many_threads() {
    for algorithm in Algorithm::ALL {
        let store = store(&clock(), 1_000);
        let limit = limit(algorithm, 5_000, Over::Drop);
        let passed = in_threads(8, |_| (0..1_000).filter(|_| one(&store, 1, "a", &limit, Charge(1)).allowed()).count());
        assert_eq!(passed.iter().sum::<usize>(), 5_000, "{algorithm}");
        assert_eq!(level(&store, 1, "a", &limit), Some(5_000), "{algorithm}");
    }
}

#[test]
fn many_counters_are_exact_from_many_threads() {
    for algorithm in Algorithm::ALL {
        let store = store(&clock(), 10_000);
        let limit = limit(algorithm, 30, Over::Drop);
        let names: Vec<_> = (0..100).map(|client| client.to_string()).collect();
        let passed = in_threads(8, |thread| {
            let mut random = fastrand::Rng::with_seed(thread);
            let mut passed = 0;
            for _ in 0..50 {
                let mut order: Vec<_> = names.iter().collect();
                random.shuffle(&mut order);
                for pair in order.chunks(2) {
                    let hits = [0, 1].map(|client| hit(1, pair[client].as_bytes(), &limit, Charge(1)));
                    passed += allowed(&independent(&store, &hits)).iter().filter(|passed| **passed).count();
                }
            }
            passed
        });
        assert_eq!(passed.iter().sum::<usize>(), 100 * 30, "{algorithm}");
        assert!(names.iter().all(|name| level(&store, 1, name, &limit) == Some(30)), "{algorithm}");
        assert_eq!(store.live_counters(), 100);
    }
}

#[test]
fn charges_and_refunds_from_many_threads_add_up() {
    let store = store(&clock(), 1_000);
    let limit = limit(Algorithm::FixedWindow, 10, Over::Record);
    in_threads(8, |_| {
        for _ in 0..1_000 {
            one(&store, 1, "a", &limit, Charge(3));
            one(&store, 1, "a", &limit, Refund(2));
        }
    });
    assert_eq!(level(&store, 1, "a", &limit), Some(8_000));
}

#[test]
fn all_or_nothing_charges_nothing_when_one_is_denied() {
    for over in [Over::Drop, Over::Record] {
        let store = store(&clock(), 1_000);
        let (narrow, wide) = (limit(Algorithm::FixedWindow, 1, over), limit(Algorithm::TokenBucket, 100, over));
        let request =
            [hit(1, b"a", &wide, Charge(1)), hit(2, b"a", &narrow, Charge(1)), hit(3, b"a", &wide, Charge(1))];
        assert_eq!(allowed(&together(&store, &request)), [true, true, true]);
        let outcomes = together(&store, &request);
        assert_eq!(allowed(&outcomes), [true, false, true]);
        assert_eq!(outcomes.iter().map(|outcome| outcome.level).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(outcomes[1].verdict, Verdict::NotUntil(outcomes[1].reset_after));
        for (space, limit) in [(1, &wide), (2, &narrow), (3, &wide)] {
            assert_eq!(level(&store, space, "a", limit), Some(1), "{space}");
        }
    }
}

#[test]
fn all_or_nothing_is_not_denied_by_what_is_not_enforced() {
    let store = store(&clock(), 1_000);
    let (shadow, wide) = (limit(Algorithm::FixedWindow, 1, Over::Record), dropping(100));
    let mut request = [hit(1, b"a", &shadow, Charge(2)), hit(2, b"a", &wide, Charge(2))];
    request[0].enforced = false;
    let outcomes = together(&store, &request);
    assert_eq!(allowed(&outcomes), [false, true]);
    assert_eq!((outcomes[0].level, outcomes[1].level), (2, 2), "the shadow rule records, as it would alone");
}

#[test]
fn hits_of_one_request_on_one_counter_see_each_other() {
    for (charge, expected) in [(Independent, [true, true, false, true]), (AllOrNothing, [true, true, false, true])] {
        let store = store(&clock(), 1_000);
        let limit = dropping(8);
        let request = [5, 3, 1, 0].map(|hits| hit(1, b"a", &limit, Charge(hits)));
        assert_eq!(allowed(&store.perform_now(&request, charge).unwrap()), expected, "{charge:?}");
        let left = level(&store, 1, "a", &limit);
        assert_eq!(left, if charge == Independent { Some(8) } else { None }, "{charge:?}");
        // A refund in between makes room for what follows.
        let request = [Refund(8), Charge(5), Refund(1), Charge(4)].map(|operation| hit(1, b"a", &limit, operation));
        assert_eq!(allowed(&store.perform_now(&request, charge).unwrap()), [true; 4], "{charge:?}");
        assert_eq!(level(&store, 1, "a", &limit), Some(8), "{charge:?}");
    }
}

#[test]
fn refunds_are_performed_even_when_nothing_is_charged() {
    let store = store(&clock(), 1_000);
    let limit = dropping(5);
    one(&store, 1, "a", &limit, Charge(5));
    one(&store, 2, "a", &limit, Charge(5));
    let outcomes = together(&store, &[hit(1, b"a", &limit, Refund(2)), hit(2, b"a", &limit, Charge(1))]);
    assert_eq!(allowed(&outcomes), [true, false]);
    assert_eq!((outcomes[0].level, outcomes[1].level), (3, 5));
    assert_eq!(level(&store, 1, "a", &limit), Some(3));
}

#[test]
fn all_or_nothing_over_overlapping_counters_never_over_admits_and_never_hangs() {
    for algorithm in Algorithm::ALL {
        let store = store(&clock(), 10_000);
        let limit = limit(algorithm, 200, Over::Drop);
        let names: Vec<_> = (0..10).map(|client| client.to_string()).collect();
        let charged = in_threads(8, |thread| {
            let mut random = fastrand::Rng::with_seed(thread);
            let mut charged = [0_u64; 10];
            for _ in 0..300 {
                // Three of the ten in any order, perhaps one of them twice.
                let chosen: Vec<usize> = (0..3).map(|_| random.usize(..10)).collect();
                let hits: Vec<_> =
                    chosen.iter().map(|&client| hit(1, names[client].as_bytes(), &limit, Charge(1))).collect();
                if together(&store, &hits).iter().all(Outcome::allowed) {
                    chosen.iter().for_each(|&client| charged[client] += 1);
                }
            }
            charged
        });
        for (client, name) in names.iter().enumerate() {
            let total: u64 = charged.iter().map(|charged| charged[client]).sum();
            assert!(total <= 200, "{algorithm}: {total} on {client}");
            assert_eq!(level(&store, 1, name, &limit), Some(total), "{algorithm}: all or nothing");
        }
        // Demand was 720 for each: those that were used up denied the others, but somebody was used up.
        assert!(charged.iter().flatten().sum::<u64>() > 1_000, "{algorithm}");
    }
}

#[test]
fn expired_counters_are_reclaimed_by_sweeping_and_by_new_ones() {
    let clock = clock();
    let store = store(&clock, 100_000);
    let limit = dropping(10);
    for client in 0..10_000 {
        one(&store, 1, &client.to_string(), &limit, Charge(1));
    }
    clock.advance(Micros::from_secs(60));
    assert_eq!(store.live_counters(), 10_000);
    for client in 10_000..20_000 {
        one(&store, 1, &client.to_string(), &limit, Charge(1));
    }
    // Two are examined for each new one, so that the old ones cannot stay for long.
    assert!(store.live_counters() < 12_000, "{}", store.live_counters());
    let before = store.approximate_bytes();
    clock.advance(Micros::from_secs(60));
    one(&store, 1, "still here", &limit, Charge(1));
    for _ in 0..200 {
        store.sweep();
    }
    assert_eq!(store.live_counters(), 1);
    assert_eq!(store.stats().expired, 20_000);
    assert!(store.approximate_bytes() < before / 3, "memory is given back");
    assert_eq!(level(&store, 1, "still here", &limit), Some(1));
}

#[test]
fn a_counter_is_as_new_after_its_reset() {
    for algorithm in Algorithm::ALL {
        let clock = clock();
        let store = store(&clock, 1_000);
        let limit = limit(algorithm, 10, Over::Drop);
        let outcome = one(&store, 1, "a", &limit, Charge(7));
        clock.advance(outcome.reset_after - Micros(1));
        (0..200).for_each(|_| store.sweep());
        assert_eq!(store.live_counters(), 1, "{algorithm}: not before");
        clock.advance(Micros(1));
        (0..200).for_each(|_| store.sweep());
        assert_eq!(store.live_counters(), 0, "{algorithm}");
        assert_eq!(one(&store, 1, "a", &limit, Charge(10)).level, 10, "{algorithm}");
    }
}

#[test]
fn a_clock_that_was_set_far_forward_and_back_heals_within_the_window() {
    for (algorithm, windows) in [(Algorithm::FixedWindow, 1), (Algorithm::SlidingWindowCounter, 2)] {
        let clock = clock();
        let store = store(&clock, 1_000);
        let limit = limit(algorithm, 5, Over::Record);
        let today = clock.now().wall;
        clock.set_wall(today + Micros::from_secs(86_400));
        assert!(one(&store, 1, "a", &limit, Charge(5)).allowed());
        clock.set_wall(today);
        assert!(!one(&store, 1, "a", &limit, Charge(1)).allowed(), "{algorithm}: the step itself admits nothing");
        // However often the client tries, it is not locked out until tomorrow.
        let passed_after = (1..=windows * 60).find(|_| {
            clock.advance(Micros::SECOND);
            one(&store, 1, "a", &limit, Charge(1)).allowed()
        });
        assert!(passed_after.is_some(), "{algorithm}");
    }
}

#[test]
fn a_clock_set_back_inside_a_window_forgets_nothing() {
    let clock = clock();
    let store = store(&clock, 1_000);
    let limit = dropping(5);
    let wall = clock.now().wall;
    let start = Micros(wall.0 - wall.0 % 60_000_000);
    clock.set_wall(start + Micros::from_secs(50));
    assert!(one(&store, 1, "a", &limit, Charge(5)).allowed());
    clock.set_wall(start);
    // The counter expected its window to end by now.
    clock.advance(Micros::from_secs(30));
    (0..200).for_each(|_| store.sweep());
    assert!(!one(&store, 1, "a", &limit, Charge(1)).allowed());
    clock.advance(Micros::from_secs(30));
    assert!(one(&store, 1, "a", &limit, Charge(1)).allowed());
}

/// A flood of other keys, each consuming `cost` of 10, against clients of the same rule who consumed `held` each.
/// Returns the store and how many of the flood's hits passed.
fn flood(cost: u64, held: u64, charge: tidegate::core::spec::Charge) -> (Store, u64) {
    const CAP: usize = 2_000;
    let store = store(&clock(), CAP);
    let limit = limit(Algorithm::FixedWindow, 10, Over::Record);
    for client in 0..100 {
        assert!(one(&store, 1, &format!("client {client}"), &limit, Charge(held)).allowed());
    }
    let mut passed = 0;
    for key in 0..20_000 {
        let key = format!("flood {key}");
        let outcomes = store.perform_now(&[hit(1, key.as_bytes(), &limit, Charge(cost))], charge).unwrap();
        passed += u64::from(outcomes[0].allowed());
        if key.ends_with("99") {
            assert!(store.live_counters() <= CAP as u64, "never above the cap");
        }
    }
    assert!(store.live_counters() <= CAP as u64);
    for client in 0..100 {
        let kept = level(&store, 1, &format!("client {client}"), &limit);
        assert!(held <= 5 || kept == Some(held), "client {client} is above half and keeps its counter: {kept:?}");
    }
    (store, passed)
}

#[test]
fn a_flood_of_fresh_keys_takes_each_others_places() {
    for charge in [Independent, AllOrNothing] {
        let (store, passed) = flood(1, 6, charge);
        let stats = store.stats();
        assert_eq!((passed, stats.overflowed, stats.overflow_counters), (20_000, 0, 0));
        assert!(stats.least_consumed >= 18_000, "{stats:?}");
    }
}

#[test]
fn a_flood_of_half_used_keys_takes_each_others_places() {
    for charge in [Independent, AllOrNothing] {
        let (store, passed) = flood(5, 6, charge);
        assert_eq!((passed, store.stats().overflowed), (20_000, 0));
        assert!(store.stats().least_consumed >= 18_000);
    }
}

#[test]
fn a_flood_of_keys_above_half_shares_one_counter() {
    for charge in [Independent, AllOrNothing] {
        let (store, passed) = flood(6, 6, charge);
        let stats = store.stats();
        assert_eq!((stats.least_consumed, stats.overflow_counters), (0, 1));
        let (own, shared) = (stats.live - 100, stats.overflowed);
        assert!((1_500..=1_900).contains(&own), "{stats:?}");
        // Those with a counter of their own passed, and of all the others as many as the limit allows: one.
        assert_eq!(passed, own + 1);
        assert!(charge == AllOrNothing || own + shared == 20_000, "{stats:?}");
    }
}

#[test]
fn a_flood_of_keys_over_their_limit_shares_one_counter() {
    let (store, passed) = flood(11, 6, Independent);
    let stats = store.stats();
    assert_eq!((passed, stats.least_consumed, stats.overflow_counters), (0, 0, 1));
    assert_eq!(stats.live - 100 + stats.overflowed, 20_000);
    // Denied and dropped together, they leave nothing behind at all.
    let (store, passed) = flood(11, 6, AllOrNothing);
    assert_eq!((passed, store.live_counters()), (0, 100));
}

#[test]
fn the_least_consumed_goes_first() {
    let store = store(&clock(), 32);
    let limit = dropping(100);
    for client in 0..32 {
        one(&store, 1, &format!("client {client}"), &limit, Charge(10 + client));
    }
    one(&store, 1, "new", &limit, Charge(50));
    assert_eq!(level(&store, 1, "client 0", &limit), None);
    assert_eq!(level(&store, 1, "new", &limit), Some(50));
    assert!((1..32).all(|client| level(&store, 1, &format!("client {client}"), &limit).is_some()));
}

#[test]
fn the_expired_go_before_the_least_consumed() {
    let clock = clock();
    let store = store(&clock, 32);
    let (short, long) =
        (limit(Algorithm::TokenBucket, 60, Over::Drop), limit(Algorithm::SlidingWindowLog, 60, Over::Drop));
    for client in 0..31 {
        one(&store, 1, &format!("client {client}"), &long, Charge(1));
    }
    // Full, but drained after twenty seconds.
    one(&store, 1, "expired", &short, Charge(20));
    clock.advance(Micros::from_secs(20));
    one(&store, 1, "new", &long, Charge(1));
    assert_eq!((store.stats().expired, store.stats().least_consumed), (1, 0));
    assert!((0..31).all(|client| level(&store, 1, &format!("client {client}"), &long).is_some()));
}

#[test]
fn overflow_counters_are_one_for_each_limit_and_expire() {
    let clock = clock();
    let store = store(&clock, 64);
    let limit = dropping(10);
    let fill = |from: u32, to: u32, space| {
        (from..to).filter(|key| one(&store, space, &key.to_string(), &limit, Charge(6)).allowed()).count()
    };
    assert_eq!(fill(0, 64, 1), 64);
    for space in 1..=3 {
        // Six of the shared ten; two times six do not fit.
        assert_eq!(fill(100, 200, space), 1, "{space}");
        // A peek of a key without a counter asks the shared one, too.
        assert!(one(&store, space, "300", &limit, Charge(4)).allowed());
        assert!(!one(&store, space, "300", &limit, Charge(1)).allowed());
    }
    assert_eq!((store.live_counters(), store.stats().overflow_counters), (64, 3));
    clock.advance(Micros::from_secs(60));
    (0..200).for_each(|_| store.sweep());
    assert_eq!((store.live_counters(), store.stats().overflow_counters), (0, 0));
    assert_eq!(fill(0, 64, 1), 64);
}

#[test]
fn a_post_paid_peek_is_not_free_when_its_charges_overflow() {
    let store = store(&clock(), 64);
    let full = dropping(10);
    (0..64).for_each(|key| assert!(one(&store, 1, &key.to_string(), &full, Charge(6)).allowed()));
    let tokens = Limit::new(LimitParts {
        post_paid: true,
        ..LimitParts::fixed_window(1_000, Window::Length(Micros::from_secs(60)))
    })
    .unwrap();
    for (peek, cost) in [(true, 500), (true, 500), (false, 500)] {
        assert_eq!(one(&store, 2, "somebody", &tokens, Charge(0)).allowed(), peek);
        assert_eq!(together(&store, &[hit(2, b"somebody", &tokens, Charge(0))])[0].allowed(), peek);
        one(&store, 2, "somebody", &tokens, Charge(cost));
    }
}

#[test]
fn all_or_nothing_holds_for_counters_without_room() {
    let store = store(&clock(), 64);
    let limit = dropping(10);
    (0..64).for_each(|key| assert!(one(&store, 1, &key.to_string(), &limit, Charge(6)).allowed()));
    // Two keys of one space, both without room: they share, so that together they do not fit.
    let request = [hit(2, b"a", &limit, Charge(6)), hit(2, b"b", &limit, Charge(6)), hit(1, b"1", &limit, Charge(1))];
    assert_eq!(allowed(&together(&store, &request)), [true, false, true]);
    assert_eq!(one(&store, 2, "c", &limit, Charge(0)).level, 0, "nothing was charged");
    assert_eq!(level(&store, 1, "1", &limit), Some(6));
    let request = [hit(2, b"a", &limit, Charge(5)), hit(2, b"b", &limit, Charge(5)), hit(1, b"1", &limit, Charge(1))];
    assert_eq!(allowed(&together(&store, &request)), [true, true, true]);
    assert_eq!(one(&store, 2, "c", &limit, Charge(0)).level, 10);
    assert_eq!(level(&store, 1, "1", &limit), Some(7));
}

#[test]
fn one_request_does_not_evict_its_own_counters() {
    let store = store(&clock(), 4);
    let limit = dropping(10);
    let names: Vec<_> = (0..6).map(|client| client.to_string()).collect();
    let request: Vec<_> = names.iter().map(|name| hit(1, name.as_bytes(), &limit, Charge(2))).collect();
    let mut levels: Vec<_> = together(&store, &request).iter().map(|outcome| outcome.level).collect();
    levels.sort_unstable();
    // Four have a counter of their own; two share one.
    assert_eq!(levels, [2, 2, 2, 2, 2, 4]);
    assert_eq!((store.live_counters(), store.stats().overflow_counters), (4, 1));
}

/// Runs `work` in so many threads at once.
fn in_threads<T: Send>(threads: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(usize::try_from(threads).unwrap());
    thread::scope(|scope| {
        let run = |thread| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(thread)
            })
        };
        let handles: Vec<_> = (0..threads).map(run).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}
