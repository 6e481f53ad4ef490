//! Outcomes put together into statuses and one answer, by the rules of envoyproxy/ratelimit.

use smallvec::SmallVec;

use super::LimiterOptions;
use super::adjusting::{self, Plan};
use super::resolve::{Resolved, Target, counted_limits};
use crate::core::algorithm::{Outcome, Verdict};
use crate::core::clock::Micros;
use crate::core::decision::{Applied, Code, Decision, Status};
use crate::core::descriptor::{Operation, Request};
use crate::core::limit::Limit;
use crate::core::ruleset::Domain;
use crate::core::spec::Charge;
use crate::counters::{Answers, Hit, Source};

/// What an unlimited rule reports as left.
const UNLIMITED: u64 = u32::MAX as u64;

/// The answer for a domain that has no rules: OK, without limits.
pub(super) fn unknown_domain<'s>(request: &Request<'_>) -> Decision<'s> {
    let status = |descriptor: &crate::core::descriptor::Descriptor<'_>| {
        Status::without_limit(descriptor.operation(request.hits_addend))
    };
    Decision {
        code: Code::Ok,
        domain: None,
        statuses: request.descriptors.iter().map(status).collect(),
        deciding: None,
        charged: true,
        globally_shadowed: false,
        adjustment: None,
    }
}

pub(super) fn combine<'s>(
    domain: &'s Domain,
    resolved: &[Resolved<'s>],
    hits: &[Hit<'_>],
    answers: &Answers,
    options: &LimiterOptions,
    plan: Option<&Plan>,
) -> Decision<'s> {
    let refused = hits.iter().zip(&answers.outcomes).any(|(hit, outcome)| hit.enforced && !outcome.allowed());
    let charged = !(super::charge(domain, plan) == Charge::AllOrNothing && refused);
    let Combined { statuses, over, deciding } = combined(resolved, hits, &answers.outcomes, answers, options);
    let mut decision = Decision {
        code: if over && !options.shadow_mode { Code::OverLimit } else { Code::Ok },
        domain: Some(domain),
        statuses,
        deciding,
        charged,
        globally_shadowed: over && options.shadow_mode,
        adjustment: None,
    };
    if let Some(plan) = plan {
        adjusting::conclude(plan, &mut decision, resolved, hits, answers, options);
    }
    decision
}

/// The answer when an adjustment lets nothing pass: every descriptor is over, and none was counted.
pub(super) fn blocked<'s>(domain: &'s Domain, resolved: &[Resolved<'s>], plan: &Plan) -> Decision<'s> {
    let status = |each: &Resolved<'s>| {
        let rule = match each.target {
            Target::Rule { rule, .. } => Some(rule),
            Target::Nothing | Target::Override { .. } => None,
        };
        Status { code: Code::OverLimit, rule, ..Status::without_limit(each.operation) }
    };
    Decision {
        code: Code::OverLimit,
        domain: Some(domain),
        statuses: resolved.iter().map(status).collect(),
        deciding: None,
        charged: false,
        globally_shadowed: false,
        adjustment: adjusting::blocked(plan),
    }
}

/// What the rules say together.
pub(super) struct Combined<'s> {
    pub statuses: SmallVec<[Status<'s>; 4]>,
    pub over: bool,
    pub deciding: Option<usize>,
}

/// The outcomes of the hits put together; `answers` tells their sources.
pub(super) fn combined<'s>(
    resolved: &[Resolved<'s>],
    hits: &[Hit<'_>],
    outcomes: &[Outcome],
    answers: &Answers,
    options: &LimiterOptions,
) -> Combined<'s> {
    let mut answers = hits.iter().zip(outcomes).enumerate().map(|(position, (hit, outcome))| Answer {
        limit: hit.limit,
        outcome,
        source: answers.source(position),
    });
    let statuses: SmallVec<[Status<'s>; 4]> = resolved.iter().map(|each| status(each, &mut answers)).collect();
    let (over, deciding) = overall(&statuses, options);
    Combined { statuses, over, deciding }
}

/// What one counter said.
struct Answer<'a> {
    /// The limit in effect.
    limit: &'a Limit,
    outcome: &'a Outcome,
    source: Source,
}

/// The status of one descriptor; takes its answers from the front of `answers`.
fn status<'s, 'a>(each: &Resolved<'s>, answers: &mut impl Iterator<Item = Answer<'a>>) -> Status<'s> {
    let mut status = Status::without_limit(each.operation);
    let applied = match &each.target {
        Target::Nothing => None,
        Target::Rule { rule, replaced } => {
            status.rule = Some(rule);
            if rule.is_unlimited() {
                status.remaining = UNLIMITED;
            }
            let counted = counted_limits(rule, *replaced).zip(answers);
            let strictest =
                counted.reduce(|one, other| if stricter(other.1.outcome, one.1.outcome) { other } else { one });
            status.replaced = strictest.is_none() && !rule.is_unlimited();
            strictest.map(|((_, limit), answer)| applied(limit.name.as_deref(), &answer))
        }
        Target::Override { .. } => answers.next().map(|answer| applied(None, &answer)),
    };
    if let Some(applied) = &applied {
        let over = !applied.outcome.allowed();
        status.shadowed = over && status.rule.is_some_and(|rule| rule.shadow_mode);
        status.remaining = if over { 0 } else { applied.outcome.remaining };
        status.code = if over && !status.shadowed { Code::OverLimit } else { Code::Ok };
    }
    status.applied = applied;
    status
}

fn applied<'s>(name: Option<&'s str>, answer: &Answer<'_>) -> Applied<'s> {
    Applied { limit: answer.limit.clone(), name, outcome: *answer.outcome, source: answer.source }
}

/// Whether `one` is worth reporting rather than `other`: it denies longer, or leaves less.
fn stricter(one: &Outcome, other: &Outcome) -> bool {
    let wait = |outcome: &Outcome| match outcome.verdict {
        Verdict::Allowed => Micros::ZERO,
        Verdict::NotUntil(wait) => wait,
        Verdict::InsufficientCapacity => Micros(u64::MAX),
    };
    (wait(one), other.remaining) > (wait(other), one.remaining)
}

/// Whether the request is over, and the position of the status that decides: over iff any status of a plain rule is,
/// or all of the quota rules' (at least one) are. The last plain one that is over decides, else the first of those
/// with the least left.
fn overall(statuses: &[Status<'_>], options: &LimiterOptions) -> (bool, Option<usize>) {
    let mut deciding = None;
    let mut least = UNLIMITED;
    let (mut plain_over, mut quota_over, mut quotas) = (0, 0, 0);
    for (position, status) in statuses.iter().enumerate() {
        if status.rule.is_some_and(crate::core::rule::Rule::is_unlimited) {
            continue;
        }
        let quota = options.quota_mode || status.rule.is_some_and(|rule| rule.quota_mode && !status.replaced);
        let over = status.code == Code::OverLimit;
        if status.applied.is_some() && (status.remaining < least || deciding.is_none()) {
            (deciding, least) = (Some(position), status.remaining);
        }
        if over && !quota {
            (deciding, least) = (Some(position), 0);
        }
        quotas += usize::from(quota);
        quota_over += usize::from(quota && over);
        plain_over += usize::from(over && !quota);
    }
    (plain_over > 0 || (quotas > 0 && quotas == quota_over), deciding)
}

impl Status<'_> {
    /// OK, as no limit applies.
    const fn without_limit(operation: Operation) -> Self {
        Self { code: Code::Ok, rule: None, applied: None, remaining: 0, operation, replaced: false, shadowed: false }
    }
}
