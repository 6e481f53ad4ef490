//! A rule of what is written at its path and above it.

use std::borrow::Cow;
use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::level::Flags;
use crate::core::limit::Limit;
use crate::core::path::{PathEntry, canonical_path};
use crate::core::rule::{Effect, MetricName, MetricPart, MetricValue, Rule, RuleExtras, RuleId, RuleLimit, composite};
use crate::core::spec::{EffectSpec, LimitSpec, RuleSpec};

/// One step of the path from the domain's top to the node at hand.
#[derive(Clone, Debug)]
pub(super) struct Step<'p> {
    pub(super) entry: Cow<'p, PathEntry>,
    pub(super) flags: Flags,
}

impl Step<'_> {
    fn composite(&self) -> Cow<'_, str> {
        composite(&self.entry.key, self.entry.value.as_deref())
    }

    /// Whether the value is open: the entry has none, or a `*` in it or (which reaches into the value) in its key.
    fn is_open(&self) -> bool {
        self.entry.value.is_none() || self.entry.has_wildcard()
    }

    /// Whether all that match share one counter.
    fn is_shared(&self) -> bool {
        self.flags.share_threshold && self.entry.has_wildcard()
    }
}

/// The rule at the end of a path, without an id yet.
pub(super) fn rule(domain: &Arc<str>, path: &[Step<'_>], spec: RuleSpec, effect: EffectSpec) -> Rule {
    let text = canonical_path(path.iter().map(|step| (&*step.entry.key, step.entry.value.as_deref())));
    let mut replaces = Vec::new();
    let effect = match effect {
        EffectSpec::Unlimited { name, replaces: names } => {
            replaces.extend(names);
            Effect::Unlimited { name: name.map(Into::into) }
        }
        EffectSpec::Limits(limits) => {
            let several = limits.len() > 1;
            let mut limits = limits.into_iter().enumerate().map(|(position, spec)| {
                let LimitSpec { limit, name, replaces: names } = spec;
                replaces.extend(names);
                let place = several.then(|| name.clone().unwrap_or_else(|| position.to_string()));
                let counter_space = counter_space(domain, &text, &limit, place.as_deref());
                RuleLimit { limit, name: name.map(Into::into), place: place.map(Into::into), counter_space }
            });
            match (several, limits.next()) {
                (false, Some(only)) => Effect::Limit(only),
                (_, first) => Effect::Limits(first.into_iter().chain(limits).collect()),
            }
        }
    };
    let extras = RuleExtras {
        replaces: replaces.into_iter().map(Into::into).collect(),
        metadata: spec.metadata,
        tags: spec.tags.into_iter().map(Into::into).collect(),
        failure_mode: spec.failure_mode,
        protect: spec.protect,
    };
    Rule {
        id: RuleId::UNLISTED,
        domain: Arc::clone(domain),
        path: text.into(),
        effect,
        shadow_mode: spec.shadow_mode,
        quota_mode: spec.quota_mode,
        varying: varying(path),
        varying_keys: bits(path, |step| step.entry.key.contains('*')),
        metric: metric_name(path, spec.detailed_metric),
        extras: (!extras.is_empty()).then(|| Box::new(extras)),
        origin: spec.origin,
    }
}

/// The rule after what is written above it has changed.
pub(super) fn again(rule: &Rule, path: &[Step<'_>]) -> Rule {
    let detailed = path.last().is_some_and(|step| step.flags.detailed_metric);
    Rule { varying: varying(path), metric: metric_name(path, detailed), ..rule.clone() }
}

fn varying(path: &[Step<'_>]) -> u64 {
    bits(path, |step| step.is_open() && !step.is_shared())
}

fn bits(path: &[Step<'_>], is_set: fn(&Step<'_>) -> bool) -> u64 {
    path.iter().enumerate().filter(|(_, step)| is_set(step)).fold(0, |bits, (at, _)| bits | 1 << at)
}

/// `detailed_metric` shows every value, `value_to_metric` those of its own steps; where a threshold is shared, the
/// pattern stands for the value in both.
fn metric_name(path: &[Step<'_>], detailed: bool) -> MetricName {
    if !detailed && !path.iter().any(|step| step.flags.value_to_metric) {
        return MetricName::Static;
    }
    // Beside a shared threshold the reference leaves the `_` of an empty value out.
    let any_shared = path.iter().any(Step::is_shared);
    let part = |step: &Step<'_>| {
        let key = || Cow::Borrowed(&*step.entry.key);
        let (text, value) = match (detailed, step.is_shared()) {
            (_, true) => (step.composite(), MetricValue::Absent),
            (true, false) if any_shared => (key(), MetricValue::IfPresent),
            (true, false) => (key(), MetricValue::Always),
            (false, false) if step.is_open() && step.flags.value_to_metric => (key(), MetricValue::IfPresent),
            (false, false) => (step.composite(), MetricValue::Absent),
        };
        MetricPart { text: text.into(), value }
    };
    MetricName::Dynamic(path.iter().map(part).collect())
}

impl RuleExtras {
    fn is_empty(&self) -> bool {
        self.replaces.is_empty()
            && self.metadata.is_none()
            && self.tags.is_empty()
            && self.failure_mode.is_none()
            && !self.protect
    }
}

/// A hash of what makes a limit's counters its own. The key is fixed: replicas and restarts agree, and only those
/// who write rules choose what goes in.
fn counter_space(domain: &str, path: &str, limit: &Limit, place: Option<&str>) -> u128 {
    let mut hasher = SipHasher13::new();
    let window = limit.window().to_string();
    for part in [domain, path, limit.algorithm().name(), &window, place.unwrap_or("")] {
        hasher.write_u64(part.len() as u64);
        hasher.write(part.as_bytes());
    }
    hasher.finish128().as_u128()
}
