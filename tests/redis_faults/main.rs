//! What becomes of requests when Redis fails: they are answered in time, by their rules' failure modes, and Redis is
//! used again soon after it is back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../process/mod.rs"]
mod process;
#[path = "../redis_support/mod.rs"]
mod redis_support;
#[path = "../server_support/mod.rs"]
mod server_support;

mod cluster;
mod drill;
mod load;
mod measure;
mod network;
mod replicas;
mod sentinel;
mod single;
mod site;
