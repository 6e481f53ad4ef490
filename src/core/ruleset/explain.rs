//! A lookup told step by step. It walks with the very function that decides, and looks around at each step.

use super::Domain;
use super::level::{Level, Node, SameKey, Taken};
use crate::core::descriptor::Entry;
use crate::core::rule::Rule;

/// At most so many branches that were not taken are told per step.
const MAX_ALTERNATIVES: usize = 10;

/// How a lookup came to its answer.
#[derive(Clone, Debug)]
pub struct Explanation<'r> {
    /// One step per entry, as far as the walk went.
    pub steps: Vec<Step>,
    /// The rule that applies.
    pub rule: Option<&'r Rule>,
    /// The answer in a sentence.
    pub summary: String,
}

/// What happened at one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The branch taken, as written.
    pub matched: Option<String>,
    /// Why it was taken, or why the walk ended.
    pub reason: String,
    /// Branches that were not taken, the nearest ones.
    pub alternatives: Vec<Alternative>,
}

/// A branch that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// As written.
    pub branch: String,
    /// Why not.
    pub reason: String,
}

pub(super) fn explain<'r>(domain: &'r Domain, entries: &[Entry<'_>]) -> Explanation<'r> {
    let mut steps = Vec::with_capacity(entries.len());
    let end = |steps, summary: String| Explanation { steps, rule: None, summary };
    if entries.is_empty() {
        return end(steps, "No rule applies: the descriptor has no entries.".to_owned());
    }
    let mut level = &domain.top;
    for (at, entry) in entries.iter().enumerate() {
        let last = at + 1 == entries.len();
        let (step, node) = step(level, entry);
        steps.push(step);
        let Some(node) = node else {
            let entry = show(entry);
            return end(steps, format!("No rule applies: entry {} ({entry}) matches no branch.", at + 1));
        };
        if last {
            return match node.rule.map(|id| domain.rule(id)) {
                Some(rule) => {
                    let summary = format!("Rule '{}' applies.", rule.label());
                    Explanation { steps, rule: Some(rule), summary }
                }
                None => end(steps, "No rule applies: the branch where the descriptor ends has no limit.".to_owned()),
            };
        }
        let Some(children) = &node.children else {
            let rest = entries.len() - at - 1;
            let why = format!(
                "No rule applies: the descriptor has {rest} more entries than the path that matches it; their numbers \
                 must be equal."
            );
            return end(steps, why);
        };
        level = children;
    }
    end(steps, "No rule applies.".to_owned())
}

fn step<'l>(level: &'l Level, entry: &Entry<'_>) -> (Step, Option<&'l Node>) {
    let same_key = level.keys.get(entry.key);
    let Some((node, taken)) = level.branch_and_kind(entry) else {
        let reason = if same_key.is_some() {
            "This level has the key, but no branch for the value, and none without a value."
        } else {
            "This level has no branch with the key."
        };
        let alternatives = same_key.map_or_else(|| other_keys(level), |same_key| other_values(entry, same_key));
        return (Step { matched: None, reason: reason.to_owned(), alternatives }, None);
    };
    let key = String::from_utf8_lossy(entry.key);
    let (matched, reason) = match taken {
        Taken::Exact => (show(entry), "The branch has exactly this key and value."),
        Taken::Pattern { key: pattern, value } => {
            let key = pattern.unwrap_or(&key);
            let branch = value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}"));
            (branch, "The first pattern of this level, in the order of writing, that matches.")
        }
        Taken::AnyValue => (key.into_owned(), "The branch has this key and no value; none with a value matches."),
    };
    let alternatives = passed_over(level, entry, node.order);
    (Step { matched: Some(matched), reason: reason.to_owned(), alternatives }, Some(node))
}

/// Branches that match the entry as well, and lost to the one with `order`.
fn passed_over(level: &Level, entry: &Entry<'_>, order: u32) -> Vec<Alternative> {
    let key = String::from_utf8_lossy(entry.key);
    let lost = |branch, reason: &str| Alternative { branch, reason: reason.to_owned() };
    let mut alternatives = Vec::new();
    let same_key = level.keys.get(entry.key);
    for (pattern, (text, node)) in same_key.into_iter().flat_map(|same_key| same_key.patterns.iter()) {
        if node.order != order && pattern.matches(entry.value) {
            alternatives.push(lost(
                format!("{key}={text}"),
                "Matches too, but an exact branch, or a pattern written before it, comes first.",
            ));
        }
        if alternatives.len() == MAX_ALTERNATIVES {
            return alternatives;
        }
    }
    if same_key.and_then(|same_key| same_key.any.as_ref()).is_some_and(|any| any.order != order) {
        alternatives
            .push(lost(key.into_owned(), "Has the key without a value, which only counts when nothing else matches."));
    }
    alternatives
}

fn other_keys(level: &Level) -> Vec<Alternative> {
    let literal = level.keys.keys().map(|key| String::from_utf8_lossy(key).into_owned());
    let mut keys: Vec<_> = literal.chain(level.key_patterns.iter().map(|(_, branch)| branch.key.to_string())).collect();
    keys.sort_unstable();
    let other = |branch| Alternative { branch, reason: "Another key.".to_owned() };
    keys.into_iter().take(MAX_ALTERNATIVES).map(other).collect()
}

fn other_values(entry: &Entry<'_>, same_key: &SameKey) -> Vec<Alternative> {
    let key = String::from_utf8_lossy(entry.key);
    let patterns = same_key.patterns.iter().map(|(_, (text, node))| (node.order, text.to_string()));
    let exact = same_key.exact.iter().map(|(value, node)| (node.order, String::from_utf8_lossy(value).into_owned()));
    // The nearest are those that begin alike; among them the order of writing decides.
    let common = |value: &str| value.bytes().zip(entry.value).take_while(|(one, other)| one == *other).count();
    let mut values: Vec<_> = patterns.chain(exact).collect();
    values.sort_by_key(|(order, value)| (std::cmp::Reverse(common(value)), *order));
    let other = |(_, value)| Alternative { branch: format!("{key}={value}"), reason: "Another value.".to_owned() };
    values.into_iter().take(MAX_ALTERNATIVES).map(other).collect()
}

fn show(entry: &Entry<'_>) -> String {
    format!("{}={}", String::from_utf8_lossy(entry.key), String::from_utf8_lossy(entry.value))
}
