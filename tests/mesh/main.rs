//! Two gateways and a sidecar, each a real Envoy with its file of `deploy/envoy`, all asking a real Tidegate:
//!
//! ```text
//! client -> gateway-edge -> gateway-inner -> sidecar -> service
//!           RLS, edge       RLS, inner       ext_authz, mesh
//! ```
//!
//! Each test has a chain of its own on a loopback address of its own. `scripts/setup` fetches the Envoy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, unused_imports, reason = "shared with other test programs")]
#[path = "../envoy/harness/mod.rs"]
mod harness;
#[path = "../redis_support/mod.rs"]
mod redis_support;
#[path = "../envoy/ext_authz/tokens.rs"]
mod tokens;

mod chain;
mod frames;
mod service;
mod speech;

mod failures;
mod forwarded;
mod journey;
mod protocols;
mod quickstart;
mod restarts;
mod sizes;
mod smuggling;
mod smuggling_h2;
mod traces;
