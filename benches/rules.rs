//! What does one changed rule of a million cost until it is in force, and how much memory do a million take?
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group};
use tidegate::core::clock::{ManualClock, Micros};
use tidegate::core::limit::Algorithm;
use tidegate::core::path::DescriptorPath;
use tidegate::core::ruleset::RuleSet;
use tidegate::core::spec::RuleSpec;
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::limiter::{Description, Limiter, LimiterOptions};
use tidegate::telemetry::decisions::DecisionMetrics;

const RULES: u32 = 1_000_000;

/// The path of the n-th rule.
type Path = fn(u32) -> String;

fn flat(n: u32) -> String {
    format!("user_id={n}")
}

/// Every other rule stands below the one before it.
fn nested(n: u32) -> String {
    if n.is_multiple_of(2) { flat(n) } else { format!("user_id={},path=/api/v1", n - 1) }
}

fn wildcard(n: u32) -> String {
    format!("path=/api/{n}/*/items")
}

fn rule(algorithm: Algorithm) -> RuleSpec {
    support::limited("any", None, algorithm).rule
}

fn put(set: &mut RuleSet, path: &str, rule: RuleSpec) {
    set.put("bench", &path.parse::<DescriptorPath>().unwrap(), rule).unwrap();
}

fn build(rules: u32, path: Path) -> RuleSet {
    let mut set = RuleSet::default();
    (0..rules).for_each(|n| put(&mut set, &path(n), rule(Algorithm::FixedWindow)));
    set
}

/// Memory of this process, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Builds a set and tells what it took.
fn measured(name: &str, path: Path) -> RuleSet {
    let (before, start) = (resident(), std::time::Instant::now());
    let set = build(RULES, path);
    let (bytes, built) = (resident().saturating_sub(before) / u64::from(RULES), start.elapsed());
    println!("{name}: {RULES} rules built in {built:.2?}, {bytes} bytes a rule");
    set
}

fn changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("one_of_a_million");
    group.sample_size(50);
    for (name, path) in [("flat", flat as Path), ("nested", nested), ("wildcard", wildcard)] {
        let set = measured(name, path);
        let mut numbers = (0..RULES).cycle().step_by(7_919);
        group.bench_function(format!("change/{name}"), |b| {
            b.iter(|| {
                let mut next = set.clone();
                put(&mut next, &path(numbers.next().unwrap()), rule(Algorithm::TokenBucket));
                black_box(next)
            });
        });
        group.bench_function(format!("add/{name}"), |b| {
            b.iter(|| {
                let mut next = set.clone();
                put(&mut next, &path(RULES), rule(Algorithm::TokenBucket));
                black_box(next)
            });
        });
        let clock = ManualClock::at(Micros::from_secs(1_700_000_000));
        let store = MemoryStore::new(clock, MemoryOptions { max_counters: 1_000 });
        let limiter = Limiter::new(store, LimiterOptions::default(), Arc::new(DecisionMetrics::default()));
        let start = std::time::Instant::now();
        limiter.publish(set, Description::default());
        println!("{name}: first published in {:.2?}, the process has {} MB", start.elapsed(), resident() >> 20);
        group.bench_function(format!("change_publish_and_free/{name}"), |b| {
            b.iter(|| {
                let mut next = limiter.active().rules.clone();
                put(&mut next, &path(numbers.next().unwrap()), rule(Algorithm::TokenBucket));
                limiter.publish(next, Description::default());
                assert_eq!(limiter.reclaim(), 0);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, changes);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
