//! Rules that an xDS server hands out (`ratelimit.config.ratelimit.v3`), as Envoy Gateway's does for its limiter.
//!
//! - [`client`] follows the server: it connects, takes each set that is pushed, and acknowledges or refuses it,
//! - [`connect`] is one connection,
//! - [`translate`](mod@translate) turns a set into rules, with every mistake in it,
//! - [`copy`] is the last good set on disk, for a start while the server is away,
//! - [`status`] is what health and metrics tell of it.
//!
//! A push is the whole set ("state of the world"): a resource is one domain, and what is not in it is gone. A set with
//! a mistake is refused as a whole, with the reason, and the one in force stays; so it does while the server is away.

pub mod client;
pub mod connect;
pub mod copy;
pub mod status;
#[cfg(test)]
mod tests;
pub mod translate;

pub use client::Client;
pub use copy::SetCopy;
pub use status::{Standing, Status};
pub use translate::translate;

/// The type of the resources.
pub const TYPE_URL: &str = "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";
