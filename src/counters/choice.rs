//! The store that the settings choose.

use super::memory::MemoryStore;
use super::redis::RedisStore;
use super::{Answers, CounterKey, CounterStore, Deadline, Hit, Outcomes, StoreError};
use crate::core::algorithm::Outcome;
use crate::core::clock::SystemClock;
use crate::core::limit::Limit;
use crate::core::spec::Charge;

/// One of the stores.
#[derive(Debug)]
pub enum Counters {
    /// In this process.
    Memory(Box<MemoryStore<SystemClock>>),
    /// In Redis, shared by all replicas.
    Redis(RedisStore<SystemClock>),
}

impl Counters {
    /// What the store is called in logs and health.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }

    /// The counters in this process: all of them, or those for when Redis is away.
    #[must_use]
    pub fn in_process(&self) -> &MemoryStore<SystemClock> {
        match self {
            Self::Memory(store) => store,
            Self::Redis(store) => store.fallback().local().store(),
        }
    }

    /// The store in Redis, if that is the one.
    #[must_use]
    pub const fn redis(&self) -> Option<&RedisStore<SystemClock>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(store) => Some(store),
        }
    }
}

impl CounterStore for Counters {
    async fn perform(&self, hits: &[Hit<'_>], charge: Charge, deadline: Deadline) -> Result<Answers, StoreError> {
        match self {
            Self::Memory(store) => store.perform(hits, charge, deadline).await,
            Self::Redis(store) => store.perform(hits, charge, deadline).await,
        }
    }

    fn never_waits(&self) -> bool {
        match self {
            Self::Memory(store) => store.never_waits(),
            Self::Redis(store) => store.never_waits(),
        }
    }

    fn perform_now(&self, hits: &[Hit<'_>], charge: Charge) -> Option<Outcomes> {
        match self {
            Self::Memory(store) => store.perform_now(hits, charge),
            Self::Redis(store) => store.perform_now(hits, charge),
        }
    }

    async fn inspect(&self, key: &CounterKey<'_>, limit: &Limit) -> Result<Option<Outcome>, StoreError> {
        match self {
            Self::Memory(store) => store.inspect(key, limit).await,
            Self::Redis(store) => store.inspect(key, limit).await,
        }
    }

    async fn reset(&self, key: &CounterKey<'_>, limit: &Limit) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.reset(key, limit).await,
            Self::Redis(store) => store.reset(key, limit).await,
        }
    }

    fn live_counters(&self) -> u64 {
        match self {
            Self::Memory(store) => store.live_counters(),
            Self::Redis(store) => store.live_counters(),
        }
    }
}
