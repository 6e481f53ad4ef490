//! One worker's queue of hits on their way to Redis.
//!
//! Whatever becomes ready in one turn of the worker's event loop leaves together: hits on one counter as one run of
//! steps, counters of one place as one call, and all calls as one pipeline per node. Nothing waits for more to come:
//! the task that empties the queue is simply scheduled behind those that fill it, so a lone request leaves at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use slab::Slab;
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use super::calls::{self, Work};
use super::failure::Failure;
use super::program::{CounterProgram, Held, Run, Step};
use super::router::{Place, Router};
use super::shared::Shared;
use crate::core::algorithm::Outcome;
use crate::core::clock::Clock;
use crate::core::limit::Limit;
use crate::counters::fingerprint::Fingerprint;

/// A step on one counter.
#[derive(Debug)]
pub struct Asked<'a> {
    /// What the counter is filed under in this process.
    pub key: Fingerprint,
    /// The limit in effect.
    pub limit: &'a Limit,
    /// What to do.
    pub step: Step,
    /// Whether its denial counts, in a unit.
    pub enforced: bool,
}

/// Where a counter is, and how it is called there. Worked out only where nobody else has just asked for it.
#[derive(Clone, Debug)]
pub struct Located {
    /// Where.
    pub place: Place,
    /// Its name in Redis.
    pub name: Bytes,
    /// What is published when it is given something back.
    pub notice: Bytes,
}

/// The answer to one step.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What became of it.
    pub outcome: Outcome,
    /// What a hold took, if it fitted.
    pub held: Option<Held>,
}

/// One for each step of a request, in their order.
pub type Replies = SmallVec<[Result<Answered, Failure>; 4]>;

/// Who asked: a request, and the position of the step in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    request: usize,
    position: usize,
}

/// The steps on one counter.
#[derive(Debug)]
pub(super) struct Group {
    pub key: Fingerprint,
    pub place: Place,
    pub program: CounterProgram,
    /// One for each step, in order.
    pub askers: SmallVec<[Asker; 2]>,
}

/// The steps of one request that are charged all or not at all.
#[derive(Debug)]
pub(super) struct PendingUnit {
    pub place: Place,
    pub steps: SmallVec<[UnitPart; 4]>,
    pub request: usize,
}

/// One step of a unit.
#[derive(Debug)]
pub(super) struct UnitPart {
    pub key: Fingerprint,
    pub name: Bytes,
    pub notice: Bytes,
    pub limit: Limit,
    pub step: Step,
    pub enforced: bool,
}

/// A request that waits for its answers.
#[derive(Debug)]
struct Waiting {
    replies: Replies,
    missing: usize,
    sender: oneshot::Sender<Replies>,
}

#[derive(Debug, Default)]
struct Queue {
    groups: Vec<Group>,
    /// The group of each counter; the first, if the counter is asked for under several limits.
    index: HashMap<Fingerprint, usize, foldhash::fast::RandomState>,
    units: Vec<PendingUnit>,
    waiting: Slab<Waiting>,
}

/// The queue.
#[derive(Debug)]
pub struct Lane {
    queue: Mutex<Queue>,
    filled: Notify,
    capacity: usize,
}

impl Lane {
    /// At most `capacity` requests wait in it.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queue: Mutex::default(), filled: Notify::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Only this worker's own tasks come here (and those of the background, to a lane of theirs).
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that wait for their answers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Asks for steps, each on its own.
    ///
    /// # Errors
    /// [`Failure::QueueFull`].
    pub fn ask<'a>(
        &self,
        asked: impl ExactSizeIterator<Item = Asked<'a>>,
        locate: impl Fn(usize) -> Located,
    ) -> Result<oneshot::Receiver<Replies>, Failure> {
        let mut queue = self.lock();
        let (request, receiver) = queue.wait(self.capacity, asked.len())?;
        for (position, asked) in asked.enumerate() {
            queue.add(asked, Asker { request, position }, || locate(position));
        }
        drop(queue);
        self.filled.notify_one();
        Ok(receiver)
    }

    /// Asks for the steps of a unit, whose counters are all in one place.
    ///
    /// # Errors
    /// [`Failure::QueueFull`].
    pub fn ask_together<'a>(
        &self,
        asked: impl ExactSizeIterator<Item = (Asked<'a>, Located)>,
    ) -> Result<oneshot::Receiver<Replies>, Failure> {
        let mut queue = self.lock();
        let (request, receiver) = queue.wait(self.capacity, asked.len())?;
        let mut place = Place { backend: 0, slot: 0 };
        let part = |(asked, located): (Asked<'a>, Located)| {
            place = located.place;
            let Located { name, notice, .. } = located;
            let Asked { key, limit, step, enforced } = asked;
            UnitPart { key, name, notice, limit: limit.clone(), step, enforced }
        };
        let steps = asked.map(part).collect();
        queue.units.push(PendingUnit { place, steps, request });
        drop(queue);
        self.filled.notify_one();
        Ok(receiver)
    }

    /// Empties the queue whenever something is in it. Never ends; drop it to stop.
    pub async fn run<C: Clock>(self: Arc<Self>, router: Arc<Router<C>>, shared: Arc<Shared<C>>) {
        let mut calls = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = self.filled.notified() => {
                    let (groups, units) = self.lock().take();
                    calls.extend(calls::compose(groups, units, &shared).map(|work| self.execute(work, &router, &shared)));
                }
                Some(()) = calls.next(), if !calls.is_empty() => {}
            }
        }
    }

    async fn execute<C: Clock>(&self, work: Work, router: &Router<C>, shared: &Shared<C>) {
        let settled = work.perform(router, shared).await;
        let mut queue = self.lock();
        for (asker, reply) in settled {
            queue.answer(asker, reply);
        }
    }
}

impl Queue {
    fn wait(&mut self, capacity: usize, count: usize) -> Result<(usize, oneshot::Receiver<Replies>), Failure> {
        if self.waiting.len() >= capacity {
            return Err(Failure::QueueFull);
        }
        let (sender, receiver) = oneshot::channel();
        // Each is replaced by its answer before anybody sees it.
        let replies = (0..count).map(|_| Err(Failure::Protocol)).collect();
        Ok((self.waiting.insert(Waiting { replies, missing: count, sender }), receiver))
    }

    fn add(&mut self, asked: Asked<'_>, asker: Asker, locate: impl FnOnce() -> Located) {
        if let Step::Release(_) = asked.step {
            // Stands alone, so that nothing is numbered anew between.
            let Located { place, name, notice } = locate();
            return self.groups.push(Group::new(&asked, place, name, notice, asker));
        }
        let next = self.groups.len();
        let first = *self.index.entry(asked.key).or_insert(next);
        if let Some(group) = self.groups.get_mut(first)
            && group.program.counter.limit == *asked.limit
        {
            if asked.step.gives_back() && group.gives_nothing_back() {
                group.program.counter.notice = Some(locate().notice);
            }
            return group.push(asked.step, asker);
        }
        let Located { place, name, notice } = locate();
        self.groups.push(Group::new(&asked, place, name, notice, asker));
    }

    fn take(&mut self) -> (Vec<Group>, Vec<PendingUnit>) {
        self.index.clear();
        (std::mem::take(&mut self.groups), std::mem::take(&mut self.units))
    }

    fn answer(&mut self, asker: Asker, reply: Result<Answered, Failure>) {
        let Some(waiting) = self.waiting.get_mut(asker.request) else { return };
        if let Some(place) = waiting.replies.get_mut(asker.position) {
            *place = reply;
        }
        waiting.missing = waiting.missing.saturating_sub(1);
        if waiting.missing == 0 {
            let Waiting { replies, sender, .. } = self.waiting.remove(asker.request);
            // Who asked may have gone.
            let _ = sender.send(replies);
        }
    }
}

impl Group {
    fn new(asked: &Asked<'_>, place: Place, name: Bytes, notice: Bytes, asker: Asker) -> Self {
        let counter = super::program::Counter { key: name, limit: asked.limit.clone(), notice: Some(notice) };
        let runs = SmallVec::from_iter([Run { step: asked.step.clone(), times: 1 }]);
        Self { key: asked.key, place, program: CounterProgram { counter, runs }, askers: SmallVec::from_iter([asker]) }
    }

    /// Whether no step so far can make others forget something, so that a notice may be missing.
    fn gives_nothing_back(&self) -> bool {
        !self.program.runs.iter().any(|run| run.step.gives_back())
    }

    fn push(&mut self, step: Step, asker: Asker) {
        self.askers.push(asker);
        match self.program.runs.last_mut() {
            Some(run) if run.step == step => run.times = run.times.saturating_add(1),
            _ => self.program.runs.push(Run { step, times: 1 }),
        }
    }
}

impl PendingUnit {
    /// Who asked for each step.
    pub(super) fn askers(&self) -> impl Iterator<Item = Asker> + use<> {
        let request = self.request;
        (0..self.steps.len()).map(move |position| Asker { request, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::Micros;
    use crate::core::descriptor::Operation;
    use crate::core::limit::{LimitParts, Window};

    #[test]
    fn a_refund_behind_a_charge_brings_its_own_notice() {
        let limit = Limit::new(LimitParts::fixed_window(1, Window::Length(Micros::SECOND))).unwrap();
        let key = Fingerprint { high: 1, low: 2 };
        let place = Place { backend: 0, slot: 0 };
        let mut queue = Queue::default();
        let mut add = |operation, notice: &'static str| {
            let asked = Asked { key, limit: &limit, step: Step::Operation(operation), enforced: false };
            let name = Bytes::from_static(b"name");
            let located = Located { place, name, notice: Bytes::from_static(notice.as_bytes()) };
            queue.add(asked, Asker { request: 0, position: 0 }, || located);
        };
        add(Operation::Charge(1), "");
        add(Operation::Refund(1), "forget");
        add(Operation::Charge(1), "");
        let (groups, _) = queue.take();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].program.counter.notice.as_deref(), Some(&b"forget"[..]));
        assert_eq!(groups[0].program.runs.len(), 3);
    }
}
