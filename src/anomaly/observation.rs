//! What the worker sees of one request.

use std::net::IpAddr;

use crate::core::clock::Micros;
use crate::core::decision::{Code, Decision};

/// One request, as far as its source tells: a decision knows what descriptors hold, the access log knows how the request
/// ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation<'a> {
    /// When it came: wall time, microseconds since the Unix epoch.
    pub at: Micros,
    /// The domain that it was decided in.
    pub domain: &'a str,
    /// The user.
    pub user: Option<&'a str>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// `GET`; empty when it is not known.
    pub method: &'a str,
    /// The path, or its template; without query; empty when it is not known.
    pub path: &'a str,
    /// The user agent.
    pub user_agent: Option<&'a str>,
    /// The country of the address, ISO 3166-1 alpha-2, when the source tells.
    pub country: Option<[u8; 2]>,
    /// The autonomous system of the address, when the source tells.
    pub asn: Option<u32>,
    /// The status of the response.
    pub status: Option<u16>,
    /// The size of the response's body.
    pub bytes: Option<u64>,
    /// How long the response took.
    pub duration: Option<Micros>,
    /// What it cost.
    pub hits: u64,
    /// What was decided.
    pub outcome: Outcome,
}

/// What was decided of an observed request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The source does not know.
    #[default]
    Unknown,
    /// It passed.
    Allowed,
    /// A limit as the rules say it denied it.
    Limited,
    /// It would have passed but for an adjustment.
    LimitedByAdjustment,
}

impl Outcome {
    /// What a decision says.
    #[must_use]
    pub fn of(decision: &Decision<'_>) -> Self {
        match decision.code {
            Code::Ok => Self::Allowed,
            Code::OverLimit if decision.denied_by_adjustment().is_some() => Self::LimitedByAdjustment,
            Code::OverLimit => Self::Limited,
        }
    }
}
