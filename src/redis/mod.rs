//! How Redis is reached: by the counters, which decisions wait for, and by the copies of the rules and the anomaly workers,
//! which nothing waits for.
//!
//! - [`connect`] makes clients as the settings want them,
//! - [`topology`] is how nodes are found, and which of a cluster owns what,
//! - [`subscription`] listens to a channel and notices when it no longer does.

pub mod connect;
pub mod subscription;
pub mod topology;

/// Takes, keeps or gives back a lease: what it takes and returns is written in the script.
pub const LEASE_SCRIPT: &str = include_str!("scripts/lease.lua");
