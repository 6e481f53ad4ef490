//! Counts of decisions, by domain and rule. Each worker counts in its own shard; a scrape adds the shards up.
//!
//! What clients can write into a name (a domain, a descriptor's value) must not grow the metrics without bound, so
//! every name is looked up in a table with a cap, and what does not fit is counted together as `other`.

mod adjusted;
mod latency;
mod series;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use table::Table;

pub use adjusted::AdjustedOutcome;
pub use latency::{BOUNDS_MICROS, LatencySnapshot};
pub use series::RuleSeries;

/// The name under which everything beyond a cap is counted.
pub const OTHER: &str = "other";

/// The longest name shown, bytes; longer ones are cut.
const MAX_NAME: usize = 256;

/// The most unknown domains told apart.
const MAX_UNKNOWN_DOMAINS: usize = 100;

/// How the hits of one operation on one limit are accounted, with the names of envoyproxy/ratelimit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HitCounts {
    /// Every hit.
    pub total_hits: u64,
    /// Hits beyond the limit.
    pub over_limit: u64,
    /// Hits within the limit but beyond the near-limit ratio of it.
    pub near_limit: u64,
    /// Hits of operations that passed.
    pub within_limit: u64,
    /// Hits that a rule in shadow mode let pass over its limit.
    pub shadow_mode: u64,
    /// Hits denied from the over-limit memory, without asking the store.
    pub over_limit_with_local_cache: u64,
    /// Hits given back.
    pub refunded: u64,
}

/// Why a request got an error instead of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The counter store could not answer.
    Store,
    /// The request had no meaning, or there were no rules yet.
    Service,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct DecisionMetricsOptions {
    /// Threads that count on their own: the workers and one for all others, [`crate::telemetry::shard::count`].
    pub shards: usize,
    /// The most series of rules; names that requests make may fill them to the half. The `other` series come on top.
    pub max_series: usize,
    /// The most domains told apart.
    pub max_domains: usize,
}

impl Default for DecisionMetricsOptions {
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self { shards: super::shard::count(cpus), max_series: 10_000, max_domains: 1_000 }
    }
}

/// Requests for one unknown domain.
#[derive(Debug)]
struct UnknownDomain {
    name: Box<str>,
    requests: AtomicU64,
}

/// Every series, bounded.
#[derive(Debug)]
pub struct DecisionMetrics {
    options: DecisionMetricsOptions,
    /// By domain and rule.
    series: Table<RuleSeries>,
    /// Each domain's `other` series; a domain that is not here shares `rest`.
    others: Table<RuleSeries>,
    rest: Arc<RuleSeries>,
    unknown: Table<UnknownDomain>,
    unknown_rest: AtomicU64,
    global_shadow_mode: AtomicU64,
    store_failures: AtomicU64,
    service_failures: AtomicU64,
    adjusted: adjusted::AdjustedCounts,
    latency: latency::Latency,
}

impl Default for DecisionMetrics {
    fn default() -> Self {
        Self::new(DecisionMetricsOptions::default())
    }
}

impl DecisionMetrics {
    /// Without any series yet.
    #[must_use]
    pub fn new(options: DecisionMetricsOptions) -> Self {
        Self {
            options,
            series: Table::new(),
            others: Table::new(),
            rest: Arc::new(RuleSeries::new(OTHER, OTHER, options.shards)),
            unknown: Table::new(),
            unknown_rest: AtomicU64::new(0),
            global_shadow_mode: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
            service_failures: AtomicU64::new(0),
            adjusted: adjusted::AdjustedCounts::new(options.shards),
            latency: latency::Latency::new(options.shards),
        }
    }

    /// The series of a rule: the same one for the same domain and key as long as the process lives. Beyond the cap on
    /// series, the domain's `other` series; beyond the cap on domains, one for all. Called when rules are published.
    pub fn series(&self, domain: &str, rule: &str) -> Arc<RuleSeries> {
        self.bounded(domain, rule, self.options.max_series)
    }

    /// Like [`DecisionMetrics::series`], for names made of request values; called on the request path, and bounded:
    /// such names are made only while less than half of the series are taken, so that rules still find room. A known name is found under one of
    /// many read locks; a flood of new ones, once the cap is reached, takes no write lock and no memory.
    pub fn dynamic_series(&self, domain: &str, rule: &str) -> Arc<RuleSeries> {
        self.bounded(domain, rule, self.options.max_series / 2)
    }

    fn bounded(&self, domain: &str, rule: &str, cap: usize) -> Arc<RuleSeries> {
        let (domain, rule) = (clip(domain), clip(rule));
        if let Some(found) = self.series.get(&[domain, rule]) {
            return found;
        }
        let make_other = || RuleSeries::new(domain, OTHER, self.options.shards);
        let Some(other) = self.others.get_or_insert(&[domain], self.options.max_domains, make_other) else {
            return Arc::clone(&self.rest);
        };
        if rule == OTHER {
            return other;
        }
        let make = || RuleSeries::new(domain, rule, self.options.shards);
        self.series.get_or_insert(&[domain, rule], cap, make).unwrap_or(other)
    }

    /// Counts a request for a domain that has no rules. The label's cardinality is bounded.
    pub fn unknown_domain(&self, domain: &str) {
        let domain = clip(domain);
        let make = || UnknownDomain { name: domain.into(), requests: AtomicU64::new(0) };
        let cap = self.options.max_domains.min(MAX_UNKNOWN_DOMAINS);
        let known = if domain == OTHER { None } else { self.unknown.get_or_insert(&[domain], cap, make) };
        known.as_ref().map_or(&self.unknown_rest, |known| &known.requests).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer that the global shadow mode turned to OK.
    pub fn global_shadow_mode(&self) {
        self.global_shadow_mode.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a decision that an adjustment concerns.
    pub fn adjusted(&self, outcome: AdjustedOutcome) {
        self.adjusted.add(outcome);
    }

    /// Decisions that adjustments concern, by what became of them.
    #[must_use]
    pub fn adjusted_decisions(&self, outcome: AdjustedOutcome) -> u64 {
        self.adjusted.count(outcome)
    }

    /// Counts a request that got an error instead of a decision.
    pub fn failed(&self, failure: Failure) {
        self.failures_cell(failure).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was answered, and how long that took.
    pub fn observe(&self, elapsed: Duration) {
        self.latency.observe(elapsed);
    }

    /// Every series that was ever asked for, with its sum. The `other` series only once they count something.
    #[must_use]
    pub fn totals(&self) -> Vec<(Arc<RuleSeries>, HitCounts)> {
        let others = self.others.all().into_iter().chain([Arc::clone(&self.rest)]);
        let others = others.map(with_total).filter(|(_, total)| *total != HitCounts::default());
        self.series.all().into_iter().map(with_total).chain(others).collect()
    }

    /// Requests for domains without rules, by domain.
    #[must_use]
    pub fn unknown_domains(&self) -> Vec<(String, u64)> {
        let load = |domain: &Arc<UnknownDomain>| (domain.name.to_string(), domain.requests.load(Ordering::Relaxed));
        let rest = self.unknown_rest.load(Ordering::Relaxed);
        let rest = (rest > 0).then(|| (OTHER.to_owned(), rest));
        self.unknown.all().iter().map(load).chain(rest).collect()
    }

    /// Answers that the global shadow mode turned to OK.
    #[must_use]
    pub fn global_shadow_modes(&self) -> u64 {
        self.global_shadow_mode.load(Ordering::Relaxed)
    }

    /// Requests that got an error instead of a decision.
    #[must_use]
    pub fn failures(&self, failure: Failure) -> u64 {
        self.failures_cell(failure).load(Ordering::Relaxed)
    }

    /// How long answers took.
    #[must_use]
    pub fn latency(&self) -> LatencySnapshot {
        self.latency.snapshot()
    }

    const fn failures_cell(&self, failure: Failure) -> &AtomicU64 {
        match failure {
            Failure::Store => &self.store_failures,
            Failure::Service => &self.service_failures,
        }
    }
}

fn with_total(series: Arc<RuleSeries>) -> (Arc<RuleSeries>, HitCounts) {
    let total = series.total();
    (series, total)
}

/// The name as it is shown: its first 256 bytes, whole characters only.
fn clip(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or(name)
}
