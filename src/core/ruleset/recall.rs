//! What was written at a path, told from what it was compiled to.

use super::level::Node;
use crate::core::rule::{Effect, Rule};
use crate::core::spec::{EffectSpec, LimitSpec, RuleSpec};

/// What decisions depend on of what is written at a node; `None` where nothing is. Of limits that replace others, the
/// first names all of them. What a node without effect would say of one is not kept.
pub(super) fn spec(node: &Node) -> Option<RuleSpec> {
    let flags = node.flags;
    let mut spec = node.rule.as_deref().map(rule).unwrap_or_default();
    spec.disabled = flags.disabled;
    spec.share_threshold = flags.share_threshold;
    spec.value_to_metric = flags.value_to_metric;
    spec.detailed_metric = flags.detailed_metric;
    spec.order = node.order;
    flags.written.then_some(spec)
}

fn rule(rule: &Rule) -> RuleSpec {
    let mut replaces: Vec<String> = rule.replaces().iter().map(|name| name.to_string()).collect();
    let effect = match &rule.effect {
        Effect::Unlimited { name } => {
            EffectSpec::Unlimited { name: name.as_deref().map(str::to_owned), replaces: std::mem::take(&mut replaces) }
        }
        Effect::Limit(_) | Effect::Limits(_) => EffectSpec::Limits(
            rule.limits()
                .iter()
                .map(|limit| LimitSpec {
                    limit: limit.limit.clone(),
                    name: limit.name.as_deref().map(str::to_owned),
                    replaces: std::mem::take(&mut replaces),
                })
                .collect(),
        ),
    };
    let extras = rule.extras.as_deref();
    RuleSpec {
        origin: rule.origin,
        effect: Some(effect),
        shadow_mode: rule.shadow_mode,
        quota_mode: rule.quota_mode,
        metadata: rule.metadata().cloned(),
        failure_mode: rule.failure_mode(),
        tags: extras.map_or(&[][..], |extras| &extras.tags).iter().map(|tag| tag.to_string()).collect(),
        protect: extras.is_some_and(|extras| extras.protect),
        ..RuleSpec::default()
    }
}
