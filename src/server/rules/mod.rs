//! Rules, from where the settings say they are into the limiter: from files, from a repository, or from an xDS server.

pub mod files;
pub mod kept;
pub mod standing;
pub mod xds;

use tokio::runtime::Handle;

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

/// Waits for work on the background's threads, which may be done in a runtime too, whose thread it blocks. `None` when
/// the background ends first.
fn wait_for<T: Send + 'static>(background: &Handle, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (done, result) = std::sync::mpsc::channel();
    background.spawn(async move {
        // Whoever waits has not gone.
        let _ = done.send(work.await);
    });
    result.recv().ok()
}
