//! Every EnvoyFilter in `istio/`: the very `patch.value` from its file, put into an Envoy where istiod would put it, then
//! real requests with a real Tidegate. Whether istiod does put it there is for `tests/control_planes` to show.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../envoy/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "these tests use a part")]
mod harness;

mod composition;
mod patches;
mod token;

mod files;
mod gateway;
mod sidecar;
