//! What one script call is asked: counters, and what to do to each, in the order of arrival.
//!
//! An [`Independent`] program performs runs of steps, counter by counter. A [`Joint`] program performs units: the hits
//! of one request that are charged all or not at all. Both become a [`Call`], and read its reply by
//! [`Independent::replay`] and [`Joint::replay`] (see [`super::replay`]).
//!
//! All keys of a call lie in one slot. A key may occur more than once, for example with different limits: the
//! occurrences see each other, in order.

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use super::scripts::{self, Script};
use super::wire;
use crate::core::algorithm::Hold;
use crate::core::clock::Micros;
use crate::core::descriptor::Operation;
use crate::core::limit::{Algorithm, Limit};

/// A counter, and the limit in effect.
#[derive(Clone, Debug)]
pub struct Counter {
    /// Its key in Redis.
    pub key: Bytes,
    /// The limit. Its algorithm and window belong to the key; its amount may change from call to call.
    pub limit: Limit,
    /// What is published when a refund or a release lowers its level, so that others forget what they remember of it.
    /// Needed only with such steps; without it nothing is published.
    pub notice: Option<Bytes>,
}

/// What is done to a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An operation, as [`crate::core::algorithm::State::apply`] performs it.
    Operation(Operation),
    /// A charge that leaves nothing behind when it does not fit, whatever the limit's `over` says; a post-paid one
    /// always fits. What it takes can be given back by [`Step::Release`].
    Hold(u64),
    /// Asks whether so many hits would fit, and takes nothing.
    Evaluate(u64),
    /// Gives back what a hold took, as far as it still counts. Never gives back anything else, so it is harmless after
    /// the window's end. To be sent once for a hold. Not part of a unit.
    Release(Held),
}

impl Step {
    /// Whether it can lower a level, so that others must forget what they remember.
    #[must_use]
    pub const fn gives_back(&self) -> bool {
        matches!(self, Self::Operation(Operation::Refund(1..)) | Self::Release(_))
    }
}

/// What a hold took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// From a window or a bucket.
    State(Hold),
    /// From a log: its members.
    Members {
        /// The sequence number of the first.
        first: u64,
        /// How many there are, with consecutive numbers.
        count: u64,
    },
}

/// A step, several times in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The step.
    pub step: Step,
    /// How often; at least 1.
    pub times: u32,
}

impl From<Operation> for Run {
    fn from(operation: Operation) -> Self {
        Self { step: Step::Operation(operation), times: 1 }
    }
}

/// A counter and the runs on it, in order.
#[derive(Clone, Debug)]
pub struct CounterProgram {
    /// Which counter.
    pub counter: Counter,
    /// What is done to it.
    pub runs: SmallVec<[Run; 2]>,
}

/// Steps on counters, each on its own. At most 65 535; those of one algorithm in a row cost a little less.
#[derive(Clone, Debug, Default)]
pub struct Independent {
    /// The counters, in order.
    pub counters: Vec<CounterProgram>,
    /// Where notices are published.
    pub channel: Bytes,
}

/// One hit of a unit.
#[derive(Clone, Debug)]
pub struct UnitStep {
    /// Which of the program's counters, by its number.
    pub counter: usize,
    /// What is done to it: an operation or a hold.
    pub step: Step,
    /// Whether its denial keeps the whole unit from being charged.
    pub enforced: bool,
}

/// The hits of one request.
pub type Unit = SmallVec<[UnitStep; 4]>;

/// Units of hits on counters. A unit in which an enforced charge is denied charges nothing; its refunds are performed
/// all the same. Hits that are charged independently are units of one that is not enforced. At most 65 535 counters, and
/// as many steps in a unit.
#[derive(Clone, Debug, Default)]
pub struct Joint {
    /// The counters.
    pub counters: Vec<Counter>,
    /// The units, in order.
    pub units: Vec<Unit>,
    /// Where notices are published.
    pub channel: Bytes,
}

impl CounterProgram {
    /// The runs that the script performs in one go. On a log a release needs one of its own.
    pub(super) fn segments(&self) -> SmallVec<[&[Run]; 1]> {
        if self.counter.limit.algorithm() != Algorithm::SlidingWindowLog || self.runs.len() < 2 {
            return smallvec![&self.runs[..]];
        }
        let together = |a: &Run, b: &Run| ![a, b].iter().any(|run| matches!(run.step, Step::Release(_)));
        self.runs.chunk_by(together).collect()
    }
}

impl Independent {
    /// What to send. `wall` is the caller's clock, for calendar windows only.
    #[must_use]
    pub fn call(&self, wall: Micros) -> Call {
        let mut call = CallBuilder::new(&scripts::INDEPENDENT, self.counters.len(), 1);
        for program in &self.counters {
            for runs in program.segments() {
                let gives_back = runs.iter().any(|run| run.step.gives_back());
                call.counter(&program.counter, gives_back, wall);
                for run in runs {
                    wire::put_run(&mut call.buffer, &program.counter.limit, run);
                }
                call.end_argument();
            }
        }
        call.finish(&self.channel)
    }
}

impl Joint {
    /// What to send. `wall` is the caller's clock, for calendar windows only.
    #[must_use]
    pub fn call(&self, wall: Micros) -> Call {
        let mut gives_back: SmallVec<[bool; 16]> = smallvec![false; self.counters.len()];
        for step in self.units.iter().flatten().filter(|step| step.step.gives_back()) {
            if let Some(gives_back) = gives_back.get_mut(step.counter) {
                *gives_back = true;
            }
        }
        let mut call = CallBuilder::new(&scripts::JOINT, self.counters.len(), 2);
        for (counter, gives_back) in self.counters.iter().zip(gives_back) {
            call.counter(counter, gives_back, wall);
            call.end_argument();
        }
        for unit in &self.units {
            wire::put_unit(&mut call.buffer, &self.counters, unit);
        }
        call.end_argument();
        call.finish(&self.channel)
    }
}

/// What is sent: `EVALSHA script.sha1 keys.len() keys... args...`.
#[derive(Clone, Debug)]
pub struct Call {
    /// The script.
    pub script: &'static Script,
    /// KEYS.
    pub keys: Vec<Bytes>,
    /// ARGV.
    pub args: Vec<Bytes>,
}

/// A call in the making. All arguments are pieces of one buffer.
struct CallBuilder {
    script: &'static Script,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
    buffer: BytesMut,
    notices: Vec<Bytes>,
}

impl CallBuilder {
    fn new(script: &'static Script, counters: usize, more: usize) -> Self {
        Self {
            script,
            keys: Vec::with_capacity(counters),
            args: Vec::with_capacity(counters + more),
            buffer: BytesMut::with_capacity(counters * wire::USUAL_ARGUMENT),
            notices: Vec::new(),
        }
    }

    /// Begins the argument of one more counter.
    fn counter(&mut self, counter: &Counter, gives_back: bool, wall: Micros) {
        let mut notice = 0;
        if gives_back && let Some(payload) = &counter.notice {
            self.notices.push(payload.clone());
            notice = self.notices.len();
        }
        wire::put_head(&mut self.buffer, &counter.limit, notice, wall);
        self.keys.push(counter.key.clone());
    }

    fn end_argument(&mut self) {
        self.args.push(self.buffer.split().freeze());
    }

    fn finish(mut self, channel: &Bytes) -> Call {
        if !self.notices.is_empty() {
            self.args.push(channel.clone());
            self.args.append(&mut self.notices);
        }
        Call { script: self.script, keys: self.keys, args: self.args }
    }
}
