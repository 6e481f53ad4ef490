//! The anomaly worker from end to end, with real parts only: clients, an Envoy before each of two `tidegate serve`, one
//! Redis, one Postgres.
//!
//! ```text
//! people and one attacker -> Envoy A -ext_authz, access log-> Tidegate A \
//!                         -> Envoy B -ext_authz, access log-> Tidegate B -> Redis, Postgres
//! ```
//!
//! `cargo test --test anomaly_e2e -- --nocapture` prints when what happened. `scripts/setup` fetches the Envoy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::duplicate_mod, reason = "both supports have the same ports and certificates")]

#[allow(dead_code, unused_imports, reason = "shared with other test programs")]
#[path = "../envoy/harness/mod.rs"]
mod harness;
#[path = "../postgres_support/mod.rs"]
mod postgres_support;
#[path = "../process/mod.rs"]
mod process;
#[path = "../redis_support/mod.rs"]
mod redis_support;

mod crowd;
mod stand;
mod story;
