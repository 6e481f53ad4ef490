//! The anomaly engine on the traffic of a small world.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod covers;
mod faults;
mod figures;
mod goals;
mod goes_on;
mod limits;
mod stand;
mod travel;
mod words;
mod world;
