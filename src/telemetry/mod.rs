//! What Tidegate tells about itself: logs, traces, metrics.

pub mod decisions;
pub mod shard;
