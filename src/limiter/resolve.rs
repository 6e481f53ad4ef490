//! From a request's descriptors to the limits that apply, and the hits on their counters.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use super::LimiterOptions;
use super::adjusting::Plan;
use crate::core::descriptor::{Descriptor, LimitOverride, Operation, Request};
use crate::core::limit::{Limit, LimitParts, Window};
use crate::core::path::canonical_path;
use crate::core::rule::{Rule, RuleLimit};
use crate::core::ruleset::Domain;
use crate::counters::{CounterKey, CounterName, Hit};

/// What applies to one descriptor.
#[derive(Debug)]
pub(super) struct Resolved<'s> {
    pub(super) operation: Operation,
    pub(super) target: Target<'s>,
}

#[derive(Debug)]
pub(super) enum Target<'s> {
    /// No rule matches.
    Nothing,
    /// A rule; bit `i` of `replaced` is set when another matched rule replaces its limit `i`.
    Rule { rule: &'s Rule, replaced: u64 },
    /// A limit that came with the request.
    Override { limit: Limit, space: u128, path: String },
}

pub(super) type AllResolved<'s> = SmallVec<[Resolved<'s>; 4]>;

/// The most limits of one rule that can be replaced one by one.
const REPLACEABLE: usize = 64;

pub(super) fn resolve<'s>(domain: &'s Domain, request: &Request<'_>) -> AllResolved<'s> {
    let mut resolved: AllResolved<'s> = request
        .descriptors
        .iter()
        .map(|descriptor| {
            let operation = match descriptor.operation(request.hits_addend) {
                // Where refunds are not accepted, they only ask.
                Operation::Refund(_) if !domain.settings.accept_refunds => Operation::Charge(0),
                operation => operation,
            };
            Resolved { operation, target: target(domain, descriptor) }
        })
        .collect();
    if resolved
        .iter()
        .any(|resolved| matches!(resolved.target, Target::Rule { rule, .. } if !rule.replaces().is_empty()))
    {
        replace(&mut resolved);
    }
    resolved
}

fn target<'s>(domain: &'s Domain, descriptor: &Descriptor<'_>) -> Target<'s> {
    match descriptor.limit {
        Some(brought) if domain.settings.accept_overrides => override_target(domain, descriptor, brought),
        _ => domain.find(&descriptor.entries).map_or(Target::Nothing, |rule| Target::Rule { rule, replaced: 0 }),
    }
}

/// An override's counter belongs to its domain, unit and keys; the values are part of the counter's key.
fn override_target<'s>(domain: &Domain, descriptor: &Descriptor<'_>, brought: LimitOverride) -> Target<'s> {
    let window = Window::Length(brought.unit.length());
    let parts = LimitParts::fixed_window(u64::from(brought.requests_per_unit), window);
    // A fixed window of a unit is always valid.
    let Ok(limit) = Limit::new(parts) else { return Target::Nothing };
    let mut hasher = SipHasher13::new();
    for part in [b"override".as_slice(), domain.name.as_bytes(), brought.unit.name().as_bytes()]
        .into_iter()
        .chain(descriptor.entries.iter().map(|entry| entry.key))
    {
        hasher.write_u64(part.len() as u64);
        hasher.write(part);
    }
    // Lossy where a key is no UTF-8: the key's own bytes are in the space, and no rule can have such a key.
    let keys: SmallVec<[_; 4]> = descriptor.entries.iter().map(|entry| String::from_utf8_lossy(entry.key)).collect();
    let path = canonical_path(keys.iter().map(|key| (&**key, None)));
    Target::Override { limit, space: hasher.finish128().as_u128(), path }
}

/// Marks every limit that a matched rule of the request replaces. Unlimited rules are never replaced.
fn replace(resolved: &mut AllResolved<'_>) {
    let mut names: SmallVec<[&str; 8]> = SmallVec::new();
    for each in resolved.iter() {
        if let Target::Rule { rule, .. } = each.target {
            names.extend(rule.replaces().iter().map(|name| &**name));
        }
    }
    for each in resolved.iter_mut() {
        if let Target::Rule { rule, replaced } = &mut each.target {
            for (position, limit) in rule.limits().iter().enumerate().take(REPLACEABLE) {
                if limit.name.as_deref().is_some_and(|name| names.contains(&name)) {
                    *replaced |= 1 << position;
                }
            }
        }
    }
}

/// The limits of a descriptor that count, in order, each with its position.
pub(super) fn counted_limits(rule: &Rule, replaced: u64) -> impl Iterator<Item = (usize, &RuleLimit)> {
    let counts = move |position: usize| position >= REPLACEABLE || replaced & (1 << position) == 0;
    rule.limits().iter().enumerate().filter(move |(position, _)| counts(*position))
}

/// The hits of a request, descriptor by descriptor, with the limits that `plan` lowers; behind them those on the
/// counters of adjustments.
pub(super) fn hits<'a, 's: 'a>(
    domain: &'a Domain,
    resolved: &'a [Resolved<'_>],
    request: &Request<'s>,
    options: &LimiterOptions,
    plan: Option<&'a Plan>,
) -> SmallVec<[Hit<'a>; 4]> {
    let mut hits: SmallVec<[Hit<'a>; 4]> = SmallVec::new();
    for (each, descriptor) in resolved.iter().zip(&request.descriptors) {
        match &each.target {
            Target::Nothing => {}
            Target::Rule { rule, replaced } => {
                let enforced = !(rule.shadow_mode || rule.quota_mode || options.shadow_mode || options.quota_mode);
                for (_, limit) in counted_limits(rule, *replaced) {
                    let lowered = plan.and_then(|plan| plan.limit(hits.len()));
                    hits.push(Hit {
                        key: counter_key(domain, rule, limit, descriptor),
                        limit: lowered.unwrap_or(&limit.limit),
                        operation: each.operation,
                        enforced,
                        failure_mode: rule.failure_mode().unwrap_or(options.failure_mode),
                    });
                }
            }
            Target::Override { limit, space, path } => hits.push(Hit {
                key: CounterKey {
                    space: *space,
                    name: CounterName { domain: &domain.name, path, limit: Some("override") },
                    values: descriptor.entries.iter().map(|entry| entry.value).collect(),
                },
                limit: plan.and_then(|plan| plan.limit(hits.len())).unwrap_or(limit),
                operation: each.operation,
                enforced: !(options.shadow_mode || options.quota_mode),
                failure_mode: options.failure_mode,
            }),
        }
    }
    if let Some(plan) = plan {
        hits.extend(plan.own_hits(domain, options));
    }
    hits
}

/// The counter of one of a rule's limits that a descriptor charges.
pub fn counter_key<'a, 's: 'a>(
    domain: &'a Domain,
    rule: &'a Rule,
    limit: &'a RuleLimit,
    descriptor: &Descriptor<'s>,
) -> CounterKey<'a> {
    CounterKey {
        space: limit.counter_space,
        name: CounterName { domain: &domain.name, path: &rule.path, limit: limit.place.as_deref() },
        values: varying_values(rule, descriptor),
    }
}

/// The keys and values of a descriptor that belong to a rule's counters.
fn varying_values<'a, 's: 'a>(rule: &Rule, descriptor: &Descriptor<'s>) -> SmallVec<[&'a [u8]; 4]> {
    let mut values = SmallVec::new();
    for (position, entry) in descriptor.entries.iter().enumerate() {
        if rule.varying_keys & (1 << position) != 0 {
            values.push(entry.key);
        }
        if rule.varying & (1 << position) != 0 {
            values.push(entry.value);
        }
    }
    values
}
