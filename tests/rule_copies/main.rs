//! Copies of the rules, on disk and in Redis: what is read is always a state that was, whatever happened to the writer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../redis_support/mod.rs"]
mod redis_support;

mod child;
mod disk;
mod measure;
mod model;
mod redis;
