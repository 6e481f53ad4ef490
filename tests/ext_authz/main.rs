//! External authorization as Envoy sees it: a real server, a real client, messages of `envoy-types`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../server_support/mod.rs"]
mod server_support;

mod answers;
mod bodies;
mod bounds;
mod lists;
mod service;
mod site;
mod start;
