//! What the server itself measures: counters in memory, workers, TLS. Decisions are measured where they are made.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::routing::get;

use super::Context;
use super::tls::TlsAcceptor;
use super::workers::{Load, Refused};
use crate::telemetry::metrics;

/// Adds them to the metrics.
pub fn register(context: &Arc<Context>, loads: &[Arc<Load>], refused: Arc<Refused>, tls: Option<&TlsAcceptor>) {
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
    if let Some(tls) = tls {
        let acceptor = tls.clone();
        metrics.counter("tls_reloads", "New TLS files put in force", move || acceptor.reloads().0);
        let acceptor = tls.clone();
        metrics.counter("tls_handshake_failures", "TLS handshakes that failed", move || acceptor.refused_handshakes());
        let acceptor = tls.clone();
        metrics.counter("tls_reload_failures", "New TLS files that do not load", move || acceptor.reloads().1);
    }
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
