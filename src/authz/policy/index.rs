//! Which routes a request may belong to, by its host and by the literal segments that templates begin with.

use hashbrown::HashMap;
use smallvec::SmallVec;

/// So many segments are told apart.
const MAX_SEGMENTS: usize = 8;

/// A route stands at so many places at most; one with many hosts and many paths is found by its paths alone.
const MAX_PLACES: usize = 64;

type ByBytes<T> = HashMap<Box<[u8]>, T, foldhash::fast::RandomState>;

/// Finds candidates; whether they match is for their conditions to say.
#[derive(Debug, Default)]
pub(super) struct Index {
    any_host: Segments,
    hosts: ByBytes<Segments>,
}

/// A tree of segments. A route stands where the literal segments of one of its templates end, and at the root when it
/// matches any path.
#[derive(Debug, Default)]
struct Segments {
    below: ByBytes<Segments>,
    /// Ascending.
    routes: Vec<usize>,
}

/// Lists of routes, each ascending.
type Lists<'i> = SmallVec<[&'i [usize]; 2 * (MAX_SEGMENTS + 1)]>;

impl Index {
    /// Adds a route for certain hosts, or for any when there are none, below normalised paths of literal segments.
    /// Routes come in ascending order.
    pub(super) fn insert(&mut self, hosts: &[Box<[u8]>], prefixes: &[Vec<u8>], route: usize) {
        if hosts.is_empty() || hosts.len() * prefixes.len() > MAX_PLACES {
            prefixes.iter().for_each(|prefix| self.any_host.insert(prefix, route));
            return;
        }
        for host in hosts {
            let tree = self.hosts.entry(host.clone()).or_default();
            prefixes.iter().for_each(|prefix| tree.insert(prefix, route));
        }
    }

    /// The routes that a normalised host and path may belong to, ascending; one may come twice.
    pub(super) fn candidates(&self, host: &[u8], path: &[u8]) -> impl Iterator<Item = usize> {
        let mut lists = Lists::new();
        self.any_host.collect(path, &mut lists);
        if !self.hosts.is_empty()
            && let Some(tree) = self.hosts.get(host)
        {
            tree.collect(path, &mut lists);
        }
        std::iter::from_fn(move || {
            let first = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.first().copied())?;
            let (route, rest) = first.split_first()?;
            *first = rest;
            Some(*route)
        })
    }
}

impl Segments {
    fn insert(&mut self, prefix: &[u8], route: usize) {
        let mut node = self;
        for segment in segments(prefix) {
            node = node.below.entry(segment.into()).or_default();
        }
        if node.routes.last() != Some(&route) {
            node.routes.push(route);
        }
    }

    fn collect<'i>(&'i self, path: &[u8], lists: &mut Lists<'i>) {
        let mut node = self;
        lists.push(&node.routes);
        for segment in segments(path) {
            let Some(below) = node.below.get(segment) else { return };
            node = below;
            lists.push(&node.routes);
        }
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
        let hosts = |hosts: &[&str]| hosts.iter().map(|host| host.as_bytes().into()).collect::<Vec<Box<[u8]>>>();
        let mut insert = |names: &[&str], prefixes: &[&str], route| {
            let prefixes: Vec<_> = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
            index.insert(&hosts(names), &prefixes, route);
        };
        insert(&[], &["/a/b"], 0);
        insert(&[], &["/"], 1);
        insert(&[], &["/a", "/a/b/c"], 2);
        insert(&[], &["/x"], 3);
        insert(&["h", "i"], &["/a"], 4);
        insert(&[], &["/1/2/3/4/5/6/7/8/9/10"], 5);
        insert(&["h"], &["/"], 6);
        let many: Vec<_> = (0..65).map(|at| at.to_string()).collect();
        insert(&many.iter().map(|host| &**host).collect::<Vec<_>>(), &["/many"], 7);
        let candidates =
            |host: &str, path: &str| index.candidates(host.as_bytes(), path.as_bytes()).collect::<Vec<_>>();
        assert_eq!(candidates("", "/a/b/c/d"), [0, 1, 2, 2]);
        assert_eq!(candidates("h", "/a/b/c/d"), [0, 1, 2, 2, 4, 6]);
        assert_eq!(candidates("i", "/a/bc"), [1, 2, 4]);
        assert_eq!(candidates("j", "/x"), [1, 3]);
        assert_eq!(candidates("h", "/"), [1, 6]);
        assert_eq!(candidates("", "/ab"), [1]);
        assert_eq!(candidates("", "/1/2/3/4/5/6/7/8/other"), [1, 5], "the template decides");
        assert_eq!(candidates("j", "/many"), [1, 7], "the conditions decide");
    }
}
