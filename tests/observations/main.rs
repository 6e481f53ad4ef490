//! Where observations come from besides decisions: Envoy's access log, and databases of addresses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../server_support/mod.rs"]
mod server_support;

mod access_log;
mod databases;
mod envoy;
