//! How the rules in force stand to their repository, for health and metrics.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::rules::live::{Alarm, Live, Source, Standing};
use crate::telemetry::metrics::Metrics;

/// The most unreadable records that health names.
const NAMED: usize = 10;

/// For `/readyz?verbose`.
#[must_use]
pub fn document(standing: &Standing) -> Value {
    let troubles = standing.troubles.iter().take(NAMED).map(|(subject, reason, earlier)| {
        json!({ "record": subject.to_string(), "reason": reason, "earlier_version_in_force": earlier })
    });
    json!({
        "epoch": standing.head.map(|head| head.epoch.to_string()),
        "revision": standing.head.map(|head| head.revision.0),
        "source": standing.source.map(Source::name),
        "last_in_step": standing.in_step.map(|at| at.to_string()),
        "away_since": standing.away.as_ref().map(|(since, _)| since.to_string()),
        "away_reason": standing.away.as_ref().map(|(_, reason)| reason),
        "alarm": standing.alarm.as_ref().map(|alarm| json!({ "name": alarm.name(), "detail": alarm.to_string() })),
        "unreadable": standing.unreadable,
        "unreadable_records": troubles.collect::<Vec<_>>(),
        "overrides": standing.overrides,
        "degraded": standing.degraded(),
    })
}

/// Adds the metrics of rules that come from a repository.
pub fn register(metrics: &Metrics, live: &Live) {
    let gauge = |read: fn(&Standing) -> f64| {
        let live = live.clone();
        move || read(&live.status().standing())
    };
    let revision = |standing: &Standing| standing.head.map_or(0.0, |head| head.revision.0 as f64);
    metrics.gauge("rules_revision", "Revision of the repository that is in force", gauge(revision));
    metrics.gauge("rules_age_seconds", "Since when the rules in force are not known to be the newest", gauge(age));
    let away = |standing: &Standing| f64::from(u8::from(standing.away.is_some()));
    metrics.gauge("rules_repository_away", "1 while the repository does not answer", gauge(away));
    metrics.gauge("rules_unreadable", "Records that cannot be used", gauge(|standing| standing.unreadable as f64));
    metrics.gauge("rules_overrides", "Temporary overrides in force", gauge(|standing| standing.overrides as f64));
    let from = live.clone();
    metrics.gauges("rules_source", "1 for where the rules in force were read", "source", move || {
        let source = from.status().standing().source;
        let is = |one: Source| f64::from(u8::from(source == Some(one)));
        Source::ALL.into_iter().map(|one| (one.name().to_owned(), is(one))).collect()
    });
    let alarmed = live.clone();
    metrics.gauges("rules_alarm", "1 while something is not followed without a person", "alarm", move || {
        let alarm = alarmed.status().standing().alarm;
        let is = |name: &str| f64::from(u8::from(alarm.as_ref().is_some_and(|alarm| alarm.name() == name)));
        Alarm::NAMES.into_iter().map(|name| (name.to_owned(), is(name))).collect()
    });
}

fn age(standing: &Standing) -> f64 {
    let since = |at: Timestamp| Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default();
    standing.in_step.map_or(f64::INFINITY, |at| since(at).as_secs_f64())
}
