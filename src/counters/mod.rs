//! Where counters live. A store performs operations of the core's algorithms on counters, atomically each.

pub mod memory;

use std::future::Future;

use smallvec::SmallVec;

use crate::core::algorithm::Outcome;
use crate::core::descriptor::Operation;
use crate::core::limit::Limit;
use crate::core::spec::Charge;

/// Identifies one counter: the space of its limit, and the values of the request that vary within it.
#[derive(Clone, Debug)]
pub struct CounterKey<'a> {
    /// The limit's counter space, [`crate::core::rule::RuleLimit::counter_space`].
    pub space: u128,
    /// The values that vary, in entry order; any bytes.
    pub values: SmallVec<[&'a [u8]; 4]>,
}

/// One operation on one counter.
#[derive(Clone, Debug)]
pub struct Hit<'a> {
    /// Which counter.
    pub key: CounterKey<'a>,
    /// The limit in effect.
    pub limit: &'a Limit,
    /// What to do.
    pub operation: Operation,
    /// Whether a denial counts with [`Charge::AllOrNothing`]; shadow and quota rules are not enforced.
    pub enforced: bool,
}

/// The outcomes of a request's hits, in their order.
pub type Outcomes = SmallVec<[Outcome; 4]>;

/// Why a store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store is away or too slow.
    #[error("the counter store is unavailable: {0}")]
    Unavailable(String),
}

/// Keeps counters.
pub trait CounterStore: Send + Sync + 'static {
    /// Performs the hits of one request. With [`Charge::Independent`] each on its own; with
    /// [`Charge::AllOrNothing`], if any enforced charge would be denied, nothing is charged at all and every outcome
    /// is that of [`crate::core::algorithm::State::evaluate`]. Two hits of one request on one counter see each other,
    /// in order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer; what was charged is then unknown.
    fn perform(&self, hits: &[Hit<'_>], charge: Charge) -> impl Future<Output = Result<Outcomes, StoreError>> + Send;

    /// [`CounterStore::perform`], of a store that never waits; `None` of one that does. The request path asks this
    /// first: an answer on the spot needs no future, whose state would be copied with every request.
    fn perform_now(&self, hits: &[Hit<'_>], charge: Charge) -> Option<Outcomes> {
        let _ = (hits, charge);
        None
    }

    /// The state of one counter, and the verdict on one more hit (on a peek, where the limit is post-paid), without
    /// consuming or creating anything; `None` when there is no such counter.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer.
    fn inspect(
        &self,
        key: &CounterKey<'_>,
        limit: &Limit,
    ) -> impl Future<Output = Result<Option<Outcome>, StoreError>> + Send;

    /// Live counters, for metrics; an estimate where exact numbers are dear.
    fn live_counters(&self) -> u64;
}
