//! The files of `istio/` and `deploy/` with the real control planes: a Kubernetes API server, istiod, Envoy Gateway.
//!
//! These need programs that take 20 minutes to build, so they are ignored unless asked for: `scripts/test-control-planes`
//! builds the programs and runs the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod harness;

#[path = "../deploy/documents.rs"]
#[allow(dead_code, reason = "these tests use a part")]
mod documents;
#[path = "../istio_filters/token.rs"]
mod token;

mod analysis;
mod api_server;
mod chart;
mod envoy_gateway;
mod istio;
mod manifests;
