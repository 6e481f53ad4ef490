//! Routes: which requests are asked about, and what.

use super::cost::Cost;
use super::header::Header;
use super::index::Index;
use super::matching::Matching;
use super::value::{self, Reading, ValueId};
use crate::authz::attributes::Attributes;
use crate::authz::path::Match;

/// All routes.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) index: Index,
    pub(super) routes: Vec<Route>,
    /// Of requests that none matches: they are not asked about, but the upstream gets its headers.
    pub(super) otherwise: Route,
    /// Whether any route is for certain hosts.
    pub(super) by_host: bool,
}

/// What is asked of the requests that match.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: Option<Box<str>>,
    pub(super) matching: Matching,
    pub(super) domain: Box<[u8]>,
    /// The values that are named below, each once; a slot is an index of this list.
    pub(super) needs: Vec<ValueId>,
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) headers: Vec<Header>,
}

/// A descriptor to be filled in.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) entries: Vec<Entry>,
    /// Its own, or else the route's.
    pub(super) cost: Option<Cost>,
}

/// An entry of a descriptor.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Box<[u8]>,
    pub(super) value: EntryValue,
}

/// An entry's value.
#[derive(Debug)]
pub(super) enum EntryValue {
    Constant(Box<[u8]>),
    Slot(usize),
}

impl Descriptor {
    /// In hits; `None` is the usual one.
    pub(super) fn cost(&self, values: &[Option<Reading<'_>>]) -> Option<u64> {
        self.cost.as_ref().map(|cost| cost.of(values))
    }
}

impl Routes {
    /// The first route that a request matches, and the template of the route that its path fits.
    pub(super) fn find<'t, 'p>(
        &'t self,
        attributes: &Attributes<'_>,
        path: &'p [u8],
    ) -> (&'t Route, Option<Match<'t, 'p>>) {
        let host = if self.by_host { value::host(attributes.host) } else { value::host(b"") };
        for candidate in self.index.candidates(&host, path) {
            let Some(route) = self.routes.get(candidate) else { continue };
            if let Some(fit) = route.matching.holds(attributes, &host, path) {
                return (route, fit);
            }
        }
        (&self.otherwise, None)
    }
}
