//! Rules and counters as messages of the admin protocol.

use super::proto;
use crate::core::adjustment::Adjustment;
use crate::core::algorithm::Outcome;
use crate::core::limit::{Limit, Over};
use crate::core::rule::{Rule, RuleLimit};
use crate::core::spec::Origin;
use crate::server::Context;

/// A rule, written at `origin`.
pub fn rule(rule: &Rule, origin: String) -> proto::Rule {
    let texts = |texts: &[Box<str>]| texts.iter().map(ToString::to_string).collect();
    proto::Rule {
        domain: rule.domain.to_string(),
        path: rule.path.to_string(),
        name: rule.name().unwrap_or_default().to_owned(),
        unlimited: rule.is_unlimited(),
        limits: rule.limits().iter().map(limit).collect(),
        shadow_mode: rule.shadow_mode,
        quota_mode: rule.quota_mode,
        replaces: texts(rule.replaces()),
        tags: rule.extras.as_ref().map(|extras| texts(&extras.tags)).unwrap_or_default(),
        protect: rule.is_protected(),
        origin,
    }
}

/// Where something was written, `file:line:column`.
pub fn origin(context: &Context, origin: Origin) -> String {
    let files = context.rule_files.load();
    let file = files.get(origin.file as usize).map(|file| file.display().to_string()).unwrap_or_default();
    format!("{file}:{}:{}", origin.line, origin.column)
}

/// A limit of a rule.
pub fn limit(limit: &RuleLimit) -> proto::Limit {
    let RuleLimit { limit, name, .. } = limit;
    proto::Limit {
        name: name.as_deref().unwrap_or_default().to_owned(),
        amount: limit.amount(),
        window: limit.window().to_string(),
        algorithm: limit.algorithm().name().to_owned(),
        capacity: limit.capacity(),
        over: match limit.over() {
            Over::Record => "record".to_owned(),
            Over::Drop => "drop".to_owned(),
        },
        post_paid: limit.post_paid(),
    }
}

/// What a store says of a counter; `None` when there is none yet.
pub fn counter(limit: &Limit, outcome: Option<&Outcome>) -> proto::CounterState {
    match outcome {
        None => proto::CounterState {
            exists: false,
            would_allow: limit.capacity() > 0 || limit.post_paid(),
            remaining: limit.capacity(),
            ..proto::CounterState::default()
        },
        Some(outcome) => proto::CounterState {
            exists: true,
            would_allow: outcome.allowed(),
            level: outcome.level,
            remaining: outcome.remaining,
            reset_after_us: outcome.reset_after.0,
            retry_after_us: outcome.retry_after().map_or(0, |wait| wait.0),
            adjusted_amount: 0,
        },
    }
}

/// An adjustment.
pub fn adjustment(adjustment: &Adjustment) -> proto::Adjustment {
    proto::Adjustment {
        id: adjustment.id.to_string(),
        subject: adjustment.subject.to_string(),
        effect: adjustment.effect.to_string(),
        expires_us: adjustment.expires.0,
        shadow: adjustment.shadow,
    }
}
