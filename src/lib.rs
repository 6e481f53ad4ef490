//! Tidegate: rate limits and external authorization for Envoy and Istio.
//!
//! The rooms, from the top; each knows only those below it: [`cli`], [`server`], [`limiter`], [`rules`] and
//! [`counters`], [`authz`] and [`anomaly`], [`telemetry`], [`config`], [`core`]. Beside them are [`redis`] and
//! [`postgres`], how those are reached, [`tls`] towards servers, [`seal`], which shows whether what was kept elsewhere is
//! genuine, [`wire`], the encoding of Protocol Buffers, and [`threads`], which tells the kernel who comes first.
//! `docs/architecture.md` walks through them.

pub mod anomaly;
pub mod authz;
pub mod cli;
pub mod config;
pub mod core;
pub mod counters;
pub mod limiter;
pub mod postgres;
pub mod redis;
pub mod rules;
pub mod seal;
pub mod server;
pub mod telemetry;
pub mod threads;
pub mod tls;
pub mod wire;
