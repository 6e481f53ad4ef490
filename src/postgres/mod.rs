//! How PostgreSQL is reached: connections, with TLS and in a pool, and what its failures mean. It does not know what is
//! kept there.

pub mod connect;
pub mod failure;
mod tls;

pub use connect::{ConnectError, Connector, Driver};
pub use failure::Failure;
