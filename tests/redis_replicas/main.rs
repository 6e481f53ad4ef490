//! Several replicas over one Redis, asked by many clients at once, admit what the limits say: no more, and no less.
//!
//! Each test starts its replicas in this process, asks them over gRPC more than they may admit, and judges the answers
//! ([`judge`]) by Redis' clock, which is this machine's. `measures` are tests that print tables; run them with
//! `cargo test --test redis_replicas -- --ignored --nocapture --test-threads 1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../redis_support/mod.rs"]
mod redis_support;
#[path = "../server_support/mod.rs"]
mod server_support;

mod costs;
mod demand;
mod disruption;
mod exactness;
mod fleet;
mod ground;
mod joint;
mod judge;
mod measures;
