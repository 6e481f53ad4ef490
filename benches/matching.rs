//! How long does it take to find a descriptor's rule, and does that grow with the number of rules?
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate::core::descriptor::Entry;

fn matching(c: &mut Criterion) {
    let mut group = c.benchmark_group("match_one_descriptor");
    for rules in [10, 1_000, 100_000] {
        let set = support::rule_set(rules);
        let domain = set.domain(b"bench").unwrap();
        // A different rule each time, so that the cache is as cold as it would be.
        let values: Vec<_> = (0..rules / 2).map(|n| format!("customer-{}", n * 7919 % (rules / 2).max(1))).collect();
        let mut next = values.iter().cycle();
        group.bench_function(BenchmarkId::new("exact_value", rules), |b| {
            b.iter(|| {
                let entry = Entry::new("user_id", next.next().unwrap());
                black_box(domain.find(black_box(&[entry])));
            });
        });
        let mut next = values.iter().cycle();
        group.bench_function(BenchmarkId::new("second_level", rules), |b| {
            b.iter(|| {
                let entries = [Entry::new("path", "/api/v1"), Entry::new("user_id", next.next().unwrap())];
                black_box(domain.find(black_box(&entries)));
            });
        });
        group.bench_function(BenchmarkId::new("default_of_the_key", rules), |b| {
            b.iter(|| black_box(domain.find(black_box(&[Entry::new("user_id", "somebody")]))));
        });
        let set = support::wildcard_set(rules);
        let domain = set.domain(b"bench").unwrap();
        let values: Vec<_> = (0..rules).map(|n| format!("/api/{}/x/items", n * 7919 % rules)).collect();
        let mut next = values.iter().cycle();
        group.bench_function(BenchmarkId::new("wildcard", rules), |b| {
            b.iter(|| {
                let entry = Entry::new("path", next.next().unwrap());
                black_box(domain.find(black_box(&[entry])));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, matching);
criterion_main!(benches);
