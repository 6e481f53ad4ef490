//! The anomaly worker at work: in one process, and over a bus between several.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../server_support/mod.rs"]
mod server_support;

mod faults;
mod served;
mod stand;
mod together;
