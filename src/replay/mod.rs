//! A log of requests, run through the engine in virtual time.
//!
//! ```text
//! log -> entry -> enforcement (limiter) -> observation -> engine
//!                      ^                                   |
//!                      +-- adjustments <- interval's end <-+
//! ```
//!
//! [`log`] reads, [`enforcement`] decides by the very limiter that serves, [`run`](run::run) turns the wheel, and what
//! happened ends in a [`report`] for programs and a [page](html) for people. The clock is that of the log: what the
//! limiter and the engine do in a week of traffic does not depend on how fast it is replayed.

pub mod enforcement;
pub mod html;
pub mod log;
mod questions;
pub mod report;
pub mod run;
mod subjects;
pub mod timeline;
