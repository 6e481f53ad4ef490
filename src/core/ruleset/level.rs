//! One level of a domain's descriptor tree.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::wildcard::PatternSet;
use crate::core::descriptor::Entry;
use crate::core::rule::RuleId;

/// A branch of a level.
#[derive(Debug)]
pub(super) struct Node {
    /// The rule that applies when a descriptor ends here.
    pub(super) rule: Option<RuleId>,
    /// The branch's place in its level, in the order of writing.
    pub(super) order: u32,
    /// The next level.
    pub(super) children: Option<Box<Level>>,
}

/// The branches of one node, or of a domain's top.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// Branches by their literal key.
    pub(super) keys: HashMap<Box<[u8]>, SameKey, RandomState>,
    /// Branches with a `*` in their key.
    pub(super) key_patterns: PatternSet<KeyPattern>,
}

/// A branch with a `*` in its key. Its pattern is for [`composite`], as in envoyproxy/ratelimit: a `*` in the key can
/// reach into the value.
#[derive(Debug)]
pub(super) struct KeyPattern {
    /// As written.
    pub(super) key: Box<str>,
    /// As written; `None` for none.
    pub(super) value: Option<Box<str>>,
    pub(super) node: Node,
}

/// What a pattern in a key is matched against: `key_value`, also when the value is empty.
pub(super) fn composite(entry: &Entry<'_>) -> SmallVec<[u8; 128]> {
    let mut text = SmallVec::with_capacity(entry.key.len() + 1 + entry.value.len());
    text.extend_from_slice(entry.key);
    text.push(b'_');
    text.extend_from_slice(entry.value);
    text
}

/// The branches of one key.
#[derive(Debug, Default)]
pub(super) struct SameKey {
    /// With a literal value.
    pub(super) exact: HashMap<Box<[u8]>, Node, RandomState>,
    /// With a `*` in the value; the text is the value as written.
    pub(super) patterns: PatternSet<(Box<str>, Node)>,
    /// Without a value.
    pub(super) any: Option<Node>,
}

/// Which kind of branch was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken<'l> {
    /// Key and value as written.
    Exact,
    /// The first pattern that matches; key and value as written.
    Pattern { key: Option<&'l str>, value: Option<&'l str> },
    /// The key, whatever the value.
    AnyValue,
}

impl Level {
    /// The branch that an entry takes.
    pub(super) fn branch(&self, entry: &Entry<'_>) -> Option<&Node> {
        self.branch_and_kind(entry).map(|(node, _)| node)
    }

    /// The branch that an entry takes, and why.
    pub(super) fn branch_and_kind(&self, entry: &Entry<'_>) -> Option<(&Node, Taken<'_>)> {
        let same_key = self.keys.get(entry.key);
        if let Some(node) = same_key.and_then(|same_key| same_key.exact.get(entry.value)) {
            return Some((node, Taken::Exact));
        }
        let by_value = same_key.and_then(|same_key| same_key.patterns.first_match(entry.value));
        let by_value = by_value.map(|(text, node)| (node, Taken::Pattern { key: None, value: Some(text) }));
        let by_key = if self.key_patterns.is_empty() { None } else { self.first_key_pattern(entry) };
        let by_pattern = match (by_value, by_key) {
            (Some(one), Some(other)) => Some(if one.0.order < other.0.order { one } else { other }),
            (one, other) => one.or(other),
        };
        by_pattern.or_else(|| same_key?.any.as_ref().map(|node| (node, Taken::AnyValue)))
    }

    /// The first branch whose pattern, with a `*` in the key, matches.
    fn first_key_pattern(&self, entry: &Entry<'_>) -> Option<(&Node, Taken<'_>)> {
        let KeyPattern { key, value, node } = self.key_patterns.first_match(&composite(entry))?;
        Some((node, Taken::Pattern { key: Some(key), value: value.as_deref() }))
    }
}
