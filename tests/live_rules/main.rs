//! Replicas that follow a repository: through outages, restored, replaced and emptied databases, and crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../redis_support/mod.rs"]
mod redis_support;

mod copied;
mod line;
mod outages;
mod story;
