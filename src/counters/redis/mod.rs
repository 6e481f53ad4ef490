//! Counters in Redis.

pub mod failure;
pub mod key;
pub mod topology;
