//! What adjustments did to a decision, after it was counted.
//!
//! **How exact "would have passed without" is.** The same counter is asked again with the limit as the rule says. That is
//! exact for windows and logs that record denied hits (the default in files). Where denied hits are dropped, those
//! that the adjustment denied have left no trace, so that a client which would long be over its rule's own limit is
//! still said to be limited by the adjustment. Buckets have drained at the lower rate, so that they are fuller than
//! they would be, and the other way round. A counter of this process that stands in for the shared one holds only a share
//! of its hits: a denial by it counts as the adjustment's.

use std::sync::Arc;

use smallvec::SmallVec;

use super::plan::Plan;
use crate::core::adjustment::adjusted::{Adjusted, Denial, Lowered};
use crate::core::algorithm::{Outcome, Verdict};
use crate::core::clock::Micros;
use crate::core::decision::{Code, Decision, Source};
use crate::core::descriptor::Operation;
use crate::core::limit::{Algorithm, Limit, Over};
use crate::counters::{Answers, Hit};
use crate::limiter::LimiterOptions;
use crate::limiter::combine::{Combined, combined};
use crate::limiter::resolve::Resolved;

/// Puts what adjustments did into a decision that the rules have made.
pub(in crate::limiter) fn conclude(
    plan: &Plan,
    decision: &mut Decision<'_>,
    resolved: &[Resolved<'_>],
    hits: &[Hit<'_>],
    answers: &Answers,
    options: &LimiterOptions,
) {
    let counted = Counted { resolved, hits, answers, options, charged: decision.charged };
    let rules_deny = decision.code == Code::OverLimit || decision.globally_shadowed;
    let own = || plan.own.iter().zip(answers.outcomes.get(plan.rule_hits..).unwrap_or_default());
    let own_denial = own().find(|(own, outcome)| !own.by.shadow && !outcome.allowed());
    let denied = rules_deny || own_denial.is_some();
    decision.code = if denied && !options.shadow_mode { Code::OverLimit } else { Code::Ok };
    decision.globally_shadowed = denied && options.shadow_mode;

    let without =
        rules_deny && (plan.lowered.is_empty() || counted.denies_with(&plan.lowered, |lowered| &lowered.unadjusted));
    let denial = match own_denial {
        _ if decision.code == Code::Ok || without => None,
        Some((own, outcome)) if !rules_deny => Some(Denial::Own { limit: own.limit.clone(), outcome: *outcome }),
        _ => Some(Denial::Lowered),
    };
    let lowered: Vec<Lowered> = plan.lowered.iter().map(|(_, lowered)| lowered.clone()).collect();
    let shadow_own = own().find(|(own, outcome)| own.by.shadow && !outcome.allowed()).map(|(own, _)| &own.by);
    let shadow_denial = if denied {
        None
    } else {
        let lowers = || !plan.shadow_lowered.is_empty() && counted.denies_with(&plan.shadow_lowered, |low| &low.limit);
        let by_limit = || plan.shadow_lowered.first().map(|(_, lowered)| &lowered.by).filter(|_| lowers());
        plan.shadow_blocked.as_ref().or(shadow_own).or_else(by_limit)
    };
    let mut adjusted = Adjusted {
        applied: None,
        denial,
        lowered,
        shadow_denies: shadow_denial.is_some(),
        shadow: shadow_denial.or(plan.shadow.as_ref()).cloned(),
    };
    adjusted.applied = match own_denial {
        Some((own, _)) if !rules_deny => Some(Arc::clone(&own.by)),
        _ => None,
    };
    decision.adjustment = Some(Box::new(adjusted));
    let any = || plan.own.iter().map(|own| &own.by).find(|by| !by.shadow);
    let told = decision.lowered().map(|lowered| &lowered.by).or_else(any);
    let told = told.or_else(|| plan.lowered.first().map(|(_, lowered)| &lowered.by)).cloned();
    if let Some(adjusted) = &mut decision.adjustment {
        adjusted.applied = adjusted.applied.take().or(told);
    }
}

/// What becomes of a request of which nothing passes.
pub(in crate::limiter) fn blocked(plan: &Plan) -> Option<Box<Adjusted>> {
    let by = plan.blocked.as_ref()?;
    let wait = by.expires.saturating_sub(plan.now).max(Micros(1));
    Some(Box::new(Adjusted {
        applied: Some(Arc::clone(by)),
        denial: Some(Denial::Blocked(wait)),
        lowered: Vec::new(),
        shadow: plan.shadow.clone(),
        shadow_denies: false,
    }))
}

/// A request that was counted.
struct Counted<'c, 's, 'h> {
    resolved: &'c [Resolved<'s>],
    hits: &'c [Hit<'h>],
    answers: &'c Answers,
    options: &'c LimiterOptions,
    charged: bool,
}

impl Counted<'_, '_, '_> {
    /// Whether the rules would deny, had some hits been held against other limits.
    fn denies_with(&self, changed: &[(usize, Lowered)], limit: impl Fn(&Lowered) -> &Limit) -> bool {
        let mut outcomes: SmallVec<[Outcome; 4]> = self.answers.outcomes.clone();
        for (position, lowered) in changed {
            let (Some(hit), Some(outcome)) = (self.hits.get(*position), outcomes.get_mut(*position)) else { continue };
            let fits = fits(limit(lowered), hit, outcome, self.charged, self.answers.source(*position));
            outcome.verdict = if fits { Verdict::Allowed } else { Verdict::InsufficientCapacity };
        }
        let Combined { over, .. } = combined(self.resolved, self.hits, &outcomes, self.answers, self.options);
        over
    }
}

/// Whether a hit that was held against a limit would fit into another one of the same counter.
fn fits(other: &Limit, hit: &Hit<'_>, outcome: &Outcome, charged: bool, source: Source) -> bool {
    let hits = match hit.operation {
        Operation::Refund(_) => return true,
        Operation::Charge(1..) if other.post_paid() => return true,
        Operation::Charge(hits) => hits,
    };
    match source {
        Source::Closed => return false,
        Source::Open => return true,
        // It holds a share of the hits: only what was not denied can be told to fit.
        Source::Local => return outcome.allowed() || other.amount() > hit.limit.amount(),
        Source::Counter | Source::OverLimitMemory => {}
    }
    let recorded = charged && source == Source::Counter && (outcome.allowed() || other.over() == Over::Record);
    let before = outcome.level.saturating_sub(if recorded { hits } else { 0 });
    let before = match other.algorithm() {
        // Its state is a time, which another rate makes another number of hits of.
        Algorithm::LeakyBucket => {
            let scaled = u128::from(before) * u128::from(other.amount());
            u64::try_from(scaled.div_ceil(u128::from(hit.limit.amount().max(1)))).unwrap_or(u64::MAX)
        }
        _ => before,
    };
    let wanted = if other.post_paid() { hits.max(1) } else { hits };
    before.saturating_add(wanted) <= other.capacity()
}
