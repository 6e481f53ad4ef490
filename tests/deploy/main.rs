//! The files of `deploy/` and the image, without a container engine and without a cluster: what they say fits together,
//! and the picture of `deploy/docker-compose.yml` runs with its very configurations, at other addresses.
//! `tests/control_planes` renders the chart and the manifests, and shows them to an API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::duplicate_mod, reason = "the supports of Redis and Postgres share files")]

#[path = "../envoy/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "these tests use a part")]
mod harness;
#[path = "../postgres_support/mod.rs"]
mod postgres_support;
#[path = "../redis_support/mod.rs"]
mod redis_support;

mod chart;
mod collector;
mod compose;
mod documents;
mod image;
mod kubernetes;
mod picture;
