//! What reads the numbers at a scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::telemetry::decisions::{AdjustedOutcome, DecisionMetrics, Failure, HitCounts};
use crate::telemetry::rule_loads::RuleLoads;

type Labelled<T> = Box<dyn Fn() -> Vec<(String, T)> + Send + Sync>;

/// How a number of somebody else's is read.
pub(super) enum Read {
    Gauge(Box<dyn Fn() -> f64 + Send + Sync>),
    Counter(Box<dyn Fn() -> u64 + Send + Sync>),
    Gauges(&'static str, Labelled<f64>),
    Counters(&'static str, Labelled<u64>),
}

/// A number of somebody else's.
pub(super) struct Callback {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) read: Read,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for Callback {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.read {
            Read::Gauge(_) | Read::Gauges(..) => MetricType::Gauge,
            Read::Counter(_) | Read::Counters(..) => MetricType::Counter,
        };
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        match &self.read {
            Read::Gauge(read) => gauge(encoder, read()),
            Read::Counter(read) => counter(encoder, read()),
            Read::Gauges(label, read) => {
                read().iter().try_for_each(|(name, value)| gauge(encoder.encode_family(&[(*label, name)])?, *value))
            }
            Read::Counters(label, read) => {
                read().iter().try_for_each(|(name, value)| counter(encoder.encode_family(&[(*label, name)])?, *value))
            }
        }
    }
}

fn counter(encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder)
}

fn gauge(encoder: MetricEncoder<'_>, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder)
}

type Part = (&'static str, &'static str, fn(&HitCounts) -> u64);

/// The parts of [`HitCounts`], each a metric of its own, because they overlap and must not be added up.
const PARTS: [Part; 7] = [
    ("hits", "Hits on rules", |counts| counts.total_hits),
    ("hits_within_limit", "Hits of operations that passed", |counts| counts.within_limit),
    ("hits_over_limit", "Hits beyond a limit", |counts| counts.over_limit),
    ("hits_near_limit", "Hits that passed but were near the limit", |counts| counts.near_limit),
    ("hits_shadow_mode", "Hits that a rule in shadow mode let pass over its limit", |counts| counts.shadow_mode),
    ("hits_over_limit_remembered", "Hits denied without asking the counter store", |counts| {
        counts.over_limit_with_local_cache
    }),
    ("hits_refunded", "Hits given back", |counts| counts.refunded),
];

/// The numbers of decisions.
#[derive(Debug)]
pub(super) struct Decisions(pub(super) Arc<DecisionMetrics>);

impl Collector for Decisions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.0.totals();
        for (name, help, part) in PARTS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (series, counts) in &totals {
                let labels = [("domain", series.domain()), ("rule", series.rule())];
                counter(family.encode_family(&labels)?, part(counts))?;
            }
        }
        let help = "Requests for a domain that has no rules";
        let mut family = encoder.encode_descriptor("unknown_domain_requests", help, None, MetricType::Counter)?;
        for (domain, requests) in self.0.unknown_domains() {
            counter(family.encode_family(&[("domain", domain.as_str())])?, requests)?;
        }
        let help = "Answers that the global shadow mode turned to OK";
        let family = encoder.encode_descriptor("global_shadow_mode", help, None, MetricType::Counter)?;
        counter(family, self.0.global_shadow_modes())?;
        let help = "Requests that got an error instead of a decision";
        let mut family = encoder.encode_descriptor("request_failures", help, None, MetricType::Counter)?;
        for (name, failure) in [("store", Failure::Store), ("service", Failure::Service)] {
            counter(family.encode_family(&[("cause", name)])?, self.0.failures(failure))?;
        }
        let help = "Decisions that an adjustment concerns, by what became of them";
        let mut family = encoder.encode_descriptor("adjusted_decisions", help, None, MetricType::Counter)?;
        for outcome in AdjustedOutcome::ALL {
            counter(family.encode_family(&[("outcome", outcome.name())])?, self.0.adjusted_decisions(outcome))?;
        }
        let latency = self.0.latency();
        let help = "Time from a request's arrival to its answer, seconds";
        let mut family = encoder.encode_descriptor("decision_duration_seconds", help, None, MetricType::Histogram)?;
        let buckets: Vec<_> = latency.buckets().collect();
        family.encode_histogram::<[(&str, &str); 0]>(latency.sum, latency.count(), &buckets, None)
    }
}

/// The numbers of rule loads.
#[derive(Debug)]
pub(super) struct Loads(pub(super) Arc<RuleLoads>);

impl Collector for Loads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Rule sets put in force (success) and refused (error)";
        let mut family = encoder.encode_descriptor("rule_set_loads", help, None, MetricType::Counter)?;
        counter(family.encode_family(&[("outcome", "success")])?, self.0.successes())?;
        counter(family.encode_family(&[("outcome", "error")])?, self.0.errors())?;
        let gauges = [
            ("rule_set_revision", "The revision of the rule set in force, 0 before the first", self.0.revision()),
            ("rules", "Rules in force", self.0.rules()),
            (
                "rule_set_loaded_timestamp_seconds",
                "When the rule set in force was loaded, seconds since 1970",
                self.0.last_success(),
            ),
        ];
        for (name, help, value) in gauges {
            gauge(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?, value as f64)?;
        }
        Ok(())
    }
}
