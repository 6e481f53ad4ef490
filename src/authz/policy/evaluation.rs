//! What one request is to the policy.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::route::{Descriptor, EntryValue, Route};
use crate::authz::text::Text;
use crate::core::client::{Client, text};
use crate::core::descriptor::{self, Entry};

/// Values by slot, secrets hashed.
pub(super) type Values<'a> = SmallVec<[Option<Text<'a>>; 6]>;

/// What one request is to the policy. It holds the values that the question borrows.
pub struct Evaluation<'a> {
    /// The client's address, canonical and whole; `None` when there is none that could be believed.
    pub client: Option<IpAddr>,
    /// The path, normalised, without query.
    pub path: Cow<'a, [u8]>,
    /// The user's name as the request has it, for lists; it may be secret.
    pub user: Option<Cow<'a, [u8]>>,
    /// `GET`.
    pub method: &'a [u8],
    /// The user agent, as the client wrote it.
    pub user_agent: Option<&'a [u8]>,
    pub(super) user_is_secret: bool,
    pub(super) route: &'a Route,
    pub(super) values: Values<'a>,
    /// By descriptor.
    pub(super) costs: SmallVec<[Option<u64>; 4]>,
}

impl Evaluation<'_> {
    /// The name of the route that matched, if it has one.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.route.name.as_deref()
    }

    /// Whom the request comes from, as far as Envoy tells. The user is not told, whose name may be secret: descriptors
    /// have it in the form that may be seen.
    #[must_use]
    pub fn who(&self) -> Client<'_> {
        Client {
            address: self.client,
            method: text(self.method),
            path: text(&self.path),
            user_agent: self.user_agent.map(text),
            ..Client::default()
        }
    }

    /// The question for the limiter; `None` when nothing is asked, and the request passes. Descriptors of which a value
    /// is missing are left out.
    #[must_use]
    pub fn question(&self) -> Option<descriptor::Request<'_>> {
        let planned = self.route.descriptors.iter().zip(&self.costs);
        let descriptors: SmallVec<_> = planned.filter_map(|(planned, cost)| self.descriptor(planned, *cost)).collect();
        let asked = !descriptors.is_empty();
        asked.then(|| descriptor::Request { domain: &self.route.domain, descriptors, hits_addend: 1, client: None })
    }

    fn descriptor<'s>(&'s self, planned: &'s Descriptor, cost: Option<u64>) -> Option<descriptor::Descriptor<'s>> {
        let entries = planned.entries.iter().map(|entry| {
            let value: &[u8] = match &entry.value {
                EntryValue::Constant(text) => text,
                EntryValue::Slot(slot) => self.values.get(*slot)?.as_deref()?,
            };
            Some(Entry { key: &entry.key, value })
        });
        let entries = entries.collect::<Option<_>>()?;
        Some(descriptor::Descriptor { entries, hits_addend: cost, ..descriptor::Descriptor::default() })
    }

    /// Hands every header for the upstream to `emit`: its name, and its value, or `None` where it is only removed.
    /// Names are in lower case and come once. Values hold nothing that a header cannot, visible ASCII and blanks, and
    /// are at most 1 KiB long.
    pub fn upstream_headers(&self, mut emit: impl FnMut(&str, Option<&str>)) {
        let mut value = String::new();
        for header in &self.route.headers {
            let set = header.write(&self.values, &mut value);
            emit(&header.name, set.then_some(&*value));
        }
    }
}

/// Without a secret user's name.
impl fmt::Debug for Evaluation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_deref().filter(|_| !self.user_is_secret);
        f.debug_struct("Evaluation")
            .field("client", &self.client)
            .field("path", &self.path.escape_ascii().to_string())
            .field("user", &user.map(|user| user.escape_ascii().to_string()))
            .field("route", &self.route())
            .field("question", &self.question())
            .finish_non_exhaustive()
    }
}
