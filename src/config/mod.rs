//! The settings of the process: one typed tree, where its values come from, and how it is printed.
//!
//! [`Config`] is the tree; a program that embeds Tidegate can build it directly. Five layers make it, each over the
//! ones before: the defaults, a YAML file, the environment names of envoyproxy/ratelimit ([`compat`]), the
//! environment names `TIDEGATE_...`, and flags. A `Config` that was loaded is valid as a whole; what is wrong in it
//! is told all at once, each with the field, the place it was written, and what to write instead.

pub mod anomaly;
pub mod compat;
pub mod database;
mod error;
pub mod ext_authz;
pub(crate) mod field;
mod load;
mod print;
pub mod redis;
pub mod scalar;
mod tree;
mod validate;
pub mod xds;
mod yaml;

pub use error::{ConfigError, ConfigErrors};
pub use load::{Flag, LoadOptions, Loaded, Sources};
pub use tree::{
    Admin, Config, Grpc, HeaderFamily, HeaderNames, Http, Limiter, LogFormat, Logs, Metrics, Rules, Runtime, Shutdown,
    Telemetry, Tls, TraceProtocol, Traces,
};
