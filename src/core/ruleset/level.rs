//! One level of a domain's descriptor tree. Levels, and what stands in them, are shared by clones of a rule set; an
//! edit copies what is shared on its way down.

use std::sync::Arc;

use smallvec::SmallVec;

use super::pattern_set::{Member, PatternSet};
use super::text_map::{Named, Text, TextMap};
use super::wildcard::Pattern;
use crate::core::descriptor::Entry;
use crate::core::path::{PathEntry, canonical_path, entries_of};
use crate::core::rule::{Rule, composite};

/// What is written at a node, as far as it matters to others or to later edits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// The node itself is written; else it only leads to others.
    pub(super) written: bool,
    pub(super) disabled: bool,
    pub(super) share_threshold: bool,
    pub(super) value_to_metric: bool,
    pub(super) detailed_metric: bool,
}

/// A branch of a level, and what stands below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// The rule that applies when a descriptor ends here.
    pub(super) rule: Option<Arc<Rule>>,
    /// The next level; not empty.
    pub(super) children: Option<Arc<Level>>,
    /// Among the wildcards of a level, those with a lower number are tried first.
    pub(super) order: u32,
    pub(super) flags: Flags,
}

/// The branches of one node, or of a domain's top.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    /// Branches by their literal key.
    pub(super) keys: TextMap<Arc<SameKey>>,
    /// Branches with a `*` in their key. A pattern is for key and value together, `key_value`, as in
    /// envoyproxy/ratelimit: a `*` in the key can reach into the value.
    pub(super) key_patterns: Option<Arc<PatternSet<Node>>>,
    /// Disabled branches, by their text in paths. They are not in the others, so that no lookup meets them.
    hidden: Option<Arc<TextMap<Arc<Branch>>>>,
}

/// The branches of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct SameKey {
    pub(super) key: Text,
    /// With a literal value.
    pub(super) exact: TextMap<Arc<Branch>>,
    /// With a `*` in the value.
    pub(super) patterns: Option<Arc<PatternSet<Node>>>,
    /// Without a value.
    pub(super) any: Option<Arc<Node>>,
}

/// A branch that is found by a text.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) text: Text,
    pub(super) node: Node,
}

/// Which kind of branch was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken<'l> {
    /// Key and value as written.
    Exact,
    /// The first pattern that matches; as written, in the notation of paths.
    Pattern(&'l str),
    /// The key, whatever the value.
    AnyValue,
}

impl Named for Arc<SameKey> {
    fn text(&self) -> &[u8] {
        &self.key
    }
}

impl Named for Arc<Branch> {
    fn text(&self) -> &[u8] {
        &self.text
    }
}

impl Level {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.key_patterns.is_none() && self.hidden.is_none()
    }

    /// The branch that an entry takes.
    pub(super) fn branch(&self, entry: &Entry<'_>) -> Option<&Node> {
        self.branch_and_kind(entry).map(|(node, _)| node)
    }

    /// The branch that an entry takes, and why.
    pub(super) fn branch_and_kind(&self, entry: &Entry<'_>) -> Option<(&Node, Taken<'_>)> {
        let same_key = self.keys.get(entry.key);
        if let Some(branch) = same_key.and_then(|same_key| same_key.exact.get(entry.value)) {
            return Some((&branch.node, Taken::Exact));
        }
        let by_value = same_key.and_then(|same_key| same_key.patterns.as_ref()?.first_match(entry.value));
        let by_key = self.key_patterns.as_ref().and_then(|patterns| patterns.first_match(&key_and_value(entry)));
        let by_pattern = match (by_value, by_key) {
            (Some(one), Some(other)) => Some(if one.comes_before(other) { one } else { other }),
            (one, other) => one.or(other),
        };
        match by_pattern {
            Some(member) => Some((&member.target, Taken::Pattern(&member.text))),
            None => same_key?.any.as_ref().map(|node| (&**node, Taken::AnyValue)),
        }
    }

    /// The branch that is written so, also one that is disabled.
    pub(super) fn get(&self, entry: &PathEntry) -> Option<&Node> {
        if let Some(text) = self.hidden_text(entry) {
            return self.hidden.as_ref()?.get(text.as_bytes()).map(|branch| &branch.node);
        }
        match Room::of(entry) {
            Room::KeyPattern(pattern) => self.key_patterns.as_ref()?.get(&pattern, &written(entry)),
            Room::Pattern(pattern) => self.same_key(entry)?.patterns.as_ref()?.get(&pattern, &written(entry)),
            Room::Exact(value) => self.same_key(entry)?.exact.get(value).map(|branch| &branch.node),
            Room::AnyValue => self.same_key(entry)?.any.as_deref(),
        }
    }

    fn same_key(&self, entry: &PathEntry) -> Option<&Arc<SameKey>> {
        self.keys.get(entry.key.as_bytes())
    }

    /// Changes what stands below the branch that is written so, which is made if there is none. What decides where
    /// the branch stands in its level must stay.
    pub(super) fn edit<R>(&mut self, entry: &PathEntry, change: impl FnOnce(&mut Node) -> R) -> R {
        if let Some(node) = self.get_mut(entry) {
            return change(node);
        }
        let mut node = Node::default();
        let result = change(&mut node);
        self.insert(entry, node);
        result
    }

    fn get_mut(&mut self, entry: &PathEntry) -> Option<&mut Node> {
        if let Some(text) = self.hidden_text(entry) {
            let hidden = self.hidden.as_mut()?;
            return Arc::make_mut(hidden).get_mut(text.as_bytes()).map(|branch| &mut Arc::make_mut(branch).node);
        }
        let room = Room::of(entry);
        if let Room::KeyPattern(pattern) = &room {
            return Arc::make_mut(self.key_patterns.as_mut()?).get_mut(pattern, &written(entry));
        }
        let same_key = Arc::make_mut(self.keys.get_mut(entry.key.as_bytes())?);
        match room {
            Room::Exact(value) => same_key.exact.get_mut(value).map(|branch| &mut Arc::make_mut(branch).node),
            Room::AnyValue => same_key.any.as_mut().map(Arc::make_mut),
            Room::Pattern(pattern) | Room::KeyPattern(pattern) => {
                Arc::make_mut(same_key.patterns.as_mut()?).get_mut(&pattern, &written(entry))
            }
        }
    }

    /// Takes out the branch that is written so.
    pub(super) fn take(&mut self, entry: &PathEntry) -> Option<Node> {
        if let Some(text) = self.hidden_text(entry) {
            let taken = Arc::make_mut(self.hidden.as_mut()?).take(text.as_bytes());
            self.hidden = self.hidden.take().filter(|hidden| !hidden.is_empty());
            return taken.map(|branch| Arc::unwrap_or_clone(branch).node);
        }
        let room = Room::of(entry);
        if let Room::KeyPattern(pattern) = &room {
            return take_pattern(&mut self.key_patterns, pattern, entry);
        }
        let same_key = Arc::make_mut(self.keys.get_mut(entry.key.as_bytes())?);
        let taken = match room {
            Room::Exact(value) => same_key.exact.take(value).map(|branch| Arc::unwrap_or_clone(branch).node),
            Room::AnyValue => same_key.any.take().map(Arc::unwrap_or_clone),
            Room::Pattern(pattern) | Room::KeyPattern(pattern) => take_pattern(&mut same_key.patterns, &pattern, entry),
        };
        if same_key.exact.is_empty() && same_key.patterns.is_none() && same_key.any.is_none() {
            self.keys.take(entry.key.as_bytes());
        }
        taken
    }

    /// Adds a branch; there must be none that is written so.
    pub(super) fn insert(&mut self, entry: &PathEntry, node: Node) {
        let branch = |text: &[u8], node| Arc::new(Branch { text: Text::from_slice(text), node });
        if node.flags.disabled {
            let hidden = Arc::make_mut(self.hidden.get_or_insert_default());
            return hidden.insert(branch(written(entry).as_bytes(), node));
        }
        let room = Room::of(entry);
        if let Room::KeyPattern(pattern) = room {
            return insert_pattern(&mut self.key_patterns, pattern, entry, node);
        }
        let add = |same_key: &mut SameKey| match room {
            Room::Exact(value) => same_key.exact.insert(branch(value, node)),
            Room::AnyValue => same_key.any = Some(Arc::new(node)),
            Room::Pattern(pattern) | Room::KeyPattern(pattern) => {
                insert_pattern(&mut same_key.patterns, pattern, entry, node);
            }
        };
        match self.keys.get_mut(entry.key.as_bytes()) {
            Some(same_key) => add(Arc::make_mut(same_key)),
            None => {
                let mut same_key = SameKey { key: Text::from_slice(entry.key.as_bytes()), ..SameKey::default() };
                add(&mut same_key);
                self.keys.insert(Arc::new(same_key));
            }
        }
    }

    /// Changes what stands at and below every branch, also the disabled ones. What decides where a branch stands in
    /// its level must stay.
    pub(super) fn for_each_mut(&mut self, change: &mut dyn FnMut(&PathEntry, &mut Node)) {
        if let Some(patterns) = &mut self.key_patterns {
            Arc::make_mut(patterns).for_each_mut(&mut |text, node| change_written(change, text, node));
        }
        if let Some(hidden) = &mut self.hidden {
            Arc::make_mut(hidden).for_each_mut(&mut |branch| {
                let Branch { text, node } = Arc::make_mut(branch);
                change_written(change, &String::from_utf8_lossy(text), node);
            });
        }
        self.keys.for_each_mut(&mut |same_key| {
            let SameKey { key, exact, patterns, any } = Arc::make_mut(same_key);
            let mut entry = PathEntry { key: String::from_utf8_lossy(key).into(), value: None };
            if let Some(any) = any {
                change(&entry, Arc::make_mut(any));
            }
            if let Some(patterns) = patterns {
                Arc::make_mut(patterns).for_each_mut(&mut |text, node| change_written(change, text, node));
            }
            exact.for_each_mut(&mut |branch| {
                let Branch { text, node } = Arc::make_mut(branch);
                entry.value = Some(String::from_utf8_lossy(text).into());
                change(&entry, node);
            });
        });
    }

    /// The text of a branch that is disabled.
    fn hidden_text(&self, entry: &PathEntry) -> Option<String> {
        let hidden = self.hidden.as_ref()?;
        let text = written(entry);
        hidden.get(text.as_bytes()).map(|_| text)
    }
}

fn change_written(change: &mut dyn FnMut(&PathEntry, &mut Node), text: &str, node: &mut Node) {
    if let Some((key, value)) = entries_of(text).next() {
        change(&PathEntry { key: key.into(), value: value.map(Into::into) }, node);
    }
}

impl Node {
    pub(super) fn children_mut(&mut self) -> &mut Level {
        Arc::make_mut(self.children.get_or_insert_default())
    }

    /// Whether it is there for nothing.
    pub(super) fn is_idle(&self) -> bool {
        !self.flags.written && self.children.is_none()
    }
}

/// Where in its level a branch stands, while it is not disabled.
enum Room<'e> {
    KeyPattern(Pattern),
    Pattern(Pattern),
    Exact(&'e [u8]),
    AnyValue,
}

impl<'e> Room<'e> {
    fn of(entry: &'e PathEntry) -> Self {
        // Without a value, the `_` that parts it from the key is no part of a key's pattern.
        if entry.key.contains('*')
            && let Some(pattern) = Pattern::parse(&composite(&entry.key, entry.value.as_deref()))
        {
            return Self::KeyPattern(pattern);
        }
        match &entry.value {
            None => Self::AnyValue,
            Some(value) => Pattern::parse(value).map_or(Self::Exact(value.as_bytes()), Self::Pattern),
        }
    }
}

fn insert_pattern(set: &mut Option<Arc<PatternSet<Node>>>, pattern: Pattern, entry: &PathEntry, node: Node) {
    let member = Member { order: node.order, text: written(entry).into(), pattern, target: node };
    Arc::make_mut(set.get_or_insert_default()).insert(member);
}

fn take_pattern(set: &mut Option<Arc<PatternSet<Node>>>, pattern: &Pattern, entry: &PathEntry) -> Option<Node> {
    let patterns = Arc::make_mut(set.as_mut()?);
    let taken = patterns.take(pattern, &written(entry));
    if patterns.is_empty() {
        *set = None;
    }
    taken
}

/// The branch as paths write it.
fn written(entry: &PathEntry) -> String {
    canonical_path([(&*entry.key, entry.value.as_deref())])
}

/// What a pattern in a key is matched against: `key_value`, also when the value is empty.
pub(super) fn key_and_value(entry: &Entry<'_>) -> SmallVec<[u8; 128]> {
    let mut text = SmallVec::with_capacity(entry.key.len() + 1 + entry.value.len());
    text.extend_from_slice(entry.key);
    text.push(b'_');
    text.extend_from_slice(entry.value);
    text
}
