//! Adjustments: temporary changes of what a client, or a group of clients that look alike, may do. The anomaly worker
//! makes them, or a person; they end by themselves.

use std::sync::Arc;

use super::clock::Micros;
use super::subject::Subject;

/// One adjustment.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjustment {
    /// Names it in answers, logs and the list of anomalies.
    pub id: Arc<str>,
    /// Whose requests it is about.
    pub subject: Subject,
    /// The domain, or all of them.
    pub domain: Option<Arc<str>>,
    /// What it does.
    pub effect: Effect,
    /// Wall time at which it ends, microseconds since the Unix epoch.
    pub expires: Micros,
    /// Only told, not enforced.
    pub shadow: bool,
}

/// What an adjustment does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// The subject's limits are so much of what the rules say.
    Factor {
        /// More than 0, at most 1.
        factor: f64,
        /// Never less hits a window than this; at least 1.
        floor: u64,
    },
    /// All requests of the subject together may do so much, besides what the rules say.
    Limit {
        /// Requests a second; more than 0.
        rate: f64,
        /// So many at once; at least 1.
        burst: u64,
    },
    /// Nothing passes.
    Block,
}
