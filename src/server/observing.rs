//! Decisions leave observations, for whoever wants them.

use super::Context;
use crate::anomaly::observation::{Observation, Outcome};
use crate::core::client::Client;
use crate::core::decision::Decision;
use crate::core::descriptor::{Operation, Request};

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
        let charges = decision.statuses.iter().filter_map(|status| match status.operation {
            Operation::Charge(hits) => Some(hits),
            Operation::Refund(_) => None,
        });
        // What only gives back is no request of a client's.
        let Some(hits) = charges.max() else { return };
        let keys = self.limiter.options().identities.of(&domain.name);
        let Client { user, address, method, path, user_agent, country, asn } = keys.client(request);
        self.observations.record(&Observation {
            at: self.limiter.wall(),
            domain: &domain.name,
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
        });
    }
}
