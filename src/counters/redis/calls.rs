//! Calls composed of what has gathered in a [`super::lane::Lane`], and what becomes of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use fred::types::Value;
use futures_util::future::join_all;
use smallvec::SmallVec;
use tokio::time::timeout_at;

use super::failure::Failure;
use super::lane::{Answered, Asker, Group, PendingUnit};
use super::program::{Counter, CounterProgram, Independent, Joint, Step, UnitStep};
use super::replay::{CounterError, Replayed};
use super::router::{Place, Router};
use super::shared::Shared;
use crate::core::algorithm::State;
use crate::core::clock::{Clock, Micros};
use crate::core::limit::Limit;
use crate::counters::fingerprint::Fingerprint;

/// Counters of one call. More would save little, and keep others waiting in Redis.
const MAX_COUNTERS: usize = 32;
/// Units of one call.
const MAX_UNITS: usize = 16;

/// Answers, and who waits for them.
pub(super) type Settled = Vec<(Asker, Result<Answered, Failure>)>;

/// One call.
#[derive(Debug)]
pub(super) struct Work {
    place: Place,
    program: Program,
}

#[derive(Debug)]
enum Program {
    Independent { program: Independent, keys: Vec<Fingerprint>, askers: Vec<SmallVec<[Asker; 2]>> },
    Joint { program: Joint, keys: Vec<Fingerprint>, units: Vec<PendingUnit> },
}

/// Calls for everything that waits: counters of one place together, but not too many.
pub(super) fn compose<C>(
    mut groups: Vec<Group>,
    mut units: Vec<PendingUnit>,
    shared: &Arc<Shared<C>>,
) -> impl Iterator<Item = Work> + use<C> {
    // Stable, so that several groups of one counter keep their order.
    groups.sort_by_key(|group| group.place);
    units.sort_by_key(|unit| unit.place);
    let mut calls: Vec<Work> = Vec::new();
    for group in groups {
        let Group { key, place, program: counter, askers: waiting } = group;
        match calls.last_mut() {
            Some(Work { place: last, program: Program::Independent { program, keys, askers } })
                if *last == place
                    && keys.len() < MAX_COUNTERS
                    && !releases(&counter)
                    && !program.counters.last().is_some_and(releases) =>
            {
                program.counters.push(counter);
                keys.push(key);
                askers.push(waiting);
            }
            _ => calls.push(Work {
                place,
                program: Program::Independent {
                    program: Independent { counters: vec![counter], channel: shared.channel.clone() },
                    keys: vec![key],
                    askers: vec![waiting],
                },
            }),
        }
    }
    let mut rest = units.into_iter().peekable();
    while let Some(first) = rest.next() {
        let place = first.place;
        let mut together = vec![first];
        while together.len() < MAX_UNITS
            && let Some(unit) = rest.next_if(|unit| unit.place == place)
        {
            together.push(unit);
        }
        calls.push(Work { place, program: joint(together, shared) });
    }
    calls.into_iter()
}

/// A release stands alone in its call.
fn releases(counter: &CounterProgram) -> bool {
    counter.runs.iter().any(|run| matches!(run.step, Step::Release(_)))
}

/// One program for several units; a counter that several of them charge occurs in it once.
fn joint<C>(units: Vec<PendingUnit>, shared: &Shared<C>) -> Program {
    let mut program = Joint { channel: shared.channel.clone(), ..Joint::default() };
    let mut keys: Vec<Fingerprint> = Vec::new();
    let mut known: HashMap<Fingerprint, usize, foldhash::fast::RandomState> = HashMap::default();
    for unit in &units {
        let steps = unit.steps.iter().map(|part| {
            let position = *known.entry(part.key).or_insert(keys.len());
            let same = program.counters.get(position).is_some_and(|counter| counter.limit == part.limit);
            let counter = if same {
                // The first to charge a counter may have had nothing to announce.
                if part.step.gives_back() {
                    program.counters[position].notice = Some(part.notice.clone());
                }
                position
            } else {
                keys.push(part.key);
                let notice = Some(part.notice.clone());
                program.counters.push(Counter { key: part.name.clone(), limit: part.limit.clone(), notice });
                keys.len() - 1
            };
            UnitStep { counter, step: part.step.clone(), enforced: part.enforced }
        });
        let steps = steps.collect();
        program.units.push(steps);
    }
    Program::Joint { program, keys, units }
}

impl Work {
    /// Makes the call, and says what to answer to whom.
    pub(super) async fn perform<C: Clock>(self, router: &Router<C>, shared: &Shared<C>) -> Settled {
        let deadline = Instant::now() + shared.deadline;
        let (answer, sent) = self.call(router, shared, deadline).await;
        match answer {
            // Nothing was run, as the slot is on its way and its counters are on two nodes. Each is found on its own.
            Err(Failure::Migrating) if self.program.parts() > 1 => {
                // Too rare to make room for in every call.
                Box::pin(self.perform_apart(deadline, router, shared)).await
            }
            answer => self.program.conclude(answer, sent, shared),
        }
    }

    async fn perform_apart<C: Clock>(self, deadline: Instant, router: &Router<C>, shared: &Shared<C>) -> Settled {
        let alone = self.program.apart(shared).into_iter().map(|program| async {
            let work = Self { place: self.place, program };
            let call = timeout_at(deadline.into(), work.call(router, shared, deadline));
            let (answer, sent) = call.await.unwrap_or_else(|_| (Err(Failure::Timeout), shared.clock.now().mono));
            work.program.conclude(answer, sent, shared)
        });
        join_all(alone).await.into_iter().flatten().collect()
    }

    /// Makes the call; also when it was made.
    async fn call<C: Clock>(
        &self,
        router: &Router<C>,
        shared: &Shared<C>,
        deadline: Instant,
    ) -> (Result<Value, Failure>, Micros) {
        let now = shared.clock.now();
        let call = match &self.program {
            Program::Independent { program, .. } => program.call(now.wall),
            Program::Joint { program, .. } => program.call(now.wall),
        };
        (router.run(self.place, call, deadline).await, now.mono)
    }
}

impl Program {
    /// How many calls it could be.
    fn parts(&self) -> usize {
        match self {
            Self::Independent { keys, .. } => keys.len(),
            Self::Joint { units, .. } => units.len(),
        }
    }

    /// The same as so many calls.
    fn apart<C>(self, shared: &Shared<C>) -> Vec<Self> {
        match self {
            Self::Independent { program, keys, askers } => {
                let each = program.counters.into_iter().zip(keys).zip(askers);
                let alone = each.map(|((counter, key), askers)| Self::Independent {
                    program: Independent { counters: vec![counter], channel: program.channel.clone() },
                    keys: vec![key],
                    askers: vec![askers],
                });
                alone.collect()
            }
            Self::Joint { units, .. } => units.into_iter().map(|unit| joint(vec![unit], shared)).collect(),
        }
    }

    fn conclude<C: Clock>(self, answer: Result<Value, Failure>, sent: Micros, shared: &Shared<C>) -> Settled {
        match answer {
            Ok(reply) => self.settle(reply, sent, shared),
            Err(failure) => {
                shared.stats.failed(failure);
                self.fail(failure)
            }
        }
    }

    fn settle<C: Clock>(self, reply: Value, sent: Micros, shared: &Shared<C>) -> Settled {
        shared.stats.called(self.counters(), self.steps());
        match self {
            Self::Independent { program, keys, askers } => {
                let Ok(reply) = program.replay(&reply) else {
                    shared.stats.failed(Failure::Protocol);
                    return Self::Independent { program, keys, askers }.fail(Failure::Protocol);
                };
                let mut settled = Settled::with_capacity(askers.len());
                let parts = program.counters.iter().zip(keys).zip(askers).zip(reply.counters);
                for (((counter, key), askers), replayed) in parts {
                    match replayed {
                        Ok(replayed) => {
                            let denied = replayed.outcomes.iter().any(|outcome| !outcome.allowed());
                            let gave_back = counter.runs.iter().any(|run| run.step.gives_back());
                            if gave_back {
                                shared.memory.forget(key, shared.clock.now().mono);
                            } else if denied {
                                let limit = &counter.counter.limit;
                                remember(shared, key, limit, &replayed.state, reply.now, sent);
                            } else {
                                shared.memory.passed(key);
                            }
                            answer(&mut settled, askers, replayed);
                        }
                        Err(error) => {
                            let failure = spoilt(&error, shared);
                            settled.extend(askers.into_iter().map(|asker| (asker, Err(failure))));
                        }
                    }
                }
                settled
            }
            Self::Joint { program, keys, units } => {
                let Ok(reply) = program.replay(&reply) else {
                    shared.stats.failed(Failure::Protocol);
                    return Self::Joint { program, keys, units }.fail(Failure::Protocol);
                };
                let mut settled = Settled::new();
                for (unit, answers) in units.iter().zip(reply.units) {
                    match answers {
                        Ok(answers) => {
                            for ((asker, outcome), part) in unit.askers().zip(answers.outcomes).zip(&unit.steps) {
                                settled.push((asker, Ok(Answered { outcome, held: None })));
                                let counter = program.counters.iter().zip(&keys).zip(&reply.states);
                                let state = counter
                                    .filter(|((counter, key), _)| **key == part.key && counter.limit == part.limit)
                                    .find_map(|(_, state)| state.as_ref());
                                if part.step.gives_back() {
                                    shared.memory.forget(part.key, shared.clock.now().mono);
                                } else if !outcome.allowed()
                                    && let Some(state) = state
                                {
                                    remember(shared, part.key, &part.limit, state, reply.now, sent);
                                } else if outcome.allowed() {
                                    shared.memory.passed(part.key);
                                }
                            }
                        }
                        Err(error) => {
                            let failure = spoilt(&error, shared);
                            settled.extend(unit.askers().map(|asker| (asker, Err(failure))));
                        }
                    }
                }
                settled
            }
        }
    }

    fn fail(self, failure: Failure) -> Settled {
        match self {
            Self::Independent { askers, .. } => {
                askers.into_iter().flatten().map(|asker| (asker, Err(failure))).collect()
            }
            Self::Joint { units, .. } => {
                units.iter().flat_map(PendingUnit::askers).map(|asker| (asker, Err(failure))).collect()
            }
        }
    }

    fn counters(&self) -> usize {
        match self {
            Self::Independent { keys, .. } | Self::Joint { keys, .. } => keys.len(),
        }
    }

    fn steps(&self) -> usize {
        match self {
            Self::Independent { askers, .. } => askers.iter().map(SmallVec::len).sum(),
            Self::Joint { units, .. } => units.iter().map(|unit| unit.steps.len()).sum(),
        }
    }
}

/// Each step's outcome to who asked for it.
fn answer(settled: &mut Settled, askers: SmallVec<[Asker; 2]>, replayed: Replayed) {
    let mut held = replayed.held.into_iter().peekable();
    for (position, (asker, outcome)) in askers.into_iter().zip(replayed.outcomes).enumerate() {
        let held = held.next_if(|(holder, _)| *holder == position).map(|(_, held)| held);
        settled.push((asker, Ok(Answered { outcome, held })));
    }
}

fn remember<C: Clock>(
    shared: &Shared<C>,
    key: Fingerprint,
    limit: &Limit,
    state: &State,
    redis_now: Micros,
    sent: Micros,
) {
    shared.memory.remember(key, limit, state, redis_now, sent);
}

fn spoilt<C>(error: &CounterError, shared: &Shared<C>) -> Failure {
    tracing::debug!(%error, "a counter has no answer");
    shared.stats.failed(Failure::Protocol);
    Failure::Protocol
}
