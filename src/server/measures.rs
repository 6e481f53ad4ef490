//! What the server itself measures: counters in memory, workers, TLS. Decisions are measured where they are made.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::routing::get;

use super::Context;
use super::rules::{standing, xds};
use super::tls::TlsAcceptor;
use super::workers::{AnsweredBy, Load, Refused};
use crate::core::clock::SystemClock;
use crate::core::spec::FailureMode;
use crate::counters::breaker::{Breaker, BreakerState};
use crate::counters::redis::RedisStore;
use crate::telemetry::metrics;

/// Adds them to the metrics.
pub fn register(context: &Arc<Context>, loads: &[Arc<Load>], refused: Arc<Refused>, tls: &[Option<&TlsAcceptor>]) {
    let metrics = &context.metrics;
    let store = |read: fn(&crate::counters::memory::MemoryStats) -> u64| {
        // Weak: the metrics are part of the context.
        let limiter = Arc::downgrade(&context.limiter);
        move || limiter.upgrade().map_or(0, |limiter| read(&limiter.store().in_process().stats()))
    };
    let live = store(|stats| stats.live);
    metrics.gauge("live_counters", "Counters kept in memory", move || live() as f64);
    let overflow = store(|stats| stats.overflow_counters);
    metrics.gauge("overflow_counters", "Counters shared by keys beyond the cap", move || overflow() as f64);
    metrics.counter("expired_counters", "Counters reclaimed because they were as new", store(|stats| stats.expired));
    metrics.counter("evicted_counters", "Counters evicted to make room", store(|stats| stats.least_consumed));
    metrics.counter("overflowed_hits", "Hits counted on shared counters", store(|stats| stats.overflowed));

    context.lists.register(metrics);
    if let Some(live) = &context.live {
        standing::register(metrics, live);
    }
    if let Some(status) = &context.xds {
        xds::register(metrics, status);
    }
    if let Some(worker) = &context.anomaly {
        super::anomaly::register(metrics, worker);
    }
    if let Some(redis) = context.limiter.store().redis() {
        counters_in_redis(metrics, redis);
    }

    let workers = loads.to_vec();
    metrics.gauges("worker_connections", "Open gRPC connections", "worker", move || {
        let connections = workers.iter().map(|load| load.connections() as f64);
        connections.enumerate().map(|(worker, count)| (worker.to_string(), count)).collect()
    });
    let workers = loads.to_vec();
    metrics.counters("worker_requests", "Requests for decisions over gRPC", "worker", move || {
        let requests = workers.iter().map(|load| load.requests());
        requests.enumerate().map(|(worker, count)| (worker.to_string(), count)).collect()
    });
    let workers = loads.to_vec();
    metrics.counters("ext_authz_answers", "Answers of external authorization", "answered_by", move || {
        let answers = |by| workers.iter().map(|load| load.checks(by)).sum();
        AnsweredBy::ALL.iter().map(|&by| (by.name().to_owned(), answers(by))).collect()
    });
    metrics
        .counter("refused_connections", "gRPC connections closed because there were too many", move || refused.count());
    let health = Arc::downgrade(&context.health);
    metrics.gauge("serving", "1 while health says SERVING", move || {
        f64::from(u8::from(health.upgrade().is_some_and(|health| health.serving())))
    });
    if context.traces.is_enabled() {
        let traces = context.traces.clone();
        metrics.counters("trace_spans", "Spans that have left the queue", "outcome", move || {
            vec![("delivered".to_owned(), traces.delivered()), ("lost".to_owned(), traces.lost())]
        });
    }
    let limiter = Arc::downgrade(&context.limiter);
    metrics.gauge("adjustments", "Adjustments put in force last", move || {
        limiter.upgrade().map_or(0.0, |limiter| limiter.adjustments().len() as f64)
    });
    let observations = Arc::clone(&context.observations);
    metrics.counters("observations", "Observations of requests for the anomaly worker", "outcome", move || {
        vec![("taken".to_owned(), observations.taken()), ("lost".to_owned(), observations.lost())]
    });
    context.access_logs.register(metrics);
    let access = context.access.clone();
    metrics.counters(
        "refused_calls",
        "Calls that were not allowed, over HTTP and for administration",
        "reason",
        move || access.refused(),
    );
    let acceptors: Vec<_> = tls.iter().flatten().map(|&acceptor| acceptor.clone()).collect();
    if !acceptors.is_empty() {
        let sum = |read: fn(&TlsAcceptor) -> u64| {
            let acceptors = acceptors.clone();
            move || acceptors.iter().map(read).sum()
        };
        metrics.counter("tls_reloads", "New TLS files put in force", sum(|tls| tls.reloads().0));
        metrics.counter("tls_handshake_failures", "TLS handshakes that failed", sum(TlsAcceptor::refused_handshakes));
        metrics.counter("tls_reload_failures", "New TLS files that do not load", sum(|tls| tls.reloads().1));
    }
}

/// What happens on the way to Redis.
fn counters_in_redis(metrics: &metrics::Metrics, redis: &RedisStore<SystemClock>) {
    let store = redis.clone();
    metrics.counter("redis_calls", "Script calls that Redis answered", move || store.stats().calls());
    let store = redis.clone();
    metrics.counter("redis_call_counters", "Counters in these calls", move || store.stats().counters());
    let store = redis.clone();
    metrics.counter("redis_call_steps", "Hits, refunds and peeks on them", move || store.stats().steps());
    let store = redis.clone();
    metrics.counters(
        "redis_failures",
        "Script calls without an answer, and hits that were never sent",
        "reason",
        move || store.stats().failures().map(|(failure, count)| (failure.name().to_owned(), count)).collect(),
    );
    let store = redis.clone();
    metrics.counters("failure_mode_answers", "Hits answered by their rule's failure mode", "mode", move || {
        let name = |mode| match mode {
            FailureMode::Local => "local",
            FailureMode::Open => "open",
            FailureMode::Closed => "closed",
            FailureMode::Error => "error",
        };
        store.fallback().answered().map(|(mode, count)| (name(mode).to_owned(), count)).collect()
    });
    let store = redis.clone();
    metrics.gauges("redis_breaker_open", "0 closed, 1 open, 0.5 while a probe is on its way", "node", move || {
        let nodes = store.backends().iter().flat_map(|backend| backend.nodes());
        let open = |breaker: &Breaker| match breaker.state() {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 0.5,
            BreakerState::Open => 1.0,
        };
        nodes.map(|(address, breaker)| (address.to_string(), open(&breaker))).collect()
    });
    let store = redis.clone();
    metrics.counters("redis_breaker_openings", "How often a breaker has opened", "node", move || {
        let nodes = store.backends().iter().flat_map(|backend| backend.nodes());
        nodes.map(|(address, breaker)| (address.to_string(), breaker.opened())).collect()
    });
    let store = redis.clone();
    metrics.gauge("redis_uncovered_slots", "Slots of the cluster that no node is known to own", move || {
        store.backends().iter().map(|backend| backend.table().uncovered() as f64).sum()
    });
    let store = redis.clone();
    metrics.gauge("replicas", "Replicas that share the limits, as last heard", move || {
        f64::from(store.fallback().replicas().get())
    });
    let store = redis.clone();
    metrics
        .gauge("over_limit_counters", "Counters remembered as over their limit", move || store.memory().len() as f64);
    let store = redis.clone();
    metrics.counter("over_limit_evictions", "Remembered counters that gave way to others", move || {
        store.memory().evicted()
    });
    let store = redis.clone();
    metrics.gauge("over_limit_memory_active", "0 while notices of other replicas may be missed", move || {
        f64::from(u8::from(!store.memory().is_suspended()))
    });
}

/// The metrics under the names of envoyproxy/ratelimit, on a listener of their own.
pub fn reference_router(context: &Context) -> Router {
    let measured = Arc::clone(&context.metrics);
    let path = context.config.telemetry.metrics.prometheus_path.clone();
    // Compared, not routed: whatever the setting says is a path and no pattern.
    let scrape = move |uri: Uri| {
        let found = uri.path() == path;
        let answer = found.then(|| ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], measured.encode_reference()));
        async move { answer.ok_or(StatusCode::NOT_FOUND) }
    };
    Router::new().fallback(get(scrape))
}
