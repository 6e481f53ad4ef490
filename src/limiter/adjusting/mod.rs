//! Adjustments at decision time.
//!
//! [`plan`] finds those that concern a request and says what they change: limits that are lower, counters of their own
//! that are charged in the same call as the rules', or that nothing passes. [`conclude`] says afterwards what they did.
//!
//! - [`Effect::Factor`] lowers the limits of every descriptor that names the subject; of a group, which a request
//!   belongs to as a whole, those of all its descriptors. The counter stays the same. A counter that several clients
//!   share is held against the lower limit only when it is this client's turn.
//! - [`Effect::Limit`] has a token bucket of its own in the request's domain, which every request of the subject charges
//!   once, whatever it costs its rules; a request that only asks, only asks; one that only gives back, leaves it alone.
//!   Such a request is charged all or nothing, so that what is denied does not use up limits that others share.
//! - [`Effect::Block`] denies whatever does not only give back, and counts nothing.
//!
//! A rule with `protect` is never lowered, and a request that such a rule applies to is neither held against a limit of
//! an adjustment's own nor blocked.
//!
//! [`Effect::Factor`]: crate::core::adjustment::Effect::Factor
//! [`Effect::Limit`]: crate::core::adjustment::Effect::Limit
//! [`Effect::Block`]: crate::core::adjustment::Effect::Block

mod conclude;
mod found;
mod plan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::LimiterOptions;
use super::resolve::Resolved;
use crate::core::adjustment::set::AdjustmentSet;
use crate::core::clock::{Clock, SystemClock};
use crate::core::descriptor::Request;
use crate::core::locate::Locate;
use crate::core::ruleset::Domain;

pub(super) use conclude::{blocked, conclude};
pub(super) use plan::Plan;

/// The adjustments in force.
pub(super) struct Adjusting {
    /// There are some. Mostly there are none, and then this is all that is looked at.
    any: AtomicBool,
    set: ArcSwap<AdjustmentSet>,
    /// Held while both are changed.
    changing: Mutex<()>,
    pub(super) clock: Box<dyn Clock>,
    /// Where addresses are, for groups by country or autonomous system.
    pub(super) locate: Option<Arc<dyn Locate>>,
}

impl fmt::Debug for Adjusting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adjusting").field("set", &self.set).finish_non_exhaustive()
    }
}

impl Default for Adjusting {
    fn default() -> Self {
        Self {
            any: AtomicBool::new(false),
            set: ArcSwap::default(),
            changing: Mutex::default(),
            clock: Box::new(SystemClock::new()),
            locate: None,
        }
    }
}

impl Adjusting {
    pub(super) fn replace(&self, set: AdjustmentSet) {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let any = !set.is_empty();
        self.set.store(Arc::new(set));
        self.any.store(any, Ordering::Release);
        drop(changing);
    }

    #[inline]
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub(super) fn set(&self) -> Arc<AdjustmentSet> {
        self.set.load_full()
    }

    /// What adjustments change about a request, if any concerns it.
    #[inline]
    pub(super) fn plan(
        &self,
        domain: &Domain,
        request: &Request<'_>,
        resolved: &[Resolved<'_>],
        options: &LimiterOptions,
    ) -> Option<Box<Plan>> {
        if !self.any() {
            return None;
        }
        let keys = options.identities.of(&domain.name);
        let found = found::find(&self.set.load(), domain, request, keys, &*self.clock, self.locate.as_deref())?;
        Plan::new(domain, found, request, resolved, options).map(Box::new)
    }
}
