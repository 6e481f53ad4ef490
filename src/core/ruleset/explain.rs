//! A lookup told step by step. It walks with the very function that decides, and looks around at each step.

use super::Domain;
use super::level::{Level, Node, SameKey, Taken};
use crate::core::descriptor::Entry;
use crate::core::path::entries_of;
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
            return match node.rule.as_deref() {
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
        Taken::Pattern(text) => {
            (as_written(text), "The first pattern of this level, in the order of writing, that matches.")
        }
        Taken::AnyValue => (key.into_owned(), "The branch has this key and no value; none with a value matches."),
    };
    let alternatives = passed_over(level, entry, node);
    (Step { matched: Some(matched), reason: reason.to_owned(), alternatives }, Some(node))
}

/// Branches that match the entry as well, and lost to `taken`.
fn passed_over(level: &Level, entry: &Entry<'_>, taken: &Node) -> Vec<Alternative> {
    let lost = |branch, reason: &str| Alternative { branch, reason: reason.to_owned() };
    let Some(same_key) = level.keys.get(entry.key) else { return Vec::new() };
    let patterns = same_key.patterns.as_ref().map(|patterns| patterns.matching(entry.value)).unwrap_or_default();
    let others = patterns.into_iter().filter(|member| !std::ptr::eq(&member.target, taken));
    let lost_pattern = |text: &str| {
        lost(as_written(text), "Matches too, but an exact branch, or a pattern written before it, comes first.")
    };
    let mut alternatives: Vec<_> = others.take(MAX_ALTERNATIVES).map(|member| lost_pattern(&member.text)).collect();
    if alternatives.len() < MAX_ALTERNATIVES && same_key.any.as_deref().is_some_and(|any| !std::ptr::eq(any, taken)) {
        let key = String::from_utf8_lossy(entry.key).into_owned();
        alternatives.push(lost(key, "Has the key without a value, which only counts when nothing else matches."));
    }
    alternatives
}

fn other_keys(level: &Level) -> Vec<Alternative> {
    let literal = level.keys.iter().map(|same_key| String::from_utf8_lossy(&same_key.key).into_owned());
    let patterns = level.key_patterns.as_ref().map(|patterns| patterns.members()).unwrap_or_default();
    let pattern_key = |text: &str| entries_of(text).next().map(|(key, _)| key.into_owned());
    let mut keys: Vec<_> = literal.chain(patterns.into_iter().filter_map(|member| pattern_key(&member.text))).collect();
    keys.sort_unstable();
    let other = |branch| Alternative { branch, reason: "Another key.".to_owned() };
    keys.into_iter().take(MAX_ALTERNATIVES).map(other).collect()
}

fn other_values(entry: &Entry<'_>, same_key: &SameKey) -> Vec<Alternative> {
    let key = String::from_utf8_lossy(entry.key);
    let patterns = same_key.patterns.as_ref().map(|patterns| patterns.members()).unwrap_or_default();
    let patterns = patterns.into_iter().filter_map(|member| entries_of(&member.text).next()?.1.map(Into::into));
    let exact = same_key.exact.iter().map(|branch| String::from_utf8_lossy(&branch.text).into_owned());
    // The nearest are those that begin alike; among them, patterns come before literal values in their order.
    let common = |value: &str| value.bytes().zip(entry.value).take_while(|(one, other)| one == *other).count();
    let mut exact: Vec<String> = exact.collect();
    exact.sort_unstable();
    let mut values: Vec<String> = patterns.chain(exact).collect();
    values.sort_by_key(|value| std::cmp::Reverse(common(value)));
    let other = |value| Alternative { branch: format!("{key}={value}"), reason: "Another value.".to_owned() };
    values.into_iter().take(MAX_ALTERNATIVES).map(other).collect()
}

/// A branch as it is written in files, of its text in paths.
fn as_written(text: &str) -> String {
    match entries_of(text).next() {
        Some((key, Some(value))) => format!("{key}={value}"),
        Some((key, None)) => key.into_owned(),
        None => String::new(),
    }
}

fn show(entry: &Entry<'_>) -> String {
    format!("{}={}", String::from_utf8_lossy(entry.key), String::from_utf8_lossy(entry.value))
}
