//! Counters in Redis.
//!
//! A call performs steps on some counters of one slot, atomically ([`program`]). The scripts ([`scripts`]) make the
//! state transitions and answer with each counter's state as it was *before* the call and their own time; the same
//! steps are then repeated here by the core's algorithms ([`replay`]), so that verdicts, levels and waits have one
//! definition.

mod log;
pub mod program;
pub mod replay;
pub mod scripts;
mod wire;
