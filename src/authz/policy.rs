//! The `ext_authz` section, compiled: from attributes to a question for the limiter.

use std::net::IpAddr;

use super::attributes::Attributes;
use crate::config::ext_authz::ExtAuthz;
use crate::core::descriptor;

/// What is wrong with the section as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct PolicyError {
    /// Below `ext_authz`, as `routes[2].descriptors[0]`.
    pub field: String,
    /// What is wrong, and what to write.
    pub reason: String,
}

/// The section, compiled. Shared by all workers.
#[derive(Debug)]
pub struct Policy {}

/// What one request is to the policy. It holds the values that the question borrows.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The client's address, canonical and whole; `None` when there is none that could be believed.
    pub client: Option<IpAddr>,
    /// The path, normalised, without query.
    pub path: std::borrow::Cow<'a, [u8]>,
    /// The user's name as the request has it, for lists; it may be secret.
    pub user: Option<std::borrow::Cow<'a, [u8]>>,
}

impl Policy {
    /// Compiles the section; `key` hashes secret values.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(_config: &ExtAuthz, _key: Option<&[u8]>) -> Result<Self, Vec<PolicyError>> {
        Ok(Self {})
    }

    /// Finds a request's route and the values that it needs.
    #[must_use]
    pub fn evaluate<'a>(&'a self, _attributes: &Attributes<'a>) -> Evaluation<'a> {
        Evaluation { client: None, path: std::borrow::Cow::Borrowed(b"/"), user: None }
    }
}

impl Evaluation<'_> {
    /// The name of the route that matched, if it has one.
    #[must_use]
    pub const fn route(&self) -> Option<&str> {
        None
    }

    /// The question for the limiter; `None` when nothing is asked, and the request passes.
    #[must_use]
    pub const fn question(&self) -> Option<descriptor::Request<'_>> {
        None
    }

    /// Hands every header for the upstream to `emit`: its name, and its value, or `None` where it is only removed.
    /// Values hold nothing that a header cannot.
    pub fn upstream_headers(&self, _emit: impl FnMut(&str, Option<&str>)) {}
}
