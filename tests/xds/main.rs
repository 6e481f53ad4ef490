//! Rules from an xDS server: one of the tests' own, and Envoy Gateway's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod control_plane;
mod envoy_gateway;
mod following;
#[path = "../process/mod.rs"]
mod process;
mod secured;
#[path = "../server_support/mod.rs"]
mod server_support;
mod settings;
