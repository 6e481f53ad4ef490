//! Which routes a path may belong to, by the literal segments that their templates begin with.

use hashbrown::HashMap;
use smallvec::SmallVec;

/// So many segments are told apart.
const MAX_SEGMENTS: usize = 8;

/// A tree of segments. A route stands where the literal segments of one of its templates end, and at the root when it
/// matches any path.
#[derive(Debug, Default)]
pub(super) struct Index {
    below: HashMap<Box<[u8]>, Index, foldhash::fast::RandomState>,
    /// Ascending.
    routes: Vec<usize>,
}

impl Index {
    /// Adds a route below a normalised path of literal segments; routes come in ascending order.
    pub(super) fn insert(&mut self, prefix: &[u8], route: usize) {
        let mut node = self;
        for segment in segments(prefix) {
            node = node.below.entry(segment.into()).or_default();
        }
        if node.routes.last() != Some(&route) {
            node.routes.push(route);
        }
    }

    /// The routes that a normalised path may belong to, ascending; one may come twice.
    pub(super) fn candidates(&self, path: &[u8]) -> impl Iterator<Item = usize> {
        let mut lists: SmallVec<[&[usize]; MAX_SEGMENTS]> = SmallVec::new();
        lists.push(&self.routes);
        let mut node = self;
        for segment in segments(path) {
            let Some(below) = node.below.get(segment) else { break };
            lists.push(&below.routes);
            node = below;
        }
        std::iter::from_fn(move || {
            let first = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.first().copied())?;
            let (route, rest) = first.split_first()?;
            *first = rest;
            Some(*route)
        })
    }
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).take(MAX_SEGMENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_alike_is_looked_at() {
        let mut index = Index::default();
        index.insert(b"/a/b", 0);
        index.insert(b"/", 1);
        index.insert(b"/a", 2);
        index.insert(b"/a/b/c", 2);
        index.insert(b"/x", 3);
        index.insert(b"/a", 4);
        index.insert(b"/1/2/3/4/5/6/7/8/9/10", 5);
        let candidates = |path: &str| index.candidates(path.as_bytes()).collect::<Vec<_>>();
        assert_eq!(candidates("/a/b/c/d"), [0, 1, 2, 2, 4]);
        assert_eq!(candidates("/a/bc"), [1, 2, 4]);
        assert_eq!(candidates("/x"), [1, 3]);
        assert_eq!(candidates("/"), [1]);
        assert_eq!(candidates("/ab"), [1]);
        assert_eq!(candidates("/1/2/3/4/5/6/7/8/other"), [1, 5], "the template decides");
    }
}
