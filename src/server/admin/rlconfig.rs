//! The rules in force as text: a line a limit, in the notation of envoyproxy/ratelimit, with our own settings after
//! it where they differ from its meaning. Sorted, so that two replicas can be compared.

use std::fmt::Write as _;

use crate::core::limit::{Algorithm, Over};
use crate::core::rule::{Rule, RuleLimit};
use crate::core::ruleset::RuleSet;

/// All rules.
pub fn text(rules: &RuleSet) -> String {
    let mut lines = Vec::with_capacity(rules.rule_count());
    for rule in rules.rules() {
        if rule.is_unlimited() {
            lines.push(line(rule, None));
        }
        lines.extend(rule.limits().iter().map(|limit| line(rule, Some(limit))));
    }
    lines.sort_unstable();
    lines.concat()
}

fn line(rule: &Rule, limit: Option<&RuleLimit>) -> String {
    let unit = limit.and_then(|limit| limit.limit.window().unit()).map_or("UNKNOWN", |unit| unit.name());
    let amount = limit.map_or(0, |limit| limit.limit.amount());
    // Writing to a String cannot fail.
    let (domain, key) = (&rule.domain, rule.static_metric_key());
    let mut line = format!("{domain}.{key}: unit={} requests_per_unit={amount}", unit.to_ascii_uppercase());
    let _ = write!(line, ", shadow_mode: {}, quota_mode: {}", rule.shadow_mode, rule.quota_mode);
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(line, ", {name}: {value}");
    };
    match limit {
        None => add("unlimited", &true),
        Some(RuleLimit { limit, name, .. }) => {
            if let Some(name) = name {
                add("name", name);
            }
            if limit.window().unit().is_none() || matches!(limit.window(), crate::core::limit::Window::Calendar(_)) {
                add("window", limit.window());
            }
            if limit.algorithm() != Algorithm::FixedWindow {
                add("algorithm", &limit.algorithm());
            }
            if limit.algorithm().has_burst() {
                add("burst", &limit.capacity());
            }
            if limit.over() == Over::Drop {
                add("over", &"drop");
            }
            if limit.post_paid() {
                add("post_paid", &true);
            }
        }
    }
    if !rule.replaces().is_empty() {
        add("replaces", &rule.replaces().join(" "));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::Micros;
    use crate::core::limit::{Limit, LimitParts, Unit, Window};
    use crate::core::spec::{DescriptorSpec, DomainSpec, EffectSpec, LimitSpec, RuleSpec};

    fn descriptor(key: &str, parts: LimitParts, name: Option<&str>) -> DescriptorSpec {
        let limit = Limit::new(parts).unwrap();
        let limit = LimitSpec { limit, name: name.map(str::to_owned), replaces: Vec::new() };
        let rule = RuleSpec { effect: Some(EffectSpec::Limits(vec![limit])), ..RuleSpec::default() };
        DescriptorSpec { key: key.to_owned(), rule, ..DescriptorSpec::default() }
    }

    #[test]
    fn lines_are_sorted_and_say_what_differs_from_the_reference() {
        let minute = Window::Length(Unit::Minute.length());
        let bucket = LimitParts {
            algorithm: Algorithm::TokenBucket,
            burst: Some(20),
            over: Over::Drop,
            ..LimitParts::fixed_window(10, Window::Length(Micros::from_secs(30)))
        };
        let mut domain = DomainSpec::new("edge");
        domain.descriptors = vec![
            descriptor("user_id", LimitParts::fixed_window(5, minute), None),
            descriptor("path", bucket, Some("burst")),
            DescriptorSpec {
                key: "health".to_owned(),
                rule: RuleSpec {
                    effect: Some(EffectSpec::Unlimited { name: None, replaces: Vec::new() }),
                    shadow_mode: true,
                    ..RuleSpec::default()
                },
                ..DescriptorSpec::default()
            },
        ];
        let rules = RuleSet::compile(vec![domain], false).unwrap();
        assert_eq!(
            text(&rules),
            "edge.health: unit=UNKNOWN requests_per_unit=0, shadow_mode: true, quota_mode: false, unlimited: true\n\
             edge.path: unit=UNKNOWN requests_per_unit=10, shadow_mode: false, quota_mode: false, name: burst, window: \
             30s, algorithm: token_bucket, burst: 20, over: drop\n\
             edge.user_id: unit=MINUTE requests_per_unit=5, shadow_mode: false, quota_mode: false\n"
        );
    }
}
