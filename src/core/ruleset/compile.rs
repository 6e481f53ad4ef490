//! From specs to the lookup structure, with every mistake that only the whole can show.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher as _;

use super::level::{KeyPattern, Level, Node, SameKey};
use super::wildcard::{Pattern, PatternSet};
use super::{Domain, RuleSet};
use crate::core::limit::Limit;
use crate::core::path::canonical_path;
use crate::core::rule::{Effect, MetricName, MetricPart, MetricValue, Rule, RuleExtras, RuleId, RuleLimit};
use crate::core::spec::{DescriptorSpec, DomainSpec, EffectSpec, LimitSpec, Origin, RuleSpec};

/// The deepest nesting of descriptors.
pub const MAX_DEPTH: usize = 64;

/// Why a rule set does not compile: one mistake, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct CompileError {
    /// Where.
    pub origin: Origin,
    /// What.
    pub kind: CompileErrorKind,
}

/// The mistakes that only the whole can show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileErrorKind {
    /// The same domain twice, without merging.
    #[error("duplicate domain '{domain}' in config file")]
    DuplicateDomain {
        /// The domain.
        domain: String,
        /// Where it was written first.
        first: Origin,
    },
    /// The same key and value twice in one level.
    #[error("duplicate descriptor composite key '{path}'")]
    DuplicateDescriptor {
        /// The descriptor, as `domain.key_value...`.
        path: String,
        /// Where it was written first.
        first: Origin,
    },
    /// Too many levels.
    #[error("descriptors are nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// More rules than a rule id can count.
    #[error("more than {} rules", u32::MAX)]
    TooManyRules,
}

pub(super) fn compile(domains: Vec<DomainSpec>, merge_domains: bool) -> Result<RuleSet, Vec<CompileError>> {
    let mut errors = Vec::new();
    let domains = merge(domains, merge_domains, &mut errors);
    let mut set = RuleSet::default();
    for spec in domains {
        let Ok(first_id) = u32::try_from(set.rule_count) else {
            errors.push(CompileError { origin: spec.origin, kind: CompileErrorKind::TooManyRules });
            break;
        };
        let mut compiler =
            Compiler { domain: &spec.name, first_id, rules: Vec::new(), path: Vec::new(), errors: &mut errors };
        let top = compiler.level(spec.descriptors);
        let rules = compiler.rules.into_boxed_slice();
        set.rule_count += rules.len();
        set.by_name.insert(spec.name.as_bytes().into(), set.domains.len());
        set.domains.push(Domain { name: spec.name.into(), settings: spec.settings, top, rules, first_id });
    }
    errors.sort_by_key(|error| error.origin);
    if errors.is_empty() { Ok(set) } else { Err(errors) }
}

/// One spec per domain name.
fn merge(domains: Vec<DomainSpec>, merge_domains: bool, errors: &mut Vec<CompileError>) -> Vec<DomainSpec> {
    let mut merged: Vec<DomainSpec> = Vec::with_capacity(domains.len());
    let mut positions: HashMap<String, usize, RandomState> = HashMap::default();
    for spec in domains {
        match positions.get(&spec.name) {
            Some(position) if merge_domains => merged[*position].descriptors.extend(spec.descriptors),
            Some(position) => {
                let (domain, first) = (spec.name.clone(), merged[*position].origin);
                errors.push(CompileError {
                    origin: spec.origin,
                    kind: CompileErrorKind::DuplicateDomain { domain, first },
                });
                // It will not be in force, but its own mistakes are told as well.
                merged.push(spec);
            }
            None => {
                positions.insert(spec.name.clone(), merged.len());
                merged.push(spec);
            }
        }
    }
    merged
}

/// One step of the path from the domain's top to the node at hand.
struct PathStep {
    key: String,
    /// Empty for none.
    value: String,
    share_threshold: bool,
    value_to_metric: bool,
}

impl PathStep {
    fn has_wildcard(&self) -> bool {
        self.key.contains('*') || self.value.contains('*')
    }

    /// The name that envoyproxy/ratelimit gives a node.
    fn composite(&self) -> String {
        if self.value.is_empty() { self.key.clone() } else { format!("{}_{}", self.key, self.value) }
    }
}

struct Compiler<'a> {
    domain: &'a str,
    first_id: u32,
    rules: Vec<Rule>,
    path: Vec<PathStep>,
    errors: &'a mut Vec<CompileError>,
}

/// A level while it is being filled: patterns are collected before they are indexed.
#[derive(Default)]
struct OpenKey {
    exact: HashMap<Box<[u8]>, Node, RandomState>,
    patterns: Vec<(Pattern, (Box<str>, Node))>,
    any: Option<Node>,
}

/// The pattern of a branch with a `*` in its key.
fn key_pattern(key: &str, value: &str) -> Option<Pattern> {
    if !key.contains('*') {
        return None;
    }
    // Without a value, the `_` that parts it from the key is no part of the pattern.
    if value.is_empty() { Pattern::parse(key) } else { Pattern::parse(&format!("{key}_{value}")) }
}

impl OpenKey {
    fn add(&mut self, value: &str, node: Node) {
        match Pattern::parse(value) {
            Some(pattern) => self.patterns.push((pattern, (value.into(), node))),
            None if value.is_empty() => self.any = Some(node),
            None => {
                self.exact.insert(value.as_bytes().into(), node);
            }
        }
    }

    fn close(self) -> SameKey {
        let Self { mut exact, patterns, any } = self;
        exact.shrink_to_fit();
        SameKey { exact, patterns: PatternSet::new(patterns), any }
    }
}

impl Compiler<'_> {
    fn level(&mut self, specs: Vec<DescriptorSpec>) -> Level {
        let mut seen: HashMap<(String, String), Origin, RandomState> = HashMap::default();
        let mut open: HashMap<String, OpenKey, RandomState> = HashMap::default();
        let mut key_patterns = Vec::new();
        for (order, mut spec) in (0u32..).zip(specs) {
            let step = PathStep {
                key: std::mem::take(&mut spec.key),
                value: spec.value.take().unwrap_or_default(),
                share_threshold: spec.rule.share_threshold,
                value_to_metric: spec.rule.value_to_metric,
            };
            let origin = spec.rule.origin;
            let named = (step.key.clone(), step.value.clone());
            self.path.push(step);
            // A disabled node still may not be written twice, or enabling it would break the set.
            if let Some(first) = seen.get(&named) {
                let path = self.metric_key();
                self.error(
                    origin,
                    CompileErrorKind::DuplicateDescriptor { path: format!("{}.{path}", self.domain), first: *first },
                );
            } else if self.path.len() > MAX_DEPTH {
                self.error(origin, CompileErrorKind::TooDeep);
            } else {
                let disabled = spec.rule.disabled;
                // Compiled even when disabled, for its mistakes.
                let rules = self.rules.len();
                let node = self.node(spec, order);
                if disabled {
                    self.rules.truncate(rules);
                } else {
                    match key_pattern(&named.0, &named.1) {
                        Some(pattern) => key_patterns.push((
                            pattern,
                            KeyPattern {
                                key: named.0.as_str().into(),
                                value: (!named.1.is_empty()).then(|| named.1.as_str().into()),
                                node,
                            },
                        )),
                        None => open.entry(named.0.clone()).or_default().add(&named.1, node),
                    }
                }
                seen.insert(named, origin);
            }
            self.path.pop();
        }
        let keys = open.into_iter().map(|(key, same_key)| (key.as_bytes().into(), same_key.close()));
        Level { keys: keys.collect(), key_patterns: PatternSet::new(key_patterns) }
    }

    /// The node of `spec`, whose step is the last of the path.
    fn node(&mut self, spec: DescriptorSpec, order: u32) -> Node {
        let DescriptorSpec { mut rule, descriptors: children, .. } = spec;
        let rule = rule.effect.take().map(|effect| self.rule(rule, effect));
        let children = (!children.is_empty()).then(|| Box::new(self.level(children)));
        Node { rule, order, children }
    }

    fn rule(&mut self, spec: RuleSpec, effect: EffectSpec) -> RuleId {
        let Some(id) = u32::try_from(self.rules.len()).ok().and_then(|count| self.first_id.checked_add(count)) else {
            self.error(spec.origin, CompileErrorKind::TooManyRules);
            return RuleId(u32::MAX);
        };
        let path = canonical_path(
            self.path
                .iter()
                .map(|step| (step.key.as_str(), Some(step.value.as_str()).filter(|value| !value.is_empty()))),
        );
        let mut replaces = Vec::new();
        let effect = match effect {
            EffectSpec::Unlimited { name, replaces: names } => {
                replaces.extend(names);
                Effect::Unlimited { name: name.map(Into::into) }
            }
            EffectSpec::Limits(limits) => {
                let several = limits.len() > 1;
                let limits = limits.into_iter().enumerate().map(|(position, spec)| {
                    let LimitSpec { limit, name, replaces: names } = spec;
                    replaces.extend(names);
                    let place = several.then(|| name.clone().unwrap_or_else(|| position.to_string()));
                    let counter_space = counter_space(self.domain, &path, &limit, place.as_deref());
                    RuleLimit { limit, name: name.map(Into::into), place: place.map(Into::into), counter_space }
                });
                Effect::Limits(limits.collect())
            }
        };
        let extras = RuleExtras {
            replaces: replaces.into_iter().map(Into::into).collect(),
            metadata: spec.metadata,
            tags: spec.tags.into_iter().map(Into::into).collect(),
            failure_mode: spec.failure_mode,
            protect: spec.protect,
        };
        let bits = |varies: fn(&PathStep) -> bool| {
            self.path.iter().enumerate().filter(|(_, step)| varies(step)).fold(0u64, |bits, (at, _)| bits | 1 << at)
        };
        self.rules.push(Rule {
            id: RuleId(id),
            path: path.into(),
            effect,
            shadow_mode: spec.shadow_mode,
            quota_mode: spec.quota_mode,
            varying: bits(|step| {
                // A `*` in the key reaches into the value.
                let fixed = !step.value.is_empty() && !step.has_wildcard();
                let shared = step.share_threshold && step.has_wildcard();
                !fixed && !shared
            }),
            varying_keys: bits(|step| step.key.contains('*')),
            metric_key: self.metric_key().into(),
            metric: self.metric_name(spec.detailed_metric),
            extras: (!extras.is_empty()).then(|| Box::new(extras)),
            origin: spec.origin,
        });
        RuleId(id)
    }

    fn metric_key(&self) -> String {
        self.path.iter().map(PathStep::composite).collect::<Vec<_>>().join(".")
    }

    /// `detailed_metric` shows every value, `value_to_metric` those of its own steps; where a threshold is shared,
    /// the pattern stands for the value in both.
    fn metric_name(&self, detailed: bool) -> MetricName {
        if !detailed && !self.path.iter().any(|step| step.value_to_metric) {
            return MetricName::Static;
        }
        let is_shared = |step: &PathStep| step.share_threshold && step.has_wildcard();
        // Beside a shared threshold the reference leaves the `_` of an empty value out.
        let any_shared = self.path.iter().any(is_shared);
        let part = |step: &PathStep| {
            let shared = is_shared(step);
            let open = step.value.is_empty() || step.has_wildcard();
            let (text, value) = match (detailed, shared) {
                (_, true) => (step.composite(), MetricValue::Absent),
                (true, false) if any_shared => (step.key.clone(), MetricValue::IfPresent),
                (true, false) => (step.key.clone(), MetricValue::Always),
                (false, false) if open && step.value_to_metric => (step.key.clone(), MetricValue::IfPresent),
                (false, false) => (step.composite(), MetricValue::Absent),
            };
            MetricPart { text: text.into(), value }
        };
        MetricName::Dynamic(self.path.iter().map(part).collect())
    }

    fn error(&mut self, origin: Origin, kind: CompileErrorKind) {
        self.errors.push(CompileError { origin, kind });
    }
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
