//! A compiled rule: a descriptor path with what applies at its end. Immutable and shared by every request.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::descriptor::Entry;
use super::limit::Limit;
use super::path::entries_of;
use super::spec::{FailureMode, Origin};

/// A rule's place in its rule set. It stays when the rule or others change; that of a removed rule is given to the
/// next new one, so that ids stay dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

impl RuleId {
    /// Of a rule that is not in force, as it or something above it is disabled.
    pub const UNLISTED: Self = Self(u32::MAX);
}

/// A limit of a rule, with what identifies its counters.
#[derive(Clone, Debug)]
pub struct RuleLimit {
    /// The limit.
    pub limit: Limit,
    /// Its name, in answers and headers.
    pub name: Option<Box<str>>,
    /// Tells it from the other limits of its rule, where there are several: its name, or else its position.
    pub place: Option<Box<str>>,
    /// Distinguishes the counters of this limit from those of every other: a hash of domain, rule path, algorithm,
    /// window and (where a rule has several limits) name or position. It does not contain the amount, so that a
    /// counter survives a changed limit.
    pub counter_space: u128,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Always OK, never counted.
    Unlimited {
        /// Names it, so that other rules can be replaced by it.
        name: Option<Box<str>>,
    },
    /// The only limit, as most rules have it.
    Limit(RuleLimit),
    /// Every one of these must hold. Not empty.
    Limits(Box<[RuleLimit]>),
}

/// What few rules have, kept apart so that the many stay small.
#[derive(Clone, Debug, Default)]
pub struct RuleExtras {
    /// Names of rules that do not apply to a request in which this one matches.
    pub replaces: Box<[Box<str>]>,
    /// Passed on in dynamic metadata.
    pub metadata: Option<Map<String, Value>>,
    /// For listing and filtering.
    pub tags: Box<[Box<str>]>,
    /// When the counter store cannot answer; `None` takes the server's default.
    pub failure_mode: Option<FailureMode>,
    /// The anomaly worker may never tighten this rule.
    pub protect: bool,
}

/// How the metric of a rule is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricName {
    /// The same for every request.
    Static,
    /// One part per entry, some with the request's value in them.
    Dynamic(Box<[MetricPart]>),
}

/// The part of a metric's name that one entry gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricPart {
    /// The constant text: `key_value`, or `key` when the value follows.
    pub text: Box<str>,
    /// Whether the request's value follows.
    pub value: MetricValue,
}

/// Whether an entry's value stands in a metric's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricValue {
    /// No.
    Absent,
    /// After a `_`, if it is not empty (`value_to_metric`).
    IfPresent,
    /// After a `_`, always (`detailed_metric`).
    Always,
}

/// A descriptor path and what applies at its end.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its place in the rule set.
    pub id: RuleId,
    /// The name of its domain.
    pub domain: Arc<str>,
    /// The canonical descriptor path, `key=value,key2,key3=pre*`; see [`crate::core::path`].
    pub path: Box<str>,
    /// What it does.
    pub effect: Effect,
    /// Count, but never deny.
    pub shadow_mode: bool,
    /// Deny only together with every other quota rule of the request.
    pub quota_mode: bool,
    /// Bit `i` is set when the value of entry `i` is part of the counter's identity: the path has no value there, or
    /// a wildcard that does not share its threshold.
    pub varying: u64,
    /// The same for the key of entry `i`: the path has a wildcard in the key. Values share a threshold, keys do not, as
    /// in envoyproxy/ratelimit.
    pub varying_keys: u64,
    /// Whether requests alter the metric's name.
    pub metric: MetricName,
    /// What few rules have.
    pub extras: Option<Box<RuleExtras>>,
    /// Where it was written.
    pub origin: Origin,
}

impl Rule {
    /// The name under which answers speak of this rule: the first limit's name, else the path.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name().unwrap_or(&self.path)
    }

    /// The configured name: of the unlimited effect, or of the first limit.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.effect {
            Effect::Unlimited { name } => name.as_deref(),
            _ => self.limits().first().and_then(|limit| limit.name.as_deref()),
        }
    }

    /// Every configured name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let unlimited = match &self.effect {
            Effect::Unlimited { name } => name.as_deref(),
            _ => None,
        };
        unlimited.into_iter().chain(self.limits().iter().filter_map(|limit| limit.name.as_deref()))
    }

    /// The limits; none when unlimited.
    #[must_use]
    pub fn limits(&self) -> &[RuleLimit] {
        match &self.effect {
            Effect::Unlimited { .. } => &[],
            Effect::Limit(limit) => std::slice::from_ref(limit),
            Effect::Limits(limits) => limits,
        }
    }

    /// Whether the rule is unlimited.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        matches!(self.effect, Effect::Unlimited { .. })
    }

    /// Names of rules that do not apply to a request in which this one matches.
    #[must_use]
    pub fn replaces(&self) -> &[Box<str>] {
        self.extras.as_ref().map_or(&[], |extras| &extras.replaces)
    }

    /// The rule's metadata.
    #[must_use]
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.extras.as_ref().and_then(|extras| extras.metadata.as_ref())
    }

    /// The rule's own failure mode.
    #[must_use]
    pub fn failure_mode(&self) -> Option<FailureMode> {
        self.extras.as_ref().and_then(|extras| extras.failure_mode)
    }

    /// Whether no adjustment may tighten it.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.protect)
    }

    /// The metric's name without the domain, `key_value.key2`, as envoyproxy/ratelimit names it where requests do not
    /// alter it. Made of the path.
    #[must_use]
    pub fn static_metric_key(&self) -> String {
        let mut name = String::with_capacity(self.path.len());
        for (key, value) in entries_of(&self.path) {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&composite(&key, value.as_deref()));
        }
        name
    }

    /// The metric's name for a request's entries, without the domain. Bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn metric_key(&self, entries: &[Entry<'_>]) -> String {
        let MetricName::Dynamic(parts) = &self.metric else { return self.static_metric_key() };
        let mut name = String::with_capacity(self.path.len() + 32);
        for (part, entry) in parts.iter().zip(entries) {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&part.text);
            let shown = match part.value {
                MetricValue::Absent => false,
                MetricValue::IfPresent => !entry.value.is_empty(),
                MetricValue::Always => true,
            };
            if shown {
                name.push('_');
                name.push_str(&String::from_utf8_lossy(entry.value));
            }
        }
        name
    }
}

/// The name that envoyproxy/ratelimit gives a node.
#[must_use]
pub fn composite<'a>(key: &'a str, value: Option<&str>) -> Cow<'a, str> {
    value.map_or(key.into(), |value| format!("{key}_{value}").into())
}
