//! Rules in Postgres: migrations, constraints, roles, notices, faults. What every repository must do is not here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod connections;
mod faults;
mod ground;
mod notices;
#[path = "../postgres_support/mod.rs"]
mod postgres_support;
mod roles;
mod schema;
mod size;
mod sql;
mod tokens;
