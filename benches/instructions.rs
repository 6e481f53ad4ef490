//! How many instructions do a match, a memory check and a whole decision take? Counted under callgrind, so the figures repeat on the
//! noisiest machine; the bounds stand here, and exceeding one fails the run.
//!
//! `cargo bench --bench instructions` needs valgrind and `gungraun-runner` of the same version as the library.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig};
use smallvec::smallvec;
use support::deciding::Deciding;
use tidegate::core::clock::{ManualClock, Micros};
use tidegate::core::descriptor::{Entry, Operation};
use tidegate::core::limit::{Algorithm, Limit};
use tidegate::core::ruleset::RuleSet;
use tidegate::core::spec::{Charge, FailureMode};
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::counters::{CounterKey, CounterName, CounterStore as _, Hit};

/// A function's cost is counted from its first call; 100 of them dwarf what surrounds them.
const CALLS: u64 = 100;

fn bound(instructions_per_call: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions_per_call * CALLS)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

fn rules() -> RuleSet {
    support::rule_set(100_000)
}

#[library_benchmark(config = bound(280))]
#[bench::of_100_000_rules(rules())]
fn match_exact_value(set: RuleSet) -> RuleSet {
    let domain = set.domain(b"bench").unwrap();
    for _ in 0..CALLS {
        black_box(domain.find(black_box(&[Entry::new("user_id", "customer-31415")])));
    }
    set
}

#[library_benchmark(config = bound(500))]
#[bench::of_100_000_rules(rules())]
fn match_second_level(set: RuleSet) -> RuleSet {
    let domain = set.domain(b"bench").unwrap();
    for _ in 0..CALLS {
        let entries = [Entry::new("path", "/api/v1"), Entry::new("user_id", "customer-31415")];
        black_box(domain.find(black_box(&entries)));
    }
    set
}

// An index that is edited in place takes one step more for each length than one that is built once, which stayed below
// 750. The seeds of hashes differ from run to run, and so does how often a table is probed.
#[library_benchmark(config = bound(1_100))]
#[bench::of_100_000_wildcards(support::wildcard_set(100_000))]
fn match_wildcard(set: RuleSet) -> RuleSet {
    let domain = set.domain(b"bench").unwrap();
    for _ in 0..CALLS {
        black_box(domain.find(black_box(&[Entry::new("path", "/api/31415/x/items")])));
    }
    set
}

type Store = (MemoryStore<ManualClock>, Limit);

fn store(algorithm: Algorithm) -> Store {
    let store =
        MemoryStore::new(ManualClock::at(Micros::from_secs(1_700_000_000)), MemoryOptions { max_counters: 1_000_000 });
    let limit = support::ample(algorithm);
    for n in 0..10_000 {
        check(&store, &limit, &format!("user-{n}"));
    }
    (store, limit)
}

fn check(store: &MemoryStore<ManualClock>, limit: &Limit, user: &str) {
    let key = CounterKey { space: 7, name: CounterName::default(), values: smallvec![user.as_bytes()] };
    let hits =
        [Hit { key, limit, operation: Operation::Charge(1), enforced: true, failure_mode: FailureMode::default() }];
    let answer = pin!(store.perform(&hits, Charge::Independent, None));
    // The memory store answers at once.
    let Poll::Ready(answer) = answer.poll(&mut Context::from_waker(Waker::noop())) else { unreachable!() };
    black_box(answer).unwrap();
}

#[library_benchmark]
#[bench::fixed_window(args = (store(Algorithm::FixedWindow)), config = bound(930))]
#[bench::sliding_window_log(args = (store(Algorithm::SlidingWindowLog)), config = bound(1_220))]
#[bench::sliding_window_counter(args = (store(Algorithm::SlidingWindowCounter)), config = bound(1_120))]
#[bench::token_bucket(args = (store(Algorithm::TokenBucket)), config = bound(1_180))]
#[bench::leaky_bucket(args = (store(Algorithm::LeakyBucket)), config = bound(1_430))]
fn check_in_memory((store, limit): Store) -> Store {
    for _ in 0..CALLS {
        check(&store, &limit, "user-31");
    }
    (store, limit)
}

// The whole of a decision but for its connection, without and with what an observation adds.
#[library_benchmark]
#[bench::not_observed(args = (Deciding::new(false)), config = bound(19_200))]
#[bench::observed(args = (Deciding::new(true)), config = bound(21_900))]
fn decide(deciding: Deciding) -> Deciding {
    for _ in 0..CALLS {
        deciding.decide();
    }
    deciding
}

library_benchmark_group!(name = matching, benchmarks = [match_exact_value, match_second_level, match_wildcard]);
library_benchmark_group!(name = checking, benchmarks = [check_in_memory]);
library_benchmark_group!(name = deciding, benchmarks = [decide]);
main!(library_benchmark_groups = [matching, checking, deciding]);
