//! What Tidegate tells about itself: logs, traces, metrics.

pub mod decisions;
pub mod metrics;
pub mod rule_loads;
pub mod shard;
