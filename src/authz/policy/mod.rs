//! The `ext_authz` section, compiled: from attributes to a question for the limiter.
//!
//! A request is evaluated in one pass: its client and its path are found, then the first route that matches, then those
//! values that the route names, each once; what they cost is computed from them as they are, and only then are secret
//! ones hashed and long ones shortened. What leaves an [`Evaluation`] is made of the latter.

mod compile;
mod cost;
mod evaluation;
mod header;
mod index;
mod matching;
mod route;
mod secret;
#[cfg(test)]
mod tests;
mod value;

pub use evaluation::Evaluation;

use std::borrow::Cow;

use super::address::ClientAddress;
use super::attributes::Attributes;
use super::path::{self, Templates};
use crate::config::ext_authz::{self as settings, ExtAuthz};
use compile::Compiler;
use evaluation::Values;
use route::Routes;
use value::{ClaimsAt, Request, Value, ValueId};

/// What is wrong with the section as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct PolicyError {
    /// Below `ext_authz`, as `routes[2].descriptors[0]`; with `ext_authz.` before it, `config::Sources` tells its place.
    pub field: String,
    /// What is wrong, and what to write.
    pub reason: String,
}

/// The section, compiled. Shared by all workers.
#[derive(Debug)]
pub struct Policy {
    client: ClientAddress,
    ignore_case: bool,
    templates: Templates,
    /// What `path` is for paths that fit none.
    unmatched: Box<[u8]>,
    claims: ClaimsAt,
    /// All that something names, each once.
    values: Vec<Value>,
    user: Option<ValueId>,
    routes: Routes,
}

impl Policy {
    /// Compiles the section; `key` hashes secret values, and is at least 32 bytes long.
    ///
    /// # Errors
    /// Everything that is wrong with it, of what cannot be seen before. Settings that were loaded hold otherwise.
    pub fn new(config: &ExtAuthz, key: Option<&[u8]>) -> Result<Self, Vec<PolicyError>> {
        Compiler::new(config, &settings::Route::default()).compile(key)
    }

    /// Finds a request's route and the values that it needs.
    #[must_use]
    pub fn evaluate<'a, 'm: 'a>(&'a self, attributes: &Attributes<'m>) -> Evaluation<'a> {
        let client = self.client.of(attributes);
        let path: Cow<'a, [u8]> = path::normalise(attributes.path, self.ignore_case);
        let (route, fit) = self.routes.find(attributes, &path);
        let request = Request::new(self, attributes, client, &path, route, fit);
        let user = self.user.and_then(|id| self.values.get(id)).map(|value| (value, value.read(&request)));
        let mut readings: smallvec::SmallVec<[_; 6]> =
            route.needs.iter().map(|id| self.values.get(*id).and_then(|value| value.read(&request))).collect();
        let costs = route.descriptors.iter().map(|descriptor| descriptor.cost(&readings)).collect();
        let protect = |(id, reading): (&ValueId, Option<_>)| {
            let value = self.values.get(*id)?;
            reading.map(|reading| value.protect(reading))
        };
        let values: Values<'a> = route.needs.iter().zip(readings.drain(..)).map(protect).collect();
        let secret = user.as_ref().is_some_and(|(value, _)| value.is_secret());
        let user = user.and_then(|(_, reading)| reading).map(|reading| reading.text.into_cow());
        // It borrows the path.
        drop(request);
        let (method, user_agent) = (attributes.method, attributes.header("user-agent"));
        Evaluation { client, path, user, method, user_agent, user_is_secret: secret, route, values, costs }
    }
}
