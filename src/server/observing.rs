//! Decisions leave observations, for whoever wants them.

use super::Context;
use crate::anomaly::observation::{Observation, Outcome};
use crate::core::client::Client;
use crate::core::clock::Micros;
use crate::core::decision::Decision;
use crate::core::descriptor::{Operation, Request};
use crate::core::identity::Keys;

impl Context {
    /// Whether it is worth finding out who a request is from: an adjustment may concern it, or somebody observes.
    #[inline]
    pub fn is_client_wanted(&self) -> bool {
        self.limiter.is_adjusting() || self.observations.are_wanted()
    }

    /// Leaves an observation of a decision, if anybody wants it. Costs next to nothing otherwise.
    #[inline]
    pub fn observe(&self, request: &Request<'_>, decision: &Decision<'_>) {
        if self.observations.are_wanted() {
            self.leave(request, decision);
        }
    }

    fn leave(&self, request: &Request<'_>, decision: &Decision<'_>) {
        // Domains without rules are whatever clients write.
        let Some(domain) = decision.domain else { return };
        // Its access log tells more, of the same request.
        if self.access_logs.tell_of(&domain.name) {
            return;
        }
        let keys = self.limiter.options().identities.of(&domain.name);
        if let Some(observation) = of_decision(request, decision, &domain.name, keys, self.limiter.wall()) {
            self.observations.record(&observation);
        }
    }
}

/// What a decision shows of its request, which came at the wall time `at`; nothing, if it only gives back.
#[must_use]
pub fn of_decision<'a, 'r: 'a>(
    request: &Request<'r>,
    decision: &Decision<'_>,
    domain: &'a str,
    keys: &Keys,
    at: Micros,
) -> Option<Observation<'a>> {
    let charges = decision.statuses.iter().filter_map(|status| match status.operation {
        Operation::Charge(hits) => Some(hits),
        Operation::Refund(_) => None,
    });
    // What only gives back is no request of a client's.
    let hits = charges.max()?;
    let Client { user, address, method, path, user_agent, country, asn } = keys.client(request);
    Some(Observation {
        at,
        domain,
        user,
        address,
        method,
        path,
        user_agent,
        country,
        asn,
        status: None,
        bytes: None,
        duration: None,
        hits,
        outcome: Outcome::of(decision),
    })
}
