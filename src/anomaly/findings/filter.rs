//! Which findings are asked for.

use std::net::IpAddr;

use super::finding::{Action, Finding, State};
use crate::core::client::network;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// Which findings a list has: all that agree with every part that is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only of this user.
    pub user: Option<String>,
    /// Only of this address; of IPv6, of the network that tells clients apart.
    pub address: Option<IpAddr>,
    /// Only in this domain.
    pub domain: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only with this action.
    pub action: Option<Action>,
    /// Only with at least this score, 0 to 1.
    pub min_score: Option<f64>,
    /// Only flagged then or later: wall time.
    pub since: Option<Micros>,
    /// Only flagged before then.
    pub until: Option<Micros>,
}

/// Which page: the newest have the highest numbers, and come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only those with lower numbers; `None` from the newest.
    pub after: Option<u64>,
    /// How many, 1 to [`super::MAX_PAGE`].
    pub size: usize,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// The newest first.
    pub findings: Vec<Finding>,
    /// Behind which one the next page begins, if there is one.
    pub next: Option<u64>,
}

impl Filter {
    /// The address that findings have.
    #[must_use]
    pub fn network(&self) -> Option<IpAddr> {
        self.address.map(network)
    }

    /// Whether a finding is asked for.
    #[must_use]
    pub fn takes(&self, finding: &Finding) -> bool {
        let user = |user: &String| matches!(&finding.subject, Subject::User(name) if **name == **user);
        let address = |address| finding.subject == Subject::Address(address);
        self.user.as_ref().is_none_or(user)
            && self.network().is_none_or(address)
            && self.domain.as_ref().is_none_or(|domain| *domain == finding.domain)
            && self.state.is_none_or(|state| state == finding.state())
            && self.action.is_none_or(|action| action == finding.action)
            && self.min_score.is_none_or(|score| finding.score >= score)
            && self.since.is_none_or(|since| finding.flagged >= since)
            && self.until.is_none_or(|until| finding.flagged < until)
    }
}
