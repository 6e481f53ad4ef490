//! Reads a reply, and repeats the call's steps by the core's algorithms.
//!
//! A log is too large to be sent. Of it a script answers how many hits are in the window, and when those came that a
//! denied hit waits for.

use fred::types::Value;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::log::Log;
use super::program::{CounterProgram, Held, Independent, Joint, Run, Step, Unit};
use super::wire::{self, LogReply};
use crate::core::algorithm::{Outcome, State};
use crate::core::clock::{Micros, Now};
use crate::core::descriptor::Operation;
use crate::core::limit::{Algorithm, Limit, Over};

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
    /// The state after the call. Of a log, one that never denies what the true one would not.
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
    /// What the call did.
    ///
    /// # Errors
    /// [`ReplyError`] when `reply` is not one to this program.
    pub fn replay(&self, reply: &Value) -> Result<IndependentReply, ReplyError> {
        let (now, mut befores) = read(reply)?;
        let mut counters = Vec::with_capacity(self.counters.len());
        for program in &self.counters {
            counters.push(replay_counter(program, now, &mut befores)?);
        }
        match befores.next() {
            None => Ok(IndependentReply { now, counters }),
            Some(_) => Err(ReplyError("more counters than were asked for")),
        }
    }
}

impl Joint {
    /// What the call did.
    ///
    /// # Errors
    /// [`ReplyError`] when `reply` is not one to this program.
    pub fn replay(&self, reply: &Value) -> Result<JointReply, ReplyError> {
        let (now, befores) = read(reply)?;
        if befores.len() != self.counters.len() {
            return Err(ReplyError("not as many counters as were asked for"));
        }
        // Occurrences of one key share the place of the first.
        let mut first = HashMap::with_capacity(self.counters.len());
        let mut places = Vec::with_capacity(self.counters.len());
        let mut states = Vec::with_capacity(self.counters.len());
        for (number, (counter, before)) in self.counters.iter().zip(befores).enumerate() {
            places.push(*first.entry(&counter.key).or_insert(number));
            states.push(Replica::new(&counter.limit, before)?);
        }
        let wall = Now { wall: now, mono: now };
        let units = self.units.iter().map(|unit| self.replay_unit(unit, &places, &mut states, wall)).collect();
        let states = places.iter().zip(&self.counters).map(|(place, counter)| {
            states.get(*place).and_then(|state| state.as_ref().ok()).map(|state| state.state(&counter.limit, now))
        });
        Ok(JointReply { now, units, states: states.collect() })
    }

    fn replay_unit(
        &self,
        unit: &Unit,
        places: &[usize],
        states: &mut [Result<Replica<'_>, CounterError>],
        now: Now,
    ) -> Result<UnitReply, CounterError> {
        // The places of the unit's counters, and their states, on which it is tried.
        let mut trial: SmallVec<[(usize, Replica<'_>); 4]> = SmallVec::new();
        let mut steps: SmallVec<[(usize, &Limit, &Step, bool); 4]> = SmallVec::new();
        for step in unit {
            let (Some(counter), Some(&place)) = (self.counters.get(step.counter), places.get(step.counter)) else {
                continue;
            };
            let position = match trial.iter().position(|(other, _)| *other == place) {
                Some(position) => position,
                None => {
                    trial.push((place, states[place].clone()?));
                    trial.len() - 1
                }
            };
            steps.push((position, &counter.limit, &step.step, step.enforced));
        }
        let before = trial.clone();
        let mut outcomes: SmallVec<[Outcome; 4]> = SmallVec::new();
        let mut verdicts: SmallVec<[Outcome; 4]> = SmallVec::new();
        let mut held = SmallVec::new();
        for (number, &(position, limit, step, _)) in steps.iter().enumerate() {
            let state = &mut trial[position].1;
            verdicts.push(state.evaluate(limit, now, step));
            let (outcome, taken) = state.perform(limit, now, step);
            outcomes.push(outcome);
            held.extend(taken.map(|taken| (number, taken)));
        }
        let refused = steps.iter().zip(&verdicts).any(|(step, verdict)| step.3 && !verdict.allowed());
        if refused {
            trial = before;
            held.clear();
            for (number, &(position, limit, step, _)) in steps.iter().enumerate() {
                let state = &mut trial[position].1;
                let outcome = match step {
                    Step::Operation(Operation::Refund(_)) => state.perform(limit, now, step).0,
                    _ => state.evaluate(limit, now, step),
                };
                outcomes[number] = Outcome { verdict: verdicts[number].verdict, ..outcome };
            }
        }
        for (place, state) in trial {
            states[place] = Ok(state);
        }
        Ok(UnitReply { charged: !refused, outcomes, held })
    }
}

/// What a script answered of one counter.
#[derive(Clone, Copy)]
struct Before<'a>(Option<&'a [u8]>);

/// The script's time, and what it answered of each counter.
fn read(reply: &Value) -> Result<(Micros, impl ExactSizeIterator<Item = Result<Before<'_>, ReplyError>>), ReplyError> {
    let Value::Array(values) = reply else { return Err(ReplyError("not an array")) };
    let Some((Value::Integer(now), befores)) = values.split_first() else { return Err(ReplyError("no time")) };
    let now = u64::try_from(*now).map_err(|_| ReplyError("a time before 1970"))?;
    let befores = befores.iter().map(|before| match before {
        Value::Null => Ok(Before(None)),
        Value::String(text) => Ok(Before(Some(text.as_bytes()))),
        Value::Bytes(bytes) => Ok(Before(Some(bytes))),
        _ => Err(ReplyError("a state that is no string")),
    });
    Ok((Micros(now), befores))
}

fn replay_counter<'a>(
    program: &CounterProgram,
    now: Micros,
    befores: &mut impl Iterator<Item = Result<Before<'a>, ReplyError>>,
) -> Result<Result<Replayed, CounterError>, ReplyError> {
    let limit = &program.counter.limit;
    let now = Now { wall: now, mono: now };
    let mut replayed = Replayed { outcomes: SmallVec::new(), held: SmallVec::new(), state: State::fresh(limit) };
    let mut result = Ok(());
    for runs in program.segments() {
        let before = befores.next().ok_or(ReplyError("fewer counters than were asked for"))?;
        match Replica::new(limit, before)? {
            Err(error) => result = Err(error),
            Ok(mut state) => {
                runs.iter().for_each(|run| replay_run(&mut state, limit, now, run, &mut replayed));
                replayed.state = state.state(limit, now.mono);
            }
        }
    }
    Ok(result.map(|()| replayed))
}

fn replay_run(state: &mut Replica<'_>, limit: &Limit, now: Now, run: &Run, replayed: &mut Replayed) {
    for done in 1..=run.times.max(1) {
        let (outcome, taken) = state.perform(limit, now, &run.step);
        replayed.held.extend(taken.map(|taken| (replayed.outcomes.len(), taken)));
        replayed.outcomes.push(outcome);
        let dropped = match run.step {
            Step::Operation(Operation::Charge(0)) | Step::Evaluate(_) | Step::Hold(0) => true,
            Step::Operation(Operation::Charge(_)) => !outcome.allowed() && limit.over() == Over::Drop,
            Step::Hold(_) => !outcome.allowed(),
            Step::Operation(Operation::Refund(_)) | Step::Release(_) => false,
        };
        if dropped {
            // It left no trace, so that the others of the run fare the same.
            replayed.outcomes.extend(std::iter::repeat_n(outcome, (run.times.max(1) - done) as usize));
            break;
        }
    }
}

/// A counter of the call, of which as much is known as the steps need.
#[derive(Clone)]
enum Replica<'a> {
    State(State),
    Log(Log<'a>),
}

impl<'a> Replica<'a> {
    fn new(limit: &Limit, before: Result<Before<'a>, ReplyError>) -> Result<Result<Self, CounterError>, ReplyError> {
        Ok(match before?.0 {
            Some([b'?']) => Err(CounterError::ClocksApart),
            Some([b'!', text @ ..]) => Err(CounterError::Refused(String::from_utf8_lossy(text).into_owned())),
            Some(bytes) if limit.algorithm() == Algorithm::SlidingWindowLog => {
                Ok(Self::Log(Log::new(LogReply::read(bytes).ok_or(ReplyError("a log that is none"))?)))
            }
            None if limit.algorithm() == Algorithm::SlidingWindowLog => return Err(ReplyError("a log is missing")),
            bytes => Ok(Self::State(wire::state(limit, bytes.unwrap_or_default()))),
        })
    }

    fn perform(&mut self, limit: &Limit, now: Now, step: &Step) -> (Outcome, Option<Held>) {
        match self {
            Self::Log(log) => log.perform(limit, now, step),
            Self::State(state) => match step {
                Step::Operation(operation) => (state.apply(limit, now, *operation), None),
                Step::Hold(hits) => {
                    let (outcome, hold) = state.hold(limit, now, *hits);
                    (outcome, hold.map(Held::State))
                }
                Step::Evaluate(hits) => (state.evaluate(limit, now, Operation::Charge(*hits)), None),
                Step::Release(Held::State(hold)) => (state.release(limit, now, hold), None),
                // Not a hold of this algorithm: nothing.
                Step::Release(Held::Members { .. }) => (state.evaluate(limit, now, Operation::Refund(0)), None),
            },
        }
    }

    fn evaluate(&self, limit: &Limit, now: Now, step: &Step) -> Outcome {
        let operation = match step {
            Step::Operation(operation) => *operation,
            Step::Hold(hits) | Step::Evaluate(hits) => Operation::Charge(*hits),
            Step::Release(_) => Operation::Refund(0),
        };
        match self {
            Self::Log(log) => log.evaluate(limit, now, operation),
            Self::State(state) => state.evaluate(limit, now, operation),
        }
    }

    fn state(&self, limit: &Limit, now: Micros) -> State {
        match self {
            Self::Log(log) => log.state(limit, now),
            Self::State(state) => state.clone(),
        }
    }
}
