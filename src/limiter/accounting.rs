//! How hits are counted in metrics: the split of envoyproxy/ratelimit between within, near and over the limit.

use super::{Active, Limiter, LimiterOptions};
use crate::core::adjustment::adjusted::Denial;
use crate::core::decision::{Code, Decision, Source, Status};
use crate::core::descriptor::{Entry, Operation, Request};
use crate::core::limit::Over;
use crate::core::rule::{MetricName, Rule};
use crate::core::ruleset::Domain;
use crate::counters::CounterStore;
use crate::telemetry::decisions::{AdjustedOutcome, HitCounts};

impl<S: CounterStore> Limiter<S> {
    /// Counts a decision in the metrics of the rules it touched.
    pub(super) fn account(&self, active: &Active, request: &Request<'_>, decision: &Decision<'_>) {
        if decision.globally_shadowed {
            self.metrics.global_shadow_mode();
        }
        if decision.adjustment.is_some() {
            self.account_adjusted(decision);
        }
        let Some(domain) = decision.domain else { return };
        for (status, descriptor) in decision.statuses.iter().zip(&request.descriptors) {
            if status.replaced || (status.rule.is_none() && status.applied.is_none()) {
                continue;
            }
            let counts = counts(status, decision.charged, &self.options);
            self.add(active, domain, status.rule, &descriptor.entries, &counts);
        }
    }

    /// Counts what adjustments did to a decision.
    pub(super) fn account_adjusted(&self, decision: &Decision<'_>) {
        let Some(adjusted) = &decision.adjustment else { return };
        if adjusted.applied.is_some() {
            self.metrics.adjusted(match &adjusted.denial {
                Some(Denial::Blocked(_)) => AdjustedOutcome::Blocked,
                Some(Denial::Lowered | Denial::Own { .. }) => AdjustedOutcome::Limited,
                None if decision.code == Code::OverLimit => AdjustedOutcome::OverLimit,
                None => AdjustedOutcome::Passed,
            });
        }
        if adjusted.shadow.is_some() {
            let would = adjusted.shadow_denies;
            self.metrics.adjusted(if would { AdjustedOutcome::ShadowLimited } else { AdjustedOutcome::ShadowPassed });
        }
    }

    fn add(&self, active: &Active, domain: &Domain, rule: Option<&Rule>, entries: &[Entry<'_>], counts: &HitCounts) {
        match rule {
            Some(rule) if rule.metric == MetricName::Static => {
                if let Some(series) = active.series.get(rule.id) {
                    series.add(counts);
                }
            }
            Some(rule) => self.metrics.dynamic_series(&domain.name, &rule.metric_key(entries)).add(counts),
            None => self.metrics.dynamic_series(&domain.name, &override_key(entries)).add(counts),
        }
    }
}

/// The name of an override's series: all entries with their values, as envoyproxy/ratelimit has it.
fn override_key(entries: &[Entry<'_>]) -> String {
    let mut name = String::new();
    for entry in entries {
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(entry.key));
        if !entry.value.is_empty() {
            name.push('_');
            name.push_str(&String::from_utf8_lossy(entry.value));
        }
    }
    name
}

/// From this level on, hits are near the limit: `floor(limit x ratio)`, in 32-bit floats as the reference.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub fn near_limit_threshold(capacity: u64, ratio: f32) -> u64 {
    (capacity as f32 * ratio).floor() as u64
}

fn counts(status: &Status<'_>, charged: bool, options: &LimiterOptions) -> HitCounts {
    let hits = status.operation.hits();
    if matches!(status.operation, Operation::Refund(_)) {
        return HitCounts { refunded: hits, ..HitCounts::default() };
    }
    let mut counts = HitCounts { total_hits: hits, ..HitCounts::default() };
    let Some(applied) = &status.applied else {
        counts.within_limit = hits;
        return counts;
    };
    let capacity = applied.limit.capacity();
    let near = near_limit_threshold(capacity, options.near_limit_ratio);
    let after = applied.outcome.level;
    let before = after.saturating_sub(hits);
    if applied.outcome.allowed() {
        if charged {
            counts.within_limit = hits;
            counts.near_limit = if before >= near { hits } else { after.saturating_sub(near) };
        }
    } else {
        // A hit that was dropped, or denied from memory, has left no trace in the level.
        let remembered = applied.source == Source::OverLimitMemory;
        let recorded = charged && applied.limit.over() == Over::Record && !remembered;
        if remembered {
            counts.over_limit_with_local_cache = hits;
        }
        if !recorded || before >= capacity {
            counts.over_limit = hits;
        } else {
            counts.over_limit = after.saturating_sub(capacity);
            counts.near_limit = capacity.saturating_sub(near.max(before));
        }
        if status.shadowed {
            counts.shadow_mode = counts.over_limit;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::algorithm::{Outcome, Verdict};
    use crate::core::clock::Micros;
    use crate::core::decision::Applied;
    use crate::core::limit::{Limit, LimitParts, Window};

    /// A charge of `hits` on a limit of 10 that leaves the level `after`.
    fn split(hits: u64, after: u64, over: Over, shadowed: bool) -> HitCounts {
        let parts = LimitParts { over, ..LimitParts::fixed_window(10, Window::Length(Micros::SECOND)) };
        let allowed = over == Over::Record && after <= 10;
        let outcome = Outcome {
            verdict: if allowed { Verdict::Allowed } else { Verdict::NotUntil(Micros::SECOND) },
            level: after,
            remaining: 10u64.saturating_sub(after),
            reset_after: Micros::SECOND,
        };
        let status = Status {
            code: if allowed || shadowed { Code::Ok } else { Code::OverLimit },
            rule: None,
            applied: Some(Applied { limit: Limit::new(parts).unwrap(), name: None, outcome, source: Source::Counter }),
            remaining: outcome.remaining,
            operation: Operation::Charge(hits),
            replaced: false,
            shadowed,
        };
        counts(&status, true, &LimiterOptions::default())
    }

    fn of(total_hits: u64, within_limit: u64, near_limit: u64, over_limit: u64) -> HitCounts {
        HitCounts { total_hits, within_limit, near_limit, over_limit, ..HitCounts::default() }
    }

    #[test]
    fn hits_split_at_the_near_limit_and_the_limit() {
        let record = |hits, after| split(hits, after, Over::Record, false);
        assert_eq!(record(1, 8), of(1, 1, 0, 0));
        assert_eq!(record(1, 9), of(1, 1, 1, 0));
        assert_eq!(record(5, 9), of(5, 5, 1, 0), "only what lies beyond the threshold is near");
        assert_eq!(record(2, 10), of(2, 2, 2, 0));
        assert_eq!(record(11, 11), of(11, 0, 2, 1), "from zero to one over");
        assert_eq!(record(3, 12), of(3, 0, 1, 2));
        assert_eq!(record(3, 13), of(3, 0, 0, 3));
        assert_eq!(record(0, 10), of(0, 0, 0, 0));
    }

    #[test]
    fn dropped_hits_are_all_over() {
        assert_eq!(split(4, 9, Over::Drop, false), of(4, 0, 0, 4));
    }

    #[test]
    fn shadowed_hits_are_counted_as_such_too() {
        assert_eq!(split(2, 12, Over::Record, true), HitCounts { shadow_mode: 2, ..of(2, 0, 0, 2) });
        assert_eq!(split(5, 12, Over::Record, true), HitCounts { shadow_mode: 2, ..of(5, 0, 2, 2) });
    }

    #[test]
    fn the_threshold_is_rounded_down() {
        assert_eq!(near_limit_threshold(10, 0.8), 8);
        assert_eq!(near_limit_threshold(9, 0.8), 7);
        assert_eq!(near_limit_threshold(0, 0.8), 0);
    }
}
