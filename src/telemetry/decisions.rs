//! Counts of decisions, by domain and rule. Each worker counts in its own shard; a scrape adds the shards up.

use std::sync::Arc;

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

/// The counters of one rule (or of one name of a rule whose metric names requests alter).
#[derive(Debug, Default)]
pub struct RuleSeries {}

impl RuleSeries {
    /// Adds to this thread's shard.
    pub fn add(&self, counts: &HitCounts) {
        let _ = counts;
    }
}

/// Every series, bounded.
#[derive(Debug, Default)]
pub struct DecisionMetrics {}

impl DecisionMetrics {
    /// The series of a rule: the same one for the same domain and key as long as the process lives. Beyond the cap on
    /// series, the domain's `other` series; beyond the cap on domains, one for all. Called when rules are published.
    pub fn series(&self, domain: &str, rule: &str) -> Arc<RuleSeries> {
        let _ = (domain, rule);
        Arc::default()
    }

    /// Counts a request for a domain that has no rules. The label's cardinality is bounded.
    pub fn unknown_domain(&self, domain: &str) {
        let _ = domain;
    }

    /// Counts an answer that the global shadow mode turned to OK.
    pub fn global_shadow_mode(&self) {}

    /// Like [`DecisionMetrics::series`], for names made of request values; called on the request path, and bounded.
    pub fn dynamic_series(&self, domain: &str, rule: &str) -> Arc<RuleSeries> {
        self.series(domain, rule)
    }
}
