//! Where counters live. A store performs operations of the core's algorithms on counters, atomically each.

pub mod breaker;
pub mod choice;
pub mod fingerprint;
pub mod local;
pub mod memory;
pub mod over_limit;
pub mod redis;

use std::future::Future;
use std::time::Instant;

use smallvec::SmallVec;

use crate::core::algorithm::Outcome;
pub use crate::core::decision::Source;
use crate::core::descriptor::Operation;
use crate::core::limit::Limit;
use crate::core::spec::{Charge, FailureMode};

/// How a limit is called in names that people and other replicas read; empty where nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CounterName<'a> {
    /// The domain.
    pub domain: &'a str,
    /// The rule's canonical descriptor path, [`crate::core::rule::Rule::path`].
    pub path: &'a str,
    /// The limit's name or position, where its rule has several.
    pub limit: Option<&'a str>,
}

/// Identifies one counter: the space of its limit, and the values of the request that vary within it.
#[derive(Clone, Debug)]
pub struct CounterKey<'a> {
    /// The limit's counter space, [`crate::core::rule::RuleLimit::counter_space`].
    pub space: u128,
    /// What the space is called. Says the same as `space` does, together with the limit's algorithm and window.
    pub name: CounterName<'a>,
    /// The values that vary, in entry order; any bytes.
    pub values: SmallVec<[&'a [u8]; 4]>,
}

impl CounterKey<'_> {
    /// The same key, borrowed for less long. (A list of values, as it is made, cannot simply be taken for one that
    /// lives shorter.)
    #[must_use]
    pub fn reborrow(&self) -> CounterKey<'_> {
        CounterKey { space: self.space, name: self.name, values: self.values.iter().copied().collect() }
    }
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
    /// What to answer when the store cannot.
    pub failure_mode: FailureMode,
}

/// The outcomes of a request's hits, in their order.
pub type Outcomes = SmallVec<[Outcome; 4]>;

/// What a store answers to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// One for each hit, in their order.
    pub outcomes: Outcomes,
    /// Who gave each of them; empty when all are from [`Source::Counter`].
    pub sources: SmallVec<[Source; 4]>,
}

impl Answers {
    /// Who answered for hit `position`.
    #[must_use]
    pub fn source(&self, position: usize) -> Source {
        self.sources.get(position).copied().unwrap_or_default()
    }
}

impl From<Outcomes> for Answers {
    fn from(outcomes: Outcomes) -> Self {
        Self { outcomes, sources: SmallVec::new() }
    }
}

/// Until when an answer is of use to who asks; `None` leaves it to the store's own limit.
pub type Deadline = Option<Instant>;

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
    /// A store that cannot answer in time answers each hit by its [`Hit::failure_mode`].
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer a hit whose failure mode is [`FailureMode::Error`]; what was charged
    /// is then unknown.
    fn perform(
        &self,
        hits: &[Hit<'_>],
        charge: Charge,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Answers, StoreError>> + Send;

    /// Whether [`CounterStore::perform_now`] always answers. The request path then does without a future, whose state
    /// would be copied with every request.
    fn never_waits(&self) -> bool {
        false
    }

    /// [`CounterStore::perform`], of a store that never waits; `None` of one that does.
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

    /// Forgets one counter, here and wherever it is remembered; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot answer; whether the counter is forgotten is then unknown.
    fn reset(&self, key: &CounterKey<'_>, limit: &Limit) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Live counters, for metrics; an estimate where exact numbers are dear.
    fn live_counters(&self) -> u64;
}
