//! What answers when Redis does not: the failure mode of each hit's rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::failure::Failure;
use super::replicas::LiveReplicas;
use super::store::source;
use crate::core::algorithm::{Outcome, Verdict};
use crate::core::clock::{Clock, Micros};
use crate::core::limit::Limit;
use crate::core::spec::{Charge, FailureMode};
use crate::counters::local::LocalCounters;
use crate::counters::{Answers, CounterKey, Hit, Source, StoreError};

/// How long a client is told to wait when its request is denied because nobody can count.
const CLOSED_RETRY_AFTER: Micros = Micros::SECOND;

/// What became of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Its counter answered.
    Counted(Outcome),
    /// Its counter is known to be over the limit.
    Remembered(Outcome),
    /// Nobody answered.
    Failed(Failure),
}

/// Answers in Redis' place.
#[derive(Debug)]
pub struct Fallback<C> {
    local: LocalCounters<C>,
    replicas: Arc<LiveReplicas>,
    answered: [AtomicU64; 4],
}

/// The failure modes in the order of [`Fallback::answered`].
const MODES: [FailureMode; 4] = [FailureMode::Local, FailureMode::Open, FailureMode::Closed, FailureMode::Error];

impl<C: Clock> Fallback<C> {
    /// Counts in `local` at one share of `replicas`.
    #[must_use]
    pub fn new(local: LocalCounters<C>, replicas: Arc<LiveReplicas>) -> Self {
        Self { local, replicas, answered: Default::default() }
    }

    /// How many replicas share the limits.
    #[must_use]
    pub const fn replicas(&self) -> &Arc<LiveReplicas> {
        &self.replicas
    }

    /// The counters of this process.
    #[must_use]
    pub const fn local(&self) -> &LocalCounters<C> {
        &self.local
    }

    /// Hits answered by each failure mode so far.
    pub fn answered(&self) -> impl Iterator<Item = (FailureMode, u64)> {
        MODES.into_iter().zip(self.answered.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Answers every hit, those that nobody answered by their failure modes.
    ///
    /// # Errors
    /// When one of them is to be an error.
    pub fn conclude(
        &self,
        hits: &[Hit<'_>],
        charge: Charge,
        replies: SmallVec<[Reply; 4]>,
    ) -> Result<Answers, StoreError> {
        let mut answers = Answers::default();
        let plain = replies.iter().all(|reply| matches!(reply, Reply::Counted(_)));
        if !plain {
            answers.sources = replies.iter().map(source).collect();
        }
        let mut failed: SmallVec<[usize; 4]> = SmallVec::new();
        for (position, reply) in replies.iter().enumerate() {
            answers.outcomes.push(match reply {
                Reply::Counted(outcome) | Reply::Remembered(outcome) => *outcome,
                Reply::Failed(failure) => {
                    failed.push(position);
                    let hit = &hits[position];
                    self.count(hit.failure_mode);
                    if hit.failure_mode == FailureMode::Error {
                        return Err(StoreError::Unavailable(failure.name().to_owned()));
                    }
                    answers.sources[position] = match hit.failure_mode {
                        FailureMode::Local => Source::Local,
                        FailureMode::Closed => Source::Closed,
                        FailureMode::Open | FailureMode::Error => Source::Open,
                    };
                    without_counter(hit)
                }
            });
        }
        failed.retain(|position| hits[*position].failure_mode == FailureMode::Local);
        if !failed.is_empty() {
            let local: SmallVec<[Hit<'_>; 4]> = failed.iter().map(|&position| hits[position].clone()).collect();
            let outcomes = self.local.perform(&local, charge, self.replicas.get());
            for (&position, outcome) in failed.iter().zip(outcomes) {
                answers.outcomes[position] = outcome;
            }
        }
        Ok(answers)
    }

    /// Forgets a counter of this process; whether there was one.
    pub async fn reset(&self, key: &CounterKey<'_>, limit: &Limit) -> bool {
        self.local.reset(key, limit, self.replicas.get()).await
    }

    /// Counters of this process.
    pub fn live_counters(&self) -> u64 {
        self.local.live_counters()
    }

    fn count(&self, mode: FailureMode) {
        if let Some(position) = MODES.iter().position(|known| *known == mode) {
            self.answered[position].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The answer to a hit whose counter nobody knows: denied with [`FailureMode::Closed`], else allowed.
fn without_counter(hit: &Hit<'_>) -> Outcome {
    let capacity = hit.limit.capacity();
    if hit.failure_mode == FailureMode::Closed {
        let verdict = Verdict::NotUntil(CLOSED_RETRY_AFTER);
        return Outcome { verdict, level: capacity, remaining: 0, reset_after: CLOSED_RETRY_AFTER };
    }
    Outcome { verdict: Verdict::Allowed, level: 0, remaining: capacity, reset_after: Micros::ZERO }
}
