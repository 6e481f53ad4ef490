//! What is measured of a client: [`Feature`] lists it, with formulas, units and ranges.
//!
//! [`clients::Clients`] follows clients one by one in bounded memory, [`client::Client`] is what is remembered of one,
//! and [`Client::vector`](client::Client::vector) makes features of it. What the source does not tell is missing (NaN),
//! not zero.

pub mod client;
pub mod clients;
pub mod decay;
mod distinct;
pub mod list;
pub mod names;
pub mod template;
pub mod walk;

pub use list::{Feature, Vector};
