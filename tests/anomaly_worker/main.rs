//! The anomaly worker at work: in one process, and over a bus between several.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../redis_support/mod.rs"]
mod redis_support;
#[path = "../server_support/mod.rs"]
mod server_support;

mod faults;
mod over_redis;
mod served;
mod stand;
mod together;
