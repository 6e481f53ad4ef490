//! What the anomaly workers of several replicas share: order, gaps, the seat, what is left, and what Redis may do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../redis_support/mod.rs"]
mod redis_support;
#[path = "../server_support/mod.rs"]
mod server_support;

mod contract;
mod faults;
mod sample;
mod seat;
mod stand;
