//! `Explain`: the walk of a descriptor, and the state of the counters at its end.

use smallvec::SmallVec;

use super::{describe, proto};
use crate::core::descriptor::{Descriptor, Entry};
use crate::core::limit::Limit;
use crate::core::rule::Rule;
use crate::core::ruleset::{Domain, Explanation, Step};
use crate::counters::{CounterStore, StoreError};
use crate::limiter::{Explained, counter_key};
use crate::server::Context;

/// The most entries of a descriptor that are walked.
pub const MAX_ENTRIES: usize = 128;

/// Explains one descriptor. Consumes nothing.
///
/// # Errors
/// When the counter store cannot answer.
pub async fn explain(context: &Context, request: &proto::ExplainRequest) -> Result<proto::ExplainResponse, StoreError> {
    let active = context.limiter.active();
    let Some(domain) = active.rules.domain(request.domain.as_bytes()) else {
        let domains = active.rules.domains().len();
        return Ok(proto::ExplainResponse {
            domain_known: false,
            summary: format!(
                "No rule applies: there are no rules for domain '{}', so every request of it is allowed. The rules in \
                 force are for {domains} other {}.",
                request.domain,
                if domains == 1 { "domain" } else { "domains" }
            ),
            revision: active.revision,
            ..proto::ExplainResponse::default()
        });
    };
    let entries: SmallVec<[Entry<'_>; 4]> =
        request.entries.iter().map(|entry| Entry { key: &entry.key, value: &entry.value }).collect();
    let Explanation { steps, rule, summary } = domain.explain(&entries);
    let mut response = proto::ExplainResponse {
        domain_known: true,
        steps: steps.into_iter().zip(&request.entries).map(|(step, entry)| message(step, entry)).collect(),
        summary,
        revision: active.revision,
        ..proto::ExplainResponse::default()
    };
    let descriptor = Descriptor { entries, ..Descriptor::default() };
    let adjusted = context.limiter.explain_adjustments(domain, &descriptor);
    response.adjustments = adjusted.adjustments.iter().map(|adjustment| describe::adjustment(adjustment)).collect();
    if let Some(rule) = rule {
        response.counters = counters(context, domain, rule, &descriptor, &adjusted).await?;
        response.rule = Some(describe::rule(rule, describe::origin(context, rule.origin)));
    }
    Ok(response)
}

async fn counters(
    context: &Context,
    domain: &Domain,
    rule: &Rule,
    descriptor: &Descriptor<'_>,
    adjusted: &Explained,
) -> Result<Vec<proto::CounterState>, StoreError> {
    let mut states = Vec::with_capacity(rule.limits().len());
    for (place, limit) in rule.limits().iter().enumerate() {
        let key = counter_key(domain, rule, limit, descriptor);
        let lowered = adjusted.lowered.iter().find(|(lowered, _)| *lowered == place).map(|(_, limit)| limit);
        let in_effect = lowered.unwrap_or(&limit.limit);
        let outcome = context.limiter.store().inspect(&key, in_effect).await?;
        let adjusted_amount = lowered.map_or(0, Limit::amount);
        states.push(proto::CounterState { adjusted_amount, ..describe::counter(in_effect, outcome.as_ref()) });
    }
    Ok(states)
}

fn message(step: Step, entry: &proto::Entry) -> proto::Step {
    let other =
        |other: crate::core::ruleset::Alternative| proto::Alternative { branch: other.branch, reason: other.reason };
    proto::Step {
        entry: Some(entry.clone()),
        matched: step.matched.unwrap_or_default(),
        reason: step.reason,
        alternatives: step.alternatives.into_iter().map(other).collect(),
    }
}
