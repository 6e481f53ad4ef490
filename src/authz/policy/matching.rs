//! Which requests a route is for.

use crate::authz::attributes::Attributes;
use crate::authz::path::{Match, Templates};

/// Conditions; all must hold.
#[derive(Debug, Default)]
pub(super) struct Matching {
    /// `None` for any path.
    pub(super) paths: Option<Templates>,
    /// Empty for any.
    pub(super) methods: Vec<Box<[u8]>>,
    /// `None` for any.
    pub(super) hosts: Option<Hosts>,
    pub(super) context: Vec<(Box<str>, Box<[u8]>)>,
}

/// Hosts in lower case, without port and final dot.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Sorted.
    pub(super) exact: Vec<Box<[u8]>>,
    /// What hosts end with that are below one, `.example.com`.
    pub(super) below: Vec<Box<[u8]>>,
}

impl Hosts {
    fn have(&self, host: &[u8]) -> bool {
        let below = |end: &[u8]| host.len() > end.len() && host.ends_with(end);
        self.exact.binary_search_by(|exact| (**exact).cmp(host)).is_ok() || self.below.iter().any(|end| below(end))
    }
}

impl Matching {
    /// Whether a request is one of them, and the template that its path fits, if the route has any.
    pub(super) fn holds<'t, 'p>(
        &'t self,
        attributes: &Attributes<'_>,
        host: &[u8],
        path: &'p [u8],
    ) -> Option<Option<Match<'t, 'p>>> {
        let method = |method: &[u8]| method.eq_ignore_ascii_case(attributes.method);
        let holds = (self.methods.is_empty() || self.methods.iter().any(|asked| method(asked)))
            && self.hosts.as_ref().is_none_or(|hosts| hosts.have(host))
            && self.context.iter().all(|(key, text)| attributes.context(key) == Some(&**text));
        if !holds {
            return None;
        }
        match &self.paths {
            None => Some(None),
            Some(templates) => templates.find(path).map(Some),
        }
    }
}
