use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::telemetry::decisions::{Failure, HitCounts};

fn metrics() -> Metrics {
    Metrics::new(Arc::default(), Arc::default())
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
}

/// Every family has its type before its samples, and no two samples have one name and one label set.
fn well_formed(text: &str) {
    let mut families = std::collections::HashSet::new();
    let mut samples = std::collections::HashSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert!(families.insert(family), "two families {family}");
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(sample.starts_with(family), "{sample} in family {family}");
            assert!(samples.insert(sample), "two samples {sample}");
        }
    }
}

#[test]
fn what_was_counted_is_shown() {
    let metrics = metrics();
    let counts = HitCounts {
        total_hits: 11,
        over_limit: 1,
        near_limit: 2,
        within_limit: 10,
        shadow_mode: 3,
        over_limit_with_local_cache: 4,
        refunded: 5,
    };
    metrics.decisions().series("edge", "user_id.path").add(&counts);
    metrics.decisions().unknown_domain("nowhere");
    metrics.decisions().global_shadow_mode();
    metrics.decisions().failed(Failure::Store);
    metrics.decisions().observe(Duration::from_micros(15));
    metrics.rule_loads().loaded(3, 12);
    metrics.rule_loads().failed();
    let text = metrics.encode();
    well_formed(&text);
    has(&text, r#"tidegate_hits_total{domain="edge",rule="user_id.path"} 11"#);
    has(&text, r#"tidegate_hits_within_limit_total{domain="edge",rule="user_id.path"} 10"#);
    has(&text, r#"tidegate_hits_over_limit_total{domain="edge",rule="user_id.path"} 1"#);
    has(&text, r#"tidegate_hits_near_limit_total{domain="edge",rule="user_id.path"} 2"#);
    has(&text, r#"tidegate_hits_shadow_mode_total{domain="edge",rule="user_id.path"} 3"#);
    has(&text, r#"tidegate_hits_over_limit_remembered_total{domain="edge",rule="user_id.path"} 4"#);
    has(&text, r#"tidegate_hits_refunded_total{domain="edge",rule="user_id.path"} 5"#);
    has(&text, r#"tidegate_unknown_domain_requests_total{domain="nowhere"} 1"#);
    has(&text, "tidegate_global_shadow_mode_total 1");
    has(&text, r#"tidegate_request_failures_total{cause="store"} 1"#);
    has(&text, r#"tidegate_request_failures_total{cause="service"} 0"#);
    has(&text, r#"tidegate_decision_duration_seconds_bucket{le="2e-05"} 1"#);
    has(&text, r#"tidegate_decision_duration_seconds_bucket{le="+Inf"} 1"#);
    has(&text, "tidegate_decision_duration_seconds_count 1");
    has(&text, r#"tidegate_rule_set_loads_total{outcome="success"} 1"#);
    has(&text, r#"tidegate_rule_set_loads_total{outcome="error"} 1"#);
    has(&text, "tidegate_rule_set_revision 3.0");
    has(&text, "tidegate_rules 12.0");
    has(&text, &format!(r#"tidegate_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")));
}

#[test]
fn others_add_their_numbers() {
    let metrics = metrics();
    let evictions = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&evictions);
    metrics.counter("counter_evictions", "Counters that gave way", move || read.load(Ordering::Relaxed));
    metrics.gauge("counters", "Counters kept", || 1.5);
    metrics.gauges("connections", "Open connections", "worker", || vec![("0".into(), 2.0), ("1".into(), 3.0)]);
    metrics.counters("denials", "Denials", "cause", || vec![("a\"b".into(), 4)]);
    evictions.store(7, Ordering::Relaxed);
    let text = metrics.encode();
    well_formed(&text);
    has(&text, "tidegate_counter_evictions_total 7");
    has(&text, "tidegate_counters 1.5");
    has(&text, r#"tidegate_connections{worker="1"} 3.0"#);
    has(&text, r#"tidegate_denials_total{cause="a\"b"} 4"#);
}

#[test]
fn the_names_of_the_reference() {
    let metrics = metrics();
    let hits = |total_hits| HitCounts { total_hits, over_limit: 1, ..HitCounts::default() };
    metrics.decisions().series("edge", "user_id").add(&hits(1));
    metrics.decisions().series("edge", "user_id.path_/a").add(&hits(2));
    metrics.decisions().series("edge", "user_id.path_/a.method").add(&hits(4));
    metrics.decisions().series("edge", "remote_address_10.0.0.1.user_a:b").add(&hits(16));
    metrics.decisions().series("we\"ird", "back\\slash").add(&hits(8));
    metrics.decisions().failed(Failure::Service);
    metrics.decisions().observe(Duration::from_millis(3));
    metrics.decisions().unknown_domain("nowhere");
    metrics.rule_loads().loaded(1, 1);
    let text = metrics.encode_reference();
    well_formed(&text);
    has(&text, r#"ratelimit_service_rate_limit_total_hits{domain="edge",key1="user_id"} 1"#);
    has(&text, r#"ratelimit_service_rate_limit_total_hits{domain="edge",key1="user_id",key2="path_/a"} 6"#);
    has(&text, r#"ratelimit_service_rate_limit_over_limit{domain="edge",key1="user_id",key2="path_/a"} 2"#);
    has(&text, r#"ratelimit_service_rate_limit_total_hits{domain="we\"ird",key1="back\\slash"} 8"#);
    has(
        &text,
        r#"ratelimit_service_rate_limit_total_hits{domain="edge",key1="remote_address_10_0_0_1",key2="user_a_b"} 16"#,
    );
    has(&text, r#"ratelimit_service_rate_limit_domain_not_found{domain="nowhere"} 1"#);
    has(&text, r#"ratelimit_service_should_rate_limit_error{err_type="service_error"} 1"#);
    has(&text, r#"ratelimit_service_total_requests{grpc_method="ShouldRateLimit"} 2"#);
    has(&text, r#"ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.002"} 0"#);
    has(&text, r#"ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="0.005"} 1"#);
    has(&text, r#"ratelimit_service_response_time_seconds_bucket{grpc_method="ShouldRateLimit",le="+Inf"} 1"#);
    has(&text, r#"ratelimit_service_response_time_seconds_sum{grpc_method="ShouldRateLimit"} 0.003"#);
    has(&text, "ratelimit_service_config_load_success 1");
    has(&text, "ratelimit_service_config_load_error 0");
    has(&text, "ratelimit_service_global_shadow_mode 0");
}

#[test]
fn the_documentation_has_every_metric() {
    let document = include_str!("../../../docs/metrics.md");
    let metrics = metrics();
    let text = metrics.encode() + &metrics.encode_reference();
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(families.len() > 20, "{families:?}");
    for family in families {
        // Siblings of one prefix may share a row, `_over_limit`.
        let sibling = family.replace("ratelimit_service_rate_limit_", "`_");
        let documented = [format!("`{family}`"), format!("`{family}{{"), format!("{sibling}`")];
        assert!(documented.iter().any(|written| document.contains(written)), "docs/metrics.md lacks {family}");
    }
}
