//! The counters that the settings choose, and what they need done beside requests.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Context;
use super::shutdown::{Phase, Shutdown};
use crate::config::Config;
use crate::config::redis::RedisConnection;
use crate::core::clock::SystemClock;
use crate::counters::breaker::BreakerState;
use crate::counters::choice::Counters;
use crate::counters::local::LocalCounters;
use crate::counters::memory::{MemoryOptions, MemoryStore};
use crate::counters::over_limit::OverLimitMemory;
use crate::counters::redis::backend::Backend;
use crate::counters::redis::connect::{ConnectError, Connector};
use crate::counters::redis::fallback::Fallback;
use crate::counters::redis::notices;
use crate::counters::redis::replicas::{Heartbeat, LiveReplicas};
use crate::counters::redis::{Options, RedisStore};

/// Makes the store. Nothing is connected yet.
///
/// # Errors
/// When the settings make no sense together, or name files that cannot be read.
pub fn open(config: &Config, workers: usize) -> Result<Counters, ConnectError> {
    let clock = SystemClock::new();
    let memory = MemoryOptions { max_counters: config.limiter.max_counters };
    let Some(redis) = &config.redis else {
        return Ok(Counters::Memory(Box::new(MemoryStore::new(clock, memory))));
    };
    let backend = |connection: &RedisConnection| {
        Ok::<_, ConnectError>(Backend::new(Connector::new(connection, redis.deadline)?, (&redis.breaker).into()))
    };
    let replicas = Arc::new(LiveReplicas::new(redis.heartbeat.expect_replicas));
    Ok(Counters::Redis(RedisStore::new(Options {
        clock,
        prefix: redis.key_prefix.clone(),
        deadline: redis.deadline,
        workers,
        cluster_buckets: redis.cluster_buckets,
        max_queued: redis.max_queued,
        main: backend(&redis.connection())?,
        per_second: redis.per_second.as_ref().map(backend).transpose()?,
        memory: OverLimitMemory::new((&redis.over_limit_memory).into()),
        fallback: Fallback::new(LocalCounters::new(clock, memory), replicas),
    })))
}

/// What worker `index` does for the counters, on its own runtime. Never ends.
pub fn work(context: &Context, index: usize) -> impl Future<Output = ()> + Send + 'static {
    let store = context.limiter.store().redis().cloned();
    async move {
        if let Some(store) = store {
            RedisStore::<SystemClock>::enter(index);
            store.work(index).await;
        }
    }
}

/// Starts what the counters need beside requests, on the runtime that this is called in: the queue of everything that
/// is no worker, tables of slots, notices and heartbeats.
pub fn keep(context: &Context, workers: usize, shutdown: &Shutdown) {
    let Some(store) = context.limiter.store().redis() else { return };
    tokio::spawn(store.work(workers));
    for backend in store.backends() {
        tokio::spawn(Arc::clone(backend).keep_fresh());
    }
    tokio::spawn(notices::listen(store));
    if let Some(settings) = &context.config.redis {
        let heartbeat = Heartbeat::new(store, settings.heartbeat.interval);
        let end = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = heartbeat.run() => {}
                () = end.reached(Phase::Closing) => {}
            }
            if let Err(failure) = heartbeat.leave().await {
                tracing::debug!(failure = failure.name(), "the others will notice by this replica's silence");
            }
        });
    }
}

/// Waits until the counters can be reached by every worker, but not for long: without them, failure modes answer.
pub async fn ready(context: &Context, workers: usize) {
    let (Some(store), Some(settings)) = (context.limiter.store().redis(), &context.config.redis) else { return };
    let all = (0..=workers).map(|worker| store.connected(worker));
    if timeout(settings.connect_timeout, join_all(all)).await.is_err() {
        tracing::warn!("Redis cannot be reached; failure modes answer until it can");
    }
}

/// Where counters are and how they are, for people who look at health.
pub fn state(context: &Context) -> Value {
    let store = context.limiter.store();
    let Some(redis) = store.redis() else { return json!({ "store": store.name() }) };
    let nodes = redis.backends().iter().flat_map(|backend| backend.nodes()).map(|(address, breaker)| {
        let state = match breaker.state() {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        };
        json!({ "node": address.to_string(), "breaker": state, "openings": breaker.opened() })
    });
    json!({
        "store": store.name(),
        "nodes": nodes.collect::<Vec<_>>(),
        "uncovered_slots": redis.backends().iter().map(|backend| backend.table().uncovered()).sum::<usize>(),
        "replicas": redis.fallback().replicas().get(),
        "over_limit_memory": if redis.memory().is_suspended() { "suspended" } else { "active" },
    })
}
