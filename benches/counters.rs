//! What does a memory check cost at a million live counters, for each algorithm? What when keys flood a full store, and
//! what does a counter weigh?
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use smallvec::smallvec;
use tidegate::core::clock::{Clock, ManualClock, Micros, SystemClock};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::core::spec::{Charge, FailureMode};
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::counters::{CounterKey, CounterName, CounterStore, Hit};

const LIVE: usize = 1_000_000;

/// Shards are never filled quite evenly; so that a million fit, a few more may.
const ROOM: MemoryOptions = MemoryOptions { max_counters: LIVE + LIVE / 4 };

/// A limit that holds `capacity`. Buckets drain so slowly that their counters live as long as the others.
fn limit(algorithm: Algorithm, capacity: u64) -> Limit {
    let window = Window::Length(Micros::from_secs(3_600));
    let (amount, burst) = if algorithm.has_burst() { (10, Some(capacity)) } else { (capacity, None) };
    let parts = LimitParts { algorithm, burst, over: Over::Drop, ..LimitParts::fixed_window(amount, window) };
    Limit::new(parts).unwrap()
}

fn names(count: usize) -> Vec<String> {
    // Far from each other each time, so that the cache is as cold as it would be.
    (0..count).map(|n| format!("customer-{}", n * 7_919 % count)).collect()
}

fn hit<'a>(space: u128, name: &'a str, limit: &'a Limit) -> Hit<'a> {
    let key = CounterKey { space, name: CounterName::default(), values: smallvec![name.as_bytes()] };
    Hit { key, limit, operation: Operation::Charge(1), enforced: true, failure_mode: FailureMode::default() }
}

fn filled<C: Clock>(clock: C, limit: &Limit, names: &[String], hits_each: usize) -> MemoryStore<C> {
    let store = MemoryStore::with_secret(clock, ROOM, [1, 2]);
    for _ in 0..hits_each {
        for name in names {
            store.perform_now(&[hit(1, name, limit)], Charge::Independent);
        }
    }
    store
}

fn check_at_a_million_counters(c: &mut Criterion) {
    let names = names(LIVE);
    let mut group = c.benchmark_group("check_at_a_million_counters");
    for algorithm in Algorithm::ALL {
        // So much that everything passes, but for the log, which holds at most ten.
        let limit = limit(algorithm, if algorithm == Algorithm::SlidingWindowLog { 10 } else { 1_000_000 });
        let store = filled(SystemClock::new(), &limit, &names, 1);
        let mut next = names.iter().cycle();
        group.bench_function(BenchmarkId::new("one_hit", algorithm), |b| {
            b.iter(|| black_box(store.perform_now(&[hit(1, next.next().unwrap(), &limit)], Charge::Independent)));
        });
        assert!(store.live_counters() >= LIVE as u64);
    }
    let limit = limit(Algorithm::FixedWindow, 1_000_000);
    let store = filled(SystemClock::new(), &limit, &names, 1);
    for (name, charge) in [("two_hits", Charge::Independent), ("two_hits_all_or_nothing", Charge::AllOrNothing)] {
        let mut next = names.iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| {
                let hits = [hit(1, next.next().unwrap(), &limit), hit(1, next.next().unwrap(), &limit)];
                black_box(store.perform_now(&hits, charge))
            });
        });
    }
    group.finish();
}

fn new_keys_at_the_cap(c: &mut Criterion) {
    let mut group = c.benchmark_group("new_keys_at_the_cap");
    let names = names(2_000_000);
    for (name, amount) in [("evicting_another", 10), ("sharing_an_overflow_counter", 1)] {
        let limit = limit(Algorithm::FixedWindow, amount);
        let options = MemoryOptions { max_counters: 100_000 };
        let store = MemoryStore::with_secret(SystemClock::new(), options, [1, 2]);
        let mut next = names.iter().cycle();
        for name in next.by_ref().take(1_000_000) {
            store.perform_now(&[hit(1, name, &limit)], Charge::Independent);
        }
        group.bench_function(name, |b| {
            b.iter(|| black_box(store.perform_now(&[hit(1, next.next().unwrap(), &limit)], Charge::Independent)));
        });
    }
    group.finish();
}

fn sweep_of_one_shard(c: &mut Criterion) {
    let limit = limit(Algorithm::FixedWindow, 10);
    let store = filled(ManualClock::at(Micros::from_secs(1_700_000_000)), &limit, &names(LIVE), 1);
    c.bench_function("sweep_of_one_shard_of_a_million_counters", |b| b.iter(|| store.sweep()));
}

/// Not a time, but it belongs with them: bytes per counter.
fn bytes_per_counter(_: &mut Criterion) {
    let names = names(LIVE);
    for algorithm in Algorithm::ALL {
        let hits: &[usize] = if algorithm == Algorithm::SlidingWindowLog { &[1, 10] } else { &[1] };
        for &hits in hits {
            let clock = ManualClock::at(Micros::from_secs(1_700_000_000));
            let store = MemoryStore::with_secret(clock.clone(), ROOM, [1, 2]);
            let limit = limit(algorithm, 100);
            for _ in 0..hits {
                for name in &names {
                    store.perform_now(&[hit(1, name, &limit)], Charge::Independent);
                }
                clock.advance(Micros(1));
            }
            let each = store.approximate_bytes() as f64 / store.live_counters() as f64;
            println!("bytes_per_counter/{algorithm}/{hits}_hits: {each:.1}");
        }
    }
}

criterion_group!(benches, bytes_per_counter, check_at_a_million_counters, new_keys_at_the_cap, sweep_of_one_shard);
criterion_main!(benches);
