//! Metrics for Prometheus, pulled: a scrape reads every number where it lives. Nothing here is global; whoever builds
//! a server builds its [`Metrics`] too.
//!
//! `docs/metrics.md` says what each one means.

mod collectors;
mod reference;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use super::decisions::DecisionMetrics;
use super::rule_loads::RuleLoads;
use collectors::{Callback, Decisions, Loads, Read};

/// The media type of [`Metrics::encode`] and [`Metrics::encode_reference`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Everything that is measured.
#[derive(Debug)]
pub struct Metrics {
    decisions: Arc<DecisionMetrics>,
    rule_loads: Arc<RuleLoads>,
    registry: RwLock<Registry>,
}

impl Metrics {
    /// The metrics of decisions and of rule loading; others are added by [`Metrics::gauge`] and its siblings.
    #[must_use]
    pub fn new(decisions: Arc<DecisionMetrics>, rule_loads: Arc<RuleLoads>) -> Self {
        let mut registry = Registry::with_prefix("tidegate");
        registry.register_collector(Box::new(Decisions(Arc::clone(&decisions))));
        registry.register_collector(Box::new(Loads(Arc::clone(&rule_loads))));
        let build = prometheus_client::metrics::info::Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        Self { decisions, rule_loads, registry: RwLock::new(registry) }
    }

    /// The counts of decisions, for the limiter and the servers to add to.
    #[must_use]
    pub const fn decisions(&self) -> &Arc<DecisionMetrics> {
        &self.decisions
    }

    /// The counts of rule loads, for whoever loads rules to add to.
    #[must_use]
    pub const fn rule_loads(&self) -> &Arc<RuleLoads> {
        &self.rule_loads
    }

    /// Adds a number that goes up and down, read by `read` at each scrape. The name gets the prefix `tidegate_`;
    /// `help` has no full stop at its end.
    pub fn gauge(&self, name: &'static str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.register(Callback { name, help, read: Read::Gauge(Box::new(read)) });
    }

    /// Adds a number that only goes up. The name gets the prefix `tidegate_` and the suffix `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.register(Callback { name, help, read: Read::Counter(Box::new(read)) });
    }

    /// Like [`Metrics::gauge`], for several numbers told apart by the label `label`. The caller keeps their number
    /// small.
    pub fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static,
    ) {
        self.register(Callback { name, help, read: Read::Gauges(label, Box::new(read)) });
    }

    /// Like [`Metrics::counter`], for several numbers told apart by the label `label`. The caller keeps their number
    /// small.
    pub fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static,
    ) {
        self.register(Callback { name, help, read: Read::Counters(label, Box::new(read)) });
    }

    fn register(&self, callback: Callback) {
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(callback));
    }

    /// Everything, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail, and no collector fails on its own.
        if let Err(error) = prometheus_text::encode(&mut text, &registry) {
            tracing::error!(%error, "cannot encode the metrics");
        }
        text
    }

    /// What envoyproxy/ratelimit has a name for, under that name, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn encode_reference(&self) -> String {
        reference::encode(&self.decisions, &self.rule_loads)
    }
}
