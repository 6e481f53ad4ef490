//! Patterns that agree in all but the texts between their `*`.
//!
//! They stand in parts whose sizes fall from one to the next at least by half; a large part finds the longest middles
//! of its patterns all at once. A new pattern is a part of its own, merged with those that are not larger. So to add
//! many costs little more than to build the finder of all of them once, and a lookup meets few parts.

use std::sync::Arc;

use aho_corasick::AhoCorasick;

use super::pattern_set::{Member, SCAN_LIMIT};

/// The patterns.
#[derive(Clone, Debug)]
pub(super) struct Needles<T> {
    parts: Vec<Arc<Part<T>>>,
}

#[derive(Clone, Debug)]
struct Part<T> {
    /// By their text.
    members: Vec<Arc<Member<T>>>,
    /// Finds the members' longest middles, where there are many members; the n-th needle is the n-th member's.
    finder: Option<AhoCorasick>,
}

impl<T> Default for Needles<T> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<T: Clone> Needles<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Member<T>>> {
        self.parts.iter().flat_map(|part| &part.members)
    }

    /// The first pattern before `best` whose middles stand in `middle`, else `best`.
    pub(super) fn first_match<'s>(&'s self, middle: &[u8], best: Option<&'s Member<T>>) -> Option<&'s Member<T>> {
        self.parts.iter().fold(best, |best, part| part.first_match(middle, best))
    }

    pub(super) fn get(&self, text: &str) -> Option<&Arc<Member<T>>> {
        self.parts.iter().find_map(|part| Some(&part.members[part.find(text)?]))
    }

    pub(super) fn get_mut(&mut self, text: &str) -> Option<&mut Arc<Member<T>>> {
        let (part, at) = self.find(text)?;
        Some(&mut Arc::make_mut(&mut self.parts[part]).members[at])
    }

    pub(super) fn insert(&mut self, member: Arc<Member<T>>) {
        let mut members = vec![member];
        while let Some(part) = self.parts.pop_if(|part| part.members.len() < 2 * members.len()) {
            members.extend(part.members.iter().cloned());
        }
        self.parts.push(Arc::new(Part::new(members)));
    }

    pub(super) fn take(&mut self, text: &str) -> Option<Arc<Member<T>>> {
        let (part, at) = self.find(text)?;
        let mut members = self.parts[part].members.clone();
        let taken = members.remove(at);
        if members.is_empty() {
            self.parts.remove(part);
        } else {
            self.parts[part] = Arc::new(Part::new(members));
        }
        Some(taken)
    }

    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(&mut Arc<Member<T>>)) {
        for part in &mut self.parts {
            Arc::make_mut(part).members.iter_mut().for_each(&mut change);
        }
    }

    fn find(&self, text: &str) -> Option<(usize, usize)> {
        self.parts.iter().enumerate().find_map(|(part, found)| Some((part, found.find(text)?)))
    }
}

impl<T> Part<T> {
    fn new(mut members: Vec<Arc<Member<T>>>) -> Self {
        members.sort_unstable_by(|one, other| one.text.cmp(&other.text));
        let middles = || members.iter().map(|member| member.pattern.longest_middle());
        // A finder that cannot be built (too large) leaves a scan, which answers the same.
        let finder = (members.len() > SCAN_LIMIT).then(|| AhoCorasick::new(middles()).ok()).flatten();
        Self { members, finder }
    }

    fn find(&self, text: &str) -> Option<usize> {
        self.members.binary_search_by(|member| (*member.text).cmp(text)).ok()
    }

    fn first_match<'s>(&'s self, middle: &[u8], best: Option<&'s Member<T>>) -> Option<&'s Member<T>> {
        let better = |best: Option<&'s Member<T>>, member: &'s Arc<Member<T>>| {
            if member.comes_before_any(best) && member.pattern.middles_match(middle) { Some(&**member) } else { best }
        };
        match &self.finder {
            None => self.members.iter().fold(best, better),
            Some(finder) => {
                let hits = finder.find_overlapping_iter(middle);
                hits.fold(best, |best, hit| better(best, &self.members[hit.pattern().as_usize()]))
            }
        }
    }
}
