//! Changes of one domain's tree, and of the rules that follow from them.

use std::borrow::Cow;
use std::sync::Arc;

use super::Domain;
use super::derive::{self, Step};
use super::level::{Flags, Level, Node};
use super::table::RuleTable;
use crate::core::path::PathEntry;
use crate::core::rule::{Rule, RuleId};
use crate::core::spec::RuleSpec;

/// Writes `spec` at a path: made, with what leads to it, or changed in place. What stands below it stays.
pub(super) fn put(domain: &mut Domain, rules: &mut RuleTable, path: &[PathEntry], spec: RuleSpec) {
    let Domain { name, top, rule_count, .. } = domain;
    Editor { domain: name, rule_count, rules, trail: Vec::with_capacity(path.len()) }.put(top, path, spec);
}

/// Takes away what is written at a path, and what led only to it. The path must be there.
pub(super) fn remove(domain: &mut Domain, rules: &mut RuleTable, path: &[PathEntry]) {
    let Domain { name, top, rule_count, .. } = domain;
    Editor { domain: name, rule_count, rules, trail: Vec::with_capacity(path.len()) }.remove(top, path);
}

struct Editor<'a, 'p> {
    domain: &'a Arc<str>,
    rule_count: &'a mut usize,
    rules: &'a mut RuleTable,
    /// From the domain's top to the node at hand.
    trail: Vec<Step<'p>>,
}

impl<'p> Editor<'_, 'p> {
    fn put(&mut self, level: &mut Level, path: &'p [PathEntry], spec: RuleSpec) {
        match path {
            [] => {}
            [last] => {
                let stays = |node: &Node| (node.order, node.flags.disabled) == (spec.order, spec.disabled);
                if level.get(last).is_some_and(stays) {
                    return level.edit(last, |node| self.write(node, last, flags(&spec), spec));
                }
                let mut node = level.take(last).unwrap_or_default();
                self.write(&mut node, last, flags(&spec), spec);
                level.insert(last, node);
            }
            [first, rest @ ..] => level.edit(first, |node| {
                self.trail.push(Step { entry: Cow::Borrowed(first), flags: node.flags });
                self.put(node.children_mut(), rest, spec);
                self.trail.pop();
            }),
        }
    }

    fn remove(&mut self, level: &mut Level, path: &'p [PathEntry]) {
        match path {
            [] => {}
            [last] => {
                let Some(mut node) = level.take(last) else { return };
                self.write(&mut node, last, Flags::default(), RuleSpec::default());
                if !node.is_idle() {
                    level.insert(last, node);
                }
            }
            [first, rest @ ..] => {
                let is_idle = level.edit(first, |node| {
                    self.trail.push(Step { entry: Cow::Borrowed(first), flags: node.flags });
                    self.remove(node.children_mut(), rest);
                    self.trail.pop();
                    node.children = node.children.take().filter(|children| !children.is_empty());
                    node.is_idle()
                });
                if is_idle {
                    level.take(first);
                }
            }
        }
    }

    /// Changes what a node says, and what follows from that below it.
    fn write(&mut self, node: &mut Node, entry: &'p PathEntry, flags: Flags, mut spec: RuleSpec) {
        let before = std::mem::replace(&mut node.flags, flags);
        node.order = spec.order;
        self.trail.push(Step { entry: Cow::Borrowed(entry), flags });
        let effect = spec.effect.take();
        let rule = effect.map(|effect| derive::rule(self.domain, &self.trail, spec, effect));
        self.set_rule(node, rule);
        let reaches_below =
            |flags: Flags| (flags.disabled, flags.value_to_metric, flags.share_threshold && entry.has_wildcard());
        if reaches_below(before) != reaches_below(flags)
            && let Some(children) = &mut node.children
        {
            self.derive_again(Arc::make_mut(children));
        }
        self.trail.pop();
    }

    fn derive_again(&mut self, level: &mut Level) {
        level.for_each_mut(&mut |entry, node| {
            self.trail.push(Step { entry: Cow::Owned(entry.clone()), flags: node.flags });
            let rule = node.rule.as_ref().map(|rule| derive::again(rule, &self.trail));
            self.set_rule(node, rule);
            if let Some(children) = &mut node.children {
                self.derive_again(Arc::make_mut(children));
            }
            self.trail.pop();
        });
    }

    /// Gives the node at the end of the trail a rule in place of the one it has. Where something on the trail is
    /// disabled, the rule is kept, but is not in force.
    fn set_rule(&mut self, node: &mut Node, rule: Option<Rule>) {
        let in_force = !self.trail.iter().any(|step| step.flags.disabled);
        let before = node.rule.take().map(|rule| rule.id).filter(|id| *id != RuleId::UNLISTED);
        let count = self.rules.len();
        node.rule = match (rule, before) {
            (Some(rule), Some(id)) if in_force => {
                let rule = Arc::new(Rule { id, ..rule });
                self.rules.replace(&rule);
                Some(rule)
            }
            (Some(rule), _) if in_force => Some(self.rules.add(rule)),
            (rule, before) => {
                before.into_iter().for_each(|id| self.rules.remove(id));
                rule.map(|rule| Arc::new(Rule { id: RuleId::UNLISTED, ..rule }))
            }
        };
        *self.rule_count = *self.rule_count + self.rules.len() - count;
    }
}

const fn flags(spec: &RuleSpec) -> Flags {
    Flags {
        written: true,
        disabled: spec.disabled,
        share_threshold: spec.share_threshold,
        value_to_metric: spec.value_to_metric,
        detailed_metric: spec.detailed_metric,
    }
}
