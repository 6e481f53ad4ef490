//! Decisions that adjustments concern.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::shard;

/// What became of a request that an adjustment concerns. One that both an enforced one and a shadow concern counts for
/// each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdjustedOutcome {
    /// It passed all the same.
    Passed,
    /// It would have passed without.
    Limited,
    /// It would have been denied without, too.
    OverLimit,
    /// Nothing of its client passes.
    Blocked,
    /// A shadow would have let it pass, or others denied it.
    ShadowPassed,
    /// It passed, and a shadow would have denied it.
    ShadowLimited,
}

impl AdjustedOutcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Passed, Self::Limited, Self::OverLimit, Self::Blocked, Self::ShadowPassed, Self::ShadowLimited];

    /// As metrics call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Limited => "limited",
            Self::OverLimit => "over_limit",
            Self::Blocked => "blocked",
            Self::ShadowPassed => "shadow_passed",
            Self::ShadowLimited => "shadow_limited",
        }
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard([AtomicU64; AdjustedOutcome::ALL.len()]);

/// Their counts, with a shard per worker.
#[derive(Debug)]
pub(super) struct AdjustedCounts(Box<[Shard]>);

impl AdjustedCounts {
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards.max(1)).map(|_| Shard::default()).collect())
    }

    pub(super) fn add(&self, outcome: AdjustedOutcome) {
        if let Some(shard) = self.0.get(shard::current(self.0.len())) {
            shard.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count(&self, outcome: AdjustedOutcome) -> u64 {
        self.0.iter().map(|shard| shard.0[outcome as usize].load(Ordering::Relaxed)).sum()
    }
}
