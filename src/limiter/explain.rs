//! Which adjustments concern a descriptor, for a person.

use std::sync::Arc;

use smallvec::smallvec;

use super::adjusting::Plan;
use super::{Limiter, resolve};
use crate::core::adjustment::Adjustment;
use crate::core::descriptor::{Descriptor, Request};
use crate::core::limit::Limit;
use crate::core::ruleset::Domain;
use crate::counters::CounterStore;

/// What adjustments change for one descriptor at present.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// Those that concern it.
    pub adjustments: Vec<Arc<Adjustment>>,
    /// By the position in the rule, the limits that are lower than the rule says.
    pub lowered: Vec<(usize, Limit)>,
}

impl<S: CounterStore> Limiter<S> {
    /// What adjustments change for a descriptor that stands alone; of groups, those of which it has every attribute.
    pub fn explain_adjustments(&self, domain: &Domain, descriptor: &Descriptor<'_>) -> Explained {
        let request = Request { descriptors: smallvec![descriptor.clone()], ..Request::default() };
        let resolved = resolve::resolve(domain, &request);
        let plan = self.adjusting.plan(domain, &request, &resolved, &self.options);
        plan.map_or_else(Explained::default, |plan| Plan::explain(&plan))
    }
}
