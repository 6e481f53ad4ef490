//! The anomaly worker in a server: what it is made of, what is measured and told of it.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde_json::{Value, json};

use tokio::runtime::Handle as Runtime;

use super::context::Limiter;
use super::{Context, StartError};
use crate::anomaly::bus::choice::AnyBus;
use crate::anomaly::bus::local::LocalBus;
use crate::anomaly::bus::redis::RedisBus;
use crate::anomaly::engine::models;
use crate::anomaly::findings::{FindingStore, Tell};
use crate::anomaly::worker::note::{Note, Noted};
use crate::anomaly::worker::status::{FAILURES, KINDS, Role, Status};
use crate::anomaly::worker::{Deciding, Handle, Parts};
use crate::config::Config;
use crate::core::clock::SystemClock;
use crate::redis::connect::Connector;
use crate::seal::Seal;
use crate::telemetry::metrics::Metrics;

/// The worker that the settings ask for, with where findings are kept. It does not work yet, but its bus connects, on
/// `background`. Without Redis it goes on from the engine's checkpoint `known`, if there is one.
///
/// # Errors
/// When the settings of Redis make no sense together, or a file of theirs, the key or the models cannot be used.
pub fn open(
    config: &Config,
    findings: &Arc<FindingStore>,
    known: Option<Bytes>,
    background: &Runtime,
) -> Result<Option<Handle>, StartError> {
    if !config.anomaly.enabled {
        return Ok(None);
    }
    if let Some(path) = &config.anomaly.models_file {
        models::file::read(path)?;
    }
    let bus = match &config.redis {
        Some(redis) => {
            let seal = config.rules.copy_key_file.as_deref().map_or(Ok(Seal::CHECKSUM), Seal::from_file)?;
            let connector = Connector::new(&redis.connection(), redis.deadline)?;
            let _entered = background.enter();
            AnyBus::Redis(Box::new(RedisBus::connect(&connector, &redis.key_prefix, seal)))
        }
        None => AnyBus::Local(known.map_or_else(LocalBus::default, LocalBus::knowing)),
    };
    let noted = match **findings {
        FindingStore::Postgres(_) => Noted::ByWhoComputes,
        FindingStore::Embedded(_) => Noted::ByAll,
    };
    let findings: Arc<dyn Note> = Arc::<FindingStore>::clone(findings);
    Ok(Some(Handle::new(Parts {
        settings: Arc::new(config.anomaly.clone()),
        bus,
        findings: Some((findings, noted)),
        clock: Arc::new(SystemClock::new()),
    })))
}

/// Starts it beside the decisions of a server, on the runtime that this is called in.
pub fn decide_with(context: &Context, background: &Runtime) {
    let Some(worker) = &context.anomaly else { return };
    let Some(observations) = context.observations.read() else {
        tracing::error!("somebody reads observations already; the anomaly worker does not run");
        return;
    };
    // Weak: the worker must not keep alive what it serves.
    let limiter: Weak<Limiter> = Arc::downgrade(&context.limiter);
    let put = Arc::new(move |set| {
        if let Some(limiter) = limiter.upgrade() {
            limiter.adjust(set);
        }
    });
    say(&context.config);
    let feedback: Arc<dyn Tell> = Arc::<Handle>::clone(worker);
    // Nobody else sets it.
    let _ = context.feedback.set(feedback);
    worker.start(Some(Deciding { observations, geo: Arc::clone(&context.geo), put }), background);
}

/// Tells in the log how it works.
pub fn say(config: &Config) {
    let anomaly = &config.anomaly;
    let mode = if anomaly.shadow { "shadow: actions are only told (anomaly.shadow)" } else { "enforcing" };
    let bus = if config.redis.is_some() { "Redis" } else { "this process alone" };
    tracing::info!(mode, bus, compute = anomaly.compute, "the anomaly worker runs");
}

/// How it stands, for people who look at health.
pub fn state(context: &Context) -> Value {
    match &context.anomaly {
        Some(worker) => json!({ "enabled": true, "worker": worker.standing() }),
        None => json!({ "enabled": false }),
    }
}

/// Adds its metrics.
pub fn register(metrics: &Metrics, worker: &Handle) {
    let level = |read: fn(&Status) -> f64| {
        let status = Arc::clone(worker.status());
        move || read(&status)
    };
    let count = |read: fn(&Status) -> u64| {
        let status = Arc::clone(worker.status());
        move || read(&status)
    };
    let is = |role: Role, one: Role| f64::from(u8::from(role == one));
    let status = Arc::clone(worker.status());
    metrics.gauges("anomaly_role", "1 for what this process is to the anomaly worker", "role", move || {
        let role = status.role();
        [("follower", Role::Follower), ("leader", Role::Leader), ("alone", Role::Alone)]
            .map(|(name, one)| (name.to_owned(), is(role, one)))
            .into()
    });
    metrics.gauge(
        "anomaly_tick_seconds",
        "How long the engine took for the last second",
        level(|s| seconds(s.tick.get())),
    );
    metrics.gauge(
        "anomaly_lag_seconds",
        "Age of the newest observation when the engine saw it",
        level(|s| seconds(s.lag.get())),
    );
    metrics.gauge("anomaly_clients", "Clients followed one by one", level(|s| s.clients.get() as f64));
    metrics.gauge("anomaly_incidents", "Incidents that are open", level(|s| s.incidents.get() as f64));
    metrics.counter("anomaly_observed", "Observations that the engine saw", count(|s| s.observed.get()));
    let status = Arc::clone(worker.status());
    metrics.counters("anomaly_events", "What the engine found and did", "kind", move || {
        KINDS.iter().map(|name| (*name).to_owned()).zip(status.kinds()).collect()
    });
    let status = Arc::clone(worker.status());
    metrics.counters("anomaly_batches", "Batches of observations", "outcome", move || {
        vec![
            ("sent".to_owned(), status.batches_sent.get()),
            ("dropped".to_owned(), status.batches_dropped.get()),
            ("damaged".to_owned(), status.batches_damaged.get()),
        ]
    });
    metrics.counter("anomaly_deeds", "Deeds that were applied here", count(|s| s.deeds.get()));
    metrics.gauge(
        "anomaly_deed_age_seconds",
        "From the last deed to when it was in force here",
        level(|s| seconds(s.deed_age.get())),
    );
    metrics.counter(
        "anomaly_deed_gaps",
        "Times that deeds were missed, and what stands was read",
        count(|s| s.gaps.get()),
    );
    metrics.gauge(
        "anomaly_refused_adjustments",
        "Adjustments that were one too many",
        level(|s| s.refused.get() as f64),
    );
    metrics.gauge(
        "anomaly_findings_waiting",
        "Events that wait to be kept",
        level(|s| s.findings_waiting.get() as f64),
    );
    metrics.counter("anomaly_findings_lost", "Events that were not kept", count(|s| s.findings_lost.get()));
    metrics.gauge(
        "anomaly_checkpoint_timestamp_seconds",
        "When this process left the last checkpoint",
        level(|s| seconds(s.checkpoint_at.get())),
    );
    metrics.gauge("anomaly_checkpoint_bytes", "Its size", level(|s| s.checkpoint_bytes.get() as f64));
    metrics.gauge(
        "anomaly_bus_away",
        "1 while the bus does not answer",
        level(|s| f64::from(u8::from(s.away_since().is_some()))),
    );
    let status = Arc::clone(worker.status());
    metrics.counters("anomaly_bus_errors", "Failures of the bus", "reason", move || {
        FAILURES.iter().map(|name| (*name).to_owned()).zip(status.failures()).collect()
    });
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
