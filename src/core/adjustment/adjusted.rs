//! What adjustments did to one decision.

use std::sync::Arc;

use super::Adjustment;
use crate::core::algorithm::Outcome;
use crate::core::clock::Micros;
use crate::core::limit::Limit;

/// What adjustments did to one decision. There is one only where some concern the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjusted {
    /// The one to tell of: the one that denies, else the one that the deciding limit is lowered by, else any that was
    /// enforced. `None` when all of them are shadows.
    pub applied: Option<Arc<Adjustment>>,
    /// How the request was denied that would have passed without adjustments; `None` when it passed, or would have been
    /// denied anyway.
    pub denial: Option<Denial>,
    /// Limits that are lower than their rules say.
    pub lowered: Vec<Lowered>,
    /// A shadow that concerns the request: the one that would have denied it, if one would.
    pub shadow: Option<Arc<Adjustment>>,
    /// The request passed, and would not have if shadows were enforced.
    pub shadow_denies: bool,
}

/// How an adjustment denies.
#[derive(Clone, Debug, PartialEq)]
pub enum Denial {
    /// A limit as it is lowered denies, and would not as its rule says.
    Lowered,
    /// The adjustment's own limit denies.
    Own {
        /// That limit.
        limit: Limit,
        /// What its counter said.
        outcome: Outcome,
    },
    /// Nothing of the subject passes, for so long.
    Blocked(Micros),
}

/// A limit that is lower than its rule says.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// The position of the descriptor.
    pub descriptor: usize,
    /// The position of the limit in its rule.
    pub place: usize,
    /// The limit in effect.
    pub limit: Limit,
    /// What the rule says.
    pub unadjusted: Limit,
    /// What lowers it.
    pub by: Arc<Adjustment>,
}

impl Adjusted {
    /// How long until the same request may pass, where that depends on the adjustment alone.
    #[must_use]
    pub fn wait(&self) -> Option<Micros> {
        match &self.denial {
            Some(Denial::Own { outcome, .. }) => outcome.retry_after(),
            Some(Denial::Blocked(wait)) => Some(*wait),
            Some(Denial::Lowered) | None => None,
        }
    }

    /// A rule's limit of one descriptor, where it is lowered.
    #[must_use]
    pub fn lowered(&self, descriptor: usize, place: usize) -> Option<&Lowered> {
        self.lowered.iter().find(|lowered| lowered.descriptor == descriptor && lowered.place == place)
    }
}
