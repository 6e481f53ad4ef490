//! The counters of one rule.

use std::sync::atomic::{AtomicU64, Ordering};

use super::HitCounts;
use crate::telemetry::shard;

const COUNTS: usize = 7;

/// One worker's counts, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard([AtomicU64; COUNTS]);

/// The counters of one rule (or of one name of a rule whose metric names requests alter).
#[derive(Debug)]
pub struct RuleSeries {
    domain: Box<str>,
    rule: Box<str>,
    shards: Box<[Shard]>,
}

impl Default for RuleSeries {
    /// A series without names, which no scrape shows.
    fn default() -> Self {
        Self::new("", "", 1)
    }
}

impl RuleSeries {
    pub(super) fn new(domain: &str, rule: &str, shards: usize) -> Self {
        let shards = (0..shards.max(1)).map(|_| Shard::default()).collect();
        Self { domain: domain.into(), rule: rule.into(), shards }
    }

    /// The domain under which it is shown.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The rule's metric name under which it is shown.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Adds to this thread's shard.
    pub fn add(&self, counts: &HitCounts) {
        let Some(shard) = self.shards.get(shard::current(self.shards.len())) else { return };
        for (cell, count) in shard.0.iter().zip(counts.to_array()) {
            // Most are zero, and an addition is dear beside a comparison.
            if count != 0 {
                cell.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// The sum of all shards.
    #[must_use]
    pub fn total(&self) -> HitCounts {
        let mut sums = [0_u64; COUNTS];
        for shard in &self.shards {
            for (sum, cell) in sums.iter_mut().zip(&shard.0) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        HitCounts::from_array(sums)
    }
}

impl HitCounts {
    const fn to_array(self) -> [u64; COUNTS] {
        [
            self.total_hits,
            self.over_limit,
            self.near_limit,
            self.within_limit,
            self.shadow_mode,
            self.over_limit_with_local_cache,
            self.refunded,
        ]
    }

    const fn from_array(counts: [u64; COUNTS]) -> Self {
        let [total_hits, over_limit, near_limit, within_limit, shadow_mode, over_limit_with_local_cache, refunded] =
            counts;
        Self { total_hits, over_limit, near_limit, within_limit, shadow_mode, over_limit_with_local_cache, refunded }
    }
}
