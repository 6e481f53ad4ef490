//! How long decisions take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::telemetry::shard;

/// Upper bounds of the buckets, microseconds, inclusive; one more bucket has no bound.
pub const BOUNDS_MICROS: [u64; 13] = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000];

const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// A histogram with a shard per worker.
#[derive(Debug)]
pub(super) struct Latency {
    shards: Box<[Shard]>,
}

/// What a histogram holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatencySnapshot {
    /// Decisions in each bucket, not cumulative; the last has no bound.
    pub buckets: [u64; BUCKETS],
    /// All of them together, seconds.
    pub sum: f64,
}

impl LatencySnapshot {
    /// Decisions in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The upper bounds in seconds, the last infinite, each with its bucket's own count.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.buckets)
    }
}

impl Latency {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: (0..shards.max(1)).map(|_| Shard::default()).collect() }
    }

    pub(super) fn observe(&self, elapsed: Duration) {
        let Some(shard) = self.shards.get(shard::current(self.shards.len())) else { return };
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| bound * 1_000 < nanos);
        if let Some(bucket) = shard.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        shard.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> LatencySnapshot {
        let mut snapshot = LatencySnapshot::default();
        for shard in &self.shards {
            for (total, bucket) in snapshot.buckets.iter_mut().zip(&shard.buckets) {
                *total += bucket.load(Ordering::Relaxed);
            }
            snapshot.sum += shard.nanos.load(Ordering::Relaxed) as f64 / 1e9;
        }
        snapshot
    }
}
