//! What Tidegate tells about itself: logs, traces, metrics.

pub mod decisions;
pub mod logs;
pub mod metrics;
pub mod rule_loads;
pub mod shard;
pub mod traces;
