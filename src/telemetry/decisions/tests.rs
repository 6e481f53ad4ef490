use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::telemetry::shard;

fn metrics(max_series: usize, max_domains: usize) -> DecisionMetrics {
    DecisionMetrics::new(DecisionMetricsOptions { shards: 3, max_series, max_domains })
}

fn hits(total_hits: u64) -> HitCounts {
    HitCounts { total_hits, ..HitCounts::default() }
}

#[test]
fn shards_add_up() {
    let metrics = metrics(10, 10);
    let series = metrics.series("edge", "user");
    let counts = HitCounts {
        total_hits: 7,
        over_limit: 1,
        near_limit: 2,
        within_limit: 6,
        shadow_mode: 3,
        over_limit_with_local_cache: 4,
        refunded: 5,
    };
    std::thread::scope(|scope| {
        for index in [0, 1, 2, 99] {
            let series = &series;
            scope.spawn(move || {
                shard::set(index);
                for _ in 0..1_000 {
                    series.add(&counts);
                }
            });
        }
    });
    series.add(&counts);
    let total = series.total();
    assert_eq!(total.total_hits, 7 * 4_001);
    assert_eq!(total.over_limit, 4_001);
    assert_eq!(total.near_limit, 2 * 4_001);
    assert_eq!(total.within_limit, 6 * 4_001);
    assert_eq!(total.shadow_mode, 3 * 4_001);
    assert_eq!(total.over_limit_with_local_cache, 4 * 4_001);
    assert_eq!(total.refunded, 5 * 4_001);
}

#[test]
fn the_same_name_is_the_same_series() {
    let metrics = metrics(10, 10);
    metrics.series("edge", "user").add(&hits(1));
    metrics.dynamic_series("edge", "user").add(&hits(2));
    // Where the domain ends and the rule begins counts.
    metrics.series("edgeu", "ser").add(&hits(4));
    assert_eq!(metrics.series("edge", "user").total(), hits(3));
    assert_eq!(metrics.totals().len(), 2);
}

#[test]
fn beyond_the_cap_a_domain_has_one_series_more() {
    let metrics = metrics(2, 10);
    let known = [metrics.series("edge", "a"), metrics.series("edge", "b")];
    metrics.series("edge", "c").add(&hits(1));
    metrics.series("edge", "d").add(&hits(2));
    metrics.series("inner", "c").add(&hits(4));
    assert!(Arc::ptr_eq(&metrics.series("edge", "a"), &known[0]));
    assert!(Arc::ptr_eq(&metrics.series("edge", "e"), &metrics.series("edge", OTHER)));
    let totals = metrics.totals();
    let shown: Vec<_> = totals.iter().map(|(s, t)| (s.domain(), s.rule(), t.total_hits)).collect();
    assert_eq!(shown, [("edge", "a", 0), ("edge", "b", 0), ("edge", OTHER, 3), ("inner", OTHER, 4)]);
}

#[test]
fn beyond_the_cap_on_domains_there_is_one_for_all() {
    let metrics = metrics(10, 1);
    metrics.series("edge", "a").add(&hits(1));
    metrics.series("inner", "a").add(&hits(2));
    metrics.series("outer", "b").add(&hits(4));
    let totals = metrics.totals();
    let shown: Vec<_> = totals.iter().map(|(s, t)| (s.domain(), s.rule(), t.total_hits)).collect();
    assert_eq!(shown, [("edge", "a", 1), (OTHER, OTHER, 6)]);
}

#[test]
fn a_flood_of_values_leaves_room_for_rules() {
    let metrics = metrics(100, 10);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let metrics = &metrics;
            scope.spawn(move || {
                for value in 0..5_000 {
                    metrics.dynamic_series("edge", &format!("user_{thread}_{value}")).add(&hits(1));
                }
            });
        }
    });
    let totals = metrics.totals();
    assert_eq!(totals.len(), 51, "half of the series, and the domain's other");
    assert_eq!(totals.iter().map(|(_, total)| total.total_hits).sum::<u64>(), 20_000);
    assert_eq!(metrics.series("edge", "new rule").rule(), "new rule");
}

#[test]
fn names_are_cut_at_whole_characters() {
    let metrics = metrics(10, 10);
    let long = "ä".repeat(1_000);
    let series = metrics.dynamic_series("edge", &long);
    assert_eq!(series.rule(), "ä".repeat(128));
    assert!(Arc::ptr_eq(&series, &metrics.dynamic_series("edge", &"ä".repeat(500))));
}

#[test]
fn unknown_domains_are_bounded() {
    let metrics = metrics(10, 3);
    for domain in ["a", "b", "a", "c", "d", "e", OTHER] {
        metrics.unknown_domain(domain);
    }
    let expected = [("a", 2), ("b", 1), ("c", 1), (OTHER, 3)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(metrics.unknown_domains(), expected);
}

#[test]
fn latencies_fall_into_their_buckets() {
    let metrics = metrics(10, 10);
    for micros in [0, 10, 11, 100_000, 100_001, 5_000_000] {
        metrics.observe(Duration::from_micros(micros));
    }
    let latency = metrics.latency();
    assert_eq!(latency.count(), 6);
    let buckets: Vec<_> = latency.buckets().filter(|(_, count)| *count > 0).collect();
    assert_eq!(buckets, [(0.000_01, 2), (0.000_02, 1), (0.1, 1), (f64::INFINITY, 2)]);
    assert!((latency.sum - 5.200_022).abs() < 1e-9, "{}", latency.sum);
}

#[test]
fn failures_and_shadowed_answers_are_counted() {
    let metrics = metrics(10, 10);
    metrics.failed(Failure::Store);
    metrics.failed(Failure::Service);
    metrics.failed(Failure::Service);
    metrics.global_shadow_mode();
    assert_eq!(metrics.failures(Failure::Store), 1);
    assert_eq!(metrics.failures(Failure::Service), 2);
    assert_eq!(metrics.global_shadow_modes(), 1);
}
