//! Real servers on a real Postgres, either of which may be killed at any time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../postgres_support/mod.rs"]
mod postgres_support;
#[path = "../process/mod.rs"]
mod process;

mod outage;
mod replica;
mod story;
