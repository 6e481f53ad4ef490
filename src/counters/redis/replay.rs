//! Reads a reply, and repeats the call's steps by the core's algorithms.

use fred::types::Value;
use smallvec::SmallVec;

use super::program::{Call, Held, Independent, Joint};
use super::scripts;
use crate::core::algorithm::{Outcome, State};
use crate::core::clock::Micros;

/// Why one counter of a call has no answer; the others do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// Redis refused to read it.
    #[error("Redis refuses to read the counter: {0}")]
    Refused(String),
    /// The script's time is in none of the three calendar windows around the caller's.
    #[error("the clock of Redis is more than a calendar window away from this machine's")]
    ClocksApart,
}

/// A reply that no script of ours gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected reply of a counter script: {0}")]
pub struct ReplyError(pub &'static str);

/// What a call did to one counter.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// One for each step, in order; a run of `n` times has `n`.
    pub outcomes: SmallVec<[Outcome; 2]>,
    /// What each hold that fitted took, with the position of its outcome. In order.
    pub held: SmallVec<[(usize, Held); 1]>,
    /// The state after the call. Of a log, one that denies no more than the true one does.
    pub state: State,
}

/// What a call did to counters.
#[derive(Clone, Debug)]
pub struct IndependentReply {
    /// The script's time, microseconds since the Unix epoch.
    pub now: Micros,
    /// One for each counter of the program.
    pub counters: Vec<Result<Replayed, CounterError>>,
}

/// What a unit did.
#[derive(Clone, Debug)]
pub struct UnitReply {
    /// Whether it was charged: no enforced charge was denied.
    pub charged: bool,
    /// One for each step of the unit.
    pub outcomes: SmallVec<[Outcome; 4]>,
    /// What each hold that fitted took, with the position of its outcome; none when the unit was not charged.
    pub held: SmallVec<[(usize, Held); 1]>,
}

/// What a call did to units.
#[derive(Clone, Debug)]
pub struct JointReply {
    /// The script's time, microseconds since the Unix epoch.
    pub now: Micros,
    /// One for each unit of the program. A unit with a counter that has no answer did nothing.
    pub units: Vec<Result<UnitReply, CounterError>>,
    /// The state of each counter after the call; `None` where it has no answer.
    pub states: Vec<Option<State>>,
}

impl Independent {
    /// What to send. `wall` is the caller's clock, for calendar windows only.
    #[must_use]
    pub fn call(&self, wall: Micros) -> Call {
        let _ = wall;
        Call { script: &scripts::INDEPENDENT, keys: Vec::new(), args: Vec::new() }
    }

    /// What the call did.
    ///
    /// # Errors
    /// [`ReplyError`] when `reply` is not one to this program.
    pub fn replay(&self, reply: Value) -> Result<IndependentReply, ReplyError> {
        let _ = reply;
        Err(ReplyError("not written yet"))
    }
}

impl Joint {
    /// What to send. `wall` is the caller's clock, for calendar windows only.
    #[must_use]
    pub fn call(&self, wall: Micros) -> Call {
        let _ = wall;
        Call { script: &scripts::JOINT, keys: Vec::new(), args: Vec::new() }
    }

    /// What the call did.
    ///
    /// # Errors
    /// [`ReplyError`] when `reply` is not one to this program.
    pub fn replay(&self, reply: Value) -> Result<JointReply, ReplyError> {
        let _ = reply;
        Err(ReplyError("not written yet"))
    }
}
