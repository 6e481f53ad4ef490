//! The scripts in a real Redis agree with the core's algorithms in everything, step by step, in injected time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../redis_support/mod.rs"]
mod redis_support;

mod cost;
mod edges;
mod holds;
mod independent;
mod joint;
mod muldiv;
mod schedules;
mod server;
