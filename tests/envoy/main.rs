//! A real Envoy, proxying real HTTP requests, asks a real Tidegate, with the configurations of `deploy/envoy`.
//!
//! Each test has its own Envoy, Tidegate and backend (all start in a fraction of a second) on a loopback address of its
//! own, so tests share nothing and run side by side. `scripts/setup` fetches the Envoy; without it the tests fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

mod actions;
mod answers;
mod configurations;
mod drain;
mod ext_authz;
mod failures;
mod hits;
mod hostile;
mod reload;
mod token_budget;
