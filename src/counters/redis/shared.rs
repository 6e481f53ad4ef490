//! What the workers of one process share on the way to Redis.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::failure::Failure;
use crate::counters::over_limit::OverLimitMemory;

/// Shared by all workers.
#[derive(Debug)]
pub struct Shared<C> {
    /// The time of this machine.
    pub clock: C,
    /// How long a decision may take.
    pub deadline: Duration,
    /// Where it is published that a counter was given something back.
    pub channel: Bytes,
    /// Counters known to be over their limit.
    pub memory: OverLimitMemory,
    /// What happens.
    pub stats: Stats,
}

/// Counts of what happens, since the start.
#[derive(Debug, Default)]
pub struct Stats {
    calls: AtomicU64,
    counters: AtomicU64,
    steps: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
}

impl Stats {
    /// A script call with so many counters and steps has been answered.
    pub fn called(&self, counters: usize, steps: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.counters.fetch_add(counters as u64, Ordering::Relaxed);
        self.steps.fetch_add(steps as u64, Ordering::Relaxed);
    }

    /// A script call has no answer.
    pub fn failed(&self, failure: Failure) {
        self.failures[failure as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Script calls that were answered.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counters in them.
    pub fn counters(&self) -> u64 {
        self.counters.load(Ordering::Relaxed)
    }

    /// Steps on these counters: hits, refunds and peeks.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Calls without an answer, and why.
    pub fn failures(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::ALL.into_iter().zip(self.failures.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}
