//! The anomaly worker: it sees what clients do, finds those that do not behave as calm traffic does, says why, and
//! tightens what they may do until they calm down.
//!
//! Everything that decides is pure and takes its time from whoever calls: a replay of a log in virtual time runs the
//! very same code as the worker does on live traffic. [`observation`] is what comes in, [`event`] what goes out,
//! [`engine`] what stands between.

pub mod baseline;
mod bounded;
pub mod bus;
pub mod engine;
pub mod event;
pub mod features;
pub mod findings;
pub mod geo;
pub mod incidents;
pub mod model;
pub mod observation;
pub mod observe;
pub mod policy;
pub mod simulate;
pub mod surge;
pub mod worker;
