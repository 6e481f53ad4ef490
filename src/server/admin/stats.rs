//! The counters as JSON, for scripts and people without Prometheus.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::counters::CounterStore;
use crate::server::Context;
use crate::telemetry::decisions::{Failure, HitCounts};

/// Every counter, by domain and rule.
pub async fn stats(State(context): State<Arc<Context>>) -> Json<Value> {
    let metrics = context.metrics.decisions();
    let mut totals = metrics.totals();
    totals.sort_by(|(a, _), (b, _)| (a.domain(), a.rule()).cmp(&(b.domain(), b.rule())));
    let mut domains = Map::new();
    for (series, counts) in totals {
        let domain = domains.entry(series.domain()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(rules) = domain {
            rules.insert(series.rule().to_owned(), count(&counts));
        }
    }
    let active = context.limiter.active();
    Json(json!({
        "revision": active.revision,
        "rules": active.rules.rule_count(),
        "live_counters": context.limiter.store().live_counters(),
        "domains": domains,
        "unknown_domains": metrics.unknown_domains().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "global_shadow_mode": metrics.global_shadow_modes(),
        "failures": { "store": metrics.failures(Failure::Store), "service": metrics.failures(Failure::Service) },
    }))
}

fn count(counts: &HitCounts) -> Value {
    json!({
        "total_hits": counts.total_hits,
        "within_limit": counts.within_limit,
        "near_limit": counts.near_limit,
        "over_limit": counts.over_limit,
        "over_limit_with_local_cache": counts.over_limit_with_local_cache,
        "shadow_mode": counts.shadow_mode,
        "refunded": counts.refunded,
    })
}
