//! Rules, from where the settings say they are into the limiter: from files, or from a repository.

pub mod files;
pub mod kept;
pub mod standing;

use super::Context;
use crate::core::ruleset::RuleSet;
use crate::limiter::Description;

/// Puts a rule set in force.
fn publish(context: &Context, rules: RuleSet, source: &'static str) {
    let count = rules.rule_count();
    let revision = context.limiter.publish(rules, Description { source: source.into() });
    context.metrics.rule_loads().loaded(revision, count);
    context.health.rules_loaded();
    tracing::info!(revision, rules = count, "rules are in force");
}
