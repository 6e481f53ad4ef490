//! The store: hits in, answers out.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::types::Value;
use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::backend::Backend;
use super::failure::Failure;
use super::fallback::{Fallback, Reply};
use super::key;
use super::lane::{Answered, Asked, Lane, Located, Replies};
use super::notices;
use super::program::{Call, Step};
use super::router::{Place, Router};
use super::scripts::Script;
use super::shared::{Shared, Stats};
use crate::core::algorithm::{Outcome, Verdict};
use crate::core::clock::{Clock, Micros};
use crate::core::descriptor::Operation;
use crate::core::limit::{Limit, MAX_HITS, Window};
use crate::core::spec::{Charge, FailureMode};
use crate::counters::fingerprint::{Fingerprint, Fingerprints};
use crate::counters::over_limit::OverLimitMemory;
use crate::counters::{Answers, CounterKey, CounterStore, Deadline, Hit, Source, StoreError};

/// How long something may take that no decision waits for.
const BESIDE: Duration = Duration::from_millis(250);

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// What a store is made of.
#[derive(Debug)]
pub struct Options<C> {
    /// The time of this machine.
    pub clock: C,
    /// First part of every key, and of the channel.
    pub prefix: String,
    /// Tags that the counters of a cluster share; 0 gives each its own.
    pub cluster_buckets: u16,
    /// How long a decision may take.
    pub deadline: Duration,
    /// Workers; one more queue is for everything else.
    pub workers: usize,
    /// The most requests that wait in one worker's queue.
    pub max_queued: usize,
    /// Where counters are.
    pub main: Backend,
    /// Where those of limits per second are, if elsewhere.
    pub per_second: Option<Backend>,
    /// Counters known to be over their limit.
    pub memory: OverLimitMemory,
    /// What answers when Redis does not.
    pub fallback: Fallback<C>,
}

/// Keeps counters in Redis. Cheap to clone; clones are the same store.
#[derive(Debug)]
pub struct RedisStore<C>(Arc<Inner<C>>);

impl<C> Clone for RedisStore<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
pub(super) struct Inner<C> {
    prefix: String,
    cluster_buckets: u16,
    fingerprints: Fingerprints,
    backends: Vec<Arc<Backend>>,
    /// One for each worker, and the last for everybody else.
    lanes: Box<[Way<C>]>,
    pub(super) shared: Arc<Shared<C>>,
    pub(super) fallback: Fallback<C>,
}

/// One worker's queue, and its connections.
type Way<C> = (Arc<Lane>, Arc<Router<C>>);

/// Hits of one request that need an answer from Redis, by their positions.
type Positions = SmallVec<[usize; 4]>;

impl<C: Clock + Clone> RedisStore<C> {
    /// Nothing is connected before [`RedisStore::work`].
    #[must_use]
    pub fn new(options: Options<C>) -> Self {
        let Options {
            clock,
            prefix,
            cluster_buckets,
            deadline,
            workers,
            max_queued,
            main,
            per_second,
            memory,
            fallback,
        } = options;
        let backends: Vec<_> = [Some(main), per_second].into_iter().flatten().map(Arc::new).collect();
        let lane = |_| {
            let router = Router::new(&backends, clock.clone());
            (Arc::new(Lane::new(max_queued)), Arc::new(router))
        };
        let lanes = (0..=workers).map(lane).collect();
        let channel = Bytes::from(notices::channel(&prefix));
        let stats = Stats::default();
        Self(Arc::new(Inner {
            fingerprints: Fingerprints::random(),
            lanes,
            shared: Arc::new(Shared { clock, deadline, channel, memory, stats }),
            fallback,
            backends,
            prefix,
            cluster_buckets,
        }))
    }

    /// The work of worker `index`, counting from 0; further ones, and any thread that has not called this, are
    /// everybody else's. To be run on the worker's own runtime; never ends.
    pub fn work(&self, index: usize) -> impl Future<Output = ()> + Send + 'static {
        let index = index.min(self.0.lanes.len() - 1);
        let (lane, router) = &self.0.lanes[index];
        let (lane, router, shared) = (Arc::clone(lane), Arc::clone(router), Arc::clone(&self.0.shared));
        async move {
            tokio::join!(router.keep_warm(), lane.run(Arc::clone(&router), shared));
        }
    }

    /// Makes this thread ask by the queue of worker `index`.
    pub fn enter(index: usize) {
        LANE.set(index);
    }

    /// Waits until the connections of worker `index` stand.
    pub fn connected(&self, index: usize) -> impl Future<Output = ()> + Send + 'static {
        let index = index.min(self.0.lanes.len() - 1);
        let router = Arc::clone(&self.0.lanes[index].1);
        async move { router.connected().await }
    }

    /// The deployments: the main one, and that of limits per second.
    #[must_use]
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.0.backends
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.0.shared.stats
    }

    /// Counters known to be over their limit.
    #[must_use]
    pub fn memory(&self) -> &OverLimitMemory {
        &self.0.shared.memory
    }

    /// What answers when Redis does not.
    #[must_use]
    pub fn fallback(&self) -> &Fallback<C> {
        &self.0.fallback
    }

    /// What a counter is called in Redis.
    #[must_use]
    pub fn key_name(&self, key: &CounterKey<'_>, limit: &Limit) -> String {
        String::from_utf8_lossy(&self.0.name(key, limit).1).into_owned()
    }

    /// Runs a script on one key of the main deployment, which is called `<prefix>:<name>`, beside all requests.
    ///
    /// # Errors
    /// Why there is no answer in time.
    pub(super) async fn run_beside(
        &self,
        name: &str,
        script: &'static Script,
        args: Vec<Bytes>,
    ) -> Result<Value, Failure> {
        let inner = &self.0;
        let name = Bytes::from(format!("{}:{name}", inner.prefix));
        let slot = if inner.backends[0].is_cluster() { key::slot(&name) } else { 0 };
        let call = Call { script, keys: vec![name], args };
        let deadline = Instant::now() + inner.shared.deadline.max(BESIDE);
        let (_, router) = &inner.lanes[inner.lanes.len() - 1];
        router.run(Place { backend: 0, slot }, call, deadline).await
    }

    /// The time of this machine, on the clock of what is remembered.
    pub(super) fn now(&self) -> Micros {
        self.0.shared.clock.now().mono
    }

    /// Where notices are published.
    pub(super) fn channel(&self) -> &[u8] {
        &self.0.shared.channel
    }

    /// Forgets what is remembered of a counter, as another replica has said.
    pub fn forget(&self, space: u128, values: &[&[u8]]) {
        let key = CounterKey { space, name: crate::counters::CounterName::default(), values: values.into() };
        let now = self.0.shared.clock.now().mono;
        self.0.shared.memory.forget(self.0.fingerprints.of(&key), now);
    }
}

impl<C: Clock + Clone> Inner<C> {
    pub(super) fn lane(&self) -> &Way<C> {
        &self.lanes[LANE.get().min(self.lanes.len() - 1)]
    }

    pub(super) fn locate(&self, hit: &Hit<'_>) -> Located {
        let (place, name) = self.name(&hit.key, hit.limit);
        let notice = match hit.operation {
            Operation::Charge(_) => Bytes::new(),
            Operation::Refund(_) => notices::encode(hit.key.space, &hit.key.values),
        };
        Located { place, name, notice }
    }

    /// Where a counter is, and what it is called there.
    fn name(&self, key: &CounterKey<'_>, limit: &Limit) -> (Place, Bytes) {
        // There are two at most.
        let backend = u8::from(self.backends.len() > 1 && *limit.window() == Window::Length(Micros::SECOND));
        let is_cluster = self.backends[usize::from(backend)].is_cluster();
        let name = key::name(&self.prefix, key, limit, if is_cluster { self.cluster_buckets } else { 0 });
        let slot = if is_cluster { key::slot(&name) } else { 0 };
        (Place { backend, slot }, name)
    }

    /// Waits for the answers to `count` steps, but no longer than they are of use.
    pub(super) async fn replies(
        &self,
        asked: Result<oneshot::Receiver<Replies>, Failure>,
        deadline: Deadline,
        count: usize,
    ) -> Replies {
        let failed = |failure| (0..count).map(|_| Err(failure)).collect();
        let receiver = match asked {
            Ok(receiver) => receiver,
            Err(failure) => {
                self.shared.stats.failed(failure);
                return failed(failure);
            }
        };
        let answer = match deadline {
            // The calls keep to the store's own.
            Some(deadline) if deadline < Instant::now() + self.shared.deadline => {
                match timeout_at(deadline.into(), receiver).await {
                    Ok(answer) => answer,
                    Err(_) => return failed(Failure::Timeout),
                }
            }
            _ => receiver.await,
        };
        answer.unwrap_or_else(|_| failed(Failure::Disconnected))
    }

    async fn independent(&self, hits: &[Hit<'_>], deadline: Deadline) -> SmallVec<[Reply; 4]> {
        let now = self.shared.clock.now().mono;
        let keys: SmallVec<[Fingerprint; 4]> = hits.iter().map(|hit| self.fingerprints.of(&hit.key)).collect();
        let mut replies: SmallVec<[Reply; 4]> = SmallVec::new();
        let mut asked = Positions::new();
        for (position, (hit, key)) in hits.iter().zip(&keys).enumerate() {
            // What the request does to the same counter before, a refund perhaps, is not remembered yet.
            let follows = asked.iter().any(|&before| keys[before] == *key);
            let remembered = || self.shared.memory.answer(*key, hit.limit, hit.operation, now);
            match (!follows).then(remembered).flatten() {
                Some(outcome) => replies.push(Reply::Remembered(outcome)),
                None => {
                    asked.push(position);
                    replies.push(Reply::Failed(Failure::Protocol));
                }
            }
        }
        if asked.is_empty() {
            return replies;
        }
        let steps = asked.iter().map(|&position| Asked {
            key: keys[position],
            limit: hits[position].limit,
            step: Step::Operation(hits[position].operation),
            enforced: false,
        });
        let waiting = self.lane().0.ask(steps, |position| self.locate(&hits[asked[position]]));
        let answers = self.replies(waiting, deadline, asked.len()).await;
        for (&position, answer) in asked.iter().zip(answers) {
            replies[position] = answer.into();
        }
        replies
    }

    /// Whether memory denies an enforced hit of a request that is charged all or not at all. Its other hits are then
    /// not looked at, and answered as if nobody had ever charged them.
    fn refused_by_memory(&self, hits: &[Hit<'_>], keys: &[Fingerprint]) -> Option<SmallVec<[Reply; 4]>> {
        let now = self.shared.clock.now().mono;
        let mut refused = false;
        let replies = hits.iter().zip(keys).map(|(hit, key)| {
            let remembered = match hit.enforced {
                true => self.shared.memory.answer(*key, hit.limit, hit.operation, now),
                false => None,
            };
            refused |= remembered.is_some();
            Reply::Remembered(remembered.unwrap_or_else(|| untouched(hit.limit)))
        });
        let replies = replies.collect();
        // What would be given back is given back all the same.
        let refunds = hits.iter().any(|hit| matches!(hit.operation, Operation::Refund(_)));
        (refused && !refunds).then_some(replies)
    }
}

/// The outcome of a hit on a counter that nobody has ever charged.
fn untouched(limit: &Limit) -> Outcome {
    Outcome { verdict: Verdict::Allowed, level: 0, remaining: limit.capacity(), reset_after: Micros::ZERO }
}

impl From<Result<Answered, Failure>> for Reply {
    fn from(answer: Result<Answered, Failure>) -> Self {
        match answer {
            Ok(answered) => Self::Counted(answered.outcome),
            Err(failure) => Self::Failed(failure),
        }
    }
}

impl<C: Clock + Clone> CounterStore for RedisStore<C> {
    async fn perform(&self, hits: &[Hit<'_>], charge: Charge, deadline: Deadline) -> Result<Answers, StoreError> {
        let inner = &self.0;
        let replies = match charge {
            Charge::Independent => inner.independent(hits, deadline).await,
            Charge::AllOrNothing => {
                let keys: SmallVec<[Fingerprint; 4]> = hits.iter().map(|hit| inner.fingerprints.of(&hit.key)).collect();
                match inner.refused_by_memory(hits, &keys) {
                    Some(replies) => replies,
                    None => return super::joint::perform(inner, hits, &keys, deadline).await,
                }
            }
        };
        inner.fallback.conclude(hits, charge, replies)
    }

    async fn inspect(&self, key: &CounterKey<'_>, limit: &Limit) -> Result<Option<Outcome>, StoreError> {
        let inner = &self.0;
        let hit = Hit {
            key: key.reborrow(),
            limit,
            operation: Operation::Charge(0),
            enforced: true,
            failure_mode: FailureMode::Error,
        };
        let step = if limit.post_paid() { Step::Operation(hit.operation) } else { Step::Evaluate(1) };
        let asked = Asked { key: inner.fingerprints.of(key), limit, step, enforced: true };
        let waiting = inner.lane().0.ask([asked].into_iter(), |_| inner.locate(&hit));
        let mut replies = inner.replies(waiting, None, 1).await;
        match replies.swap_remove(0) {
            // One that nobody has charged is as one that is not there.
            Ok(answered) => Ok(Some(answered.outcome).filter(|outcome| outcome.level > 0)),
            Err(failure) => Err(StoreError::Unavailable(failure.name().to_owned())),
        }
    }

    async fn reset(&self, key: &CounterKey<'_>, limit: &Limit) -> Result<bool, StoreError> {
        let inner = &self.0;
        let hit = Hit {
            key: key.reborrow(),
            limit,
            operation: Operation::Refund(MAX_HITS),
            enforced: true,
            failure_mode: FailureMode::Error,
        };
        let Located { place, name, notice } = inner.locate(&hit);
        let call = super::scripts::reset(name, inner.shared.channel.clone(), notice);
        let deadline = Instant::now() + inner.shared.deadline;
        let answer = inner.lane().1.run(place, call, deadline).await;
        let local = inner.fallback.reset(key, limit).await;
        inner.shared.memory.forget(inner.fingerprints.of(key), inner.shared.clock.now().mono);
        match answer {
            Ok(value) => Ok(value.as_i64().unwrap_or_default() > 0 || local),
            Err(failure) => Err(StoreError::Unavailable(failure.name().to_owned())),
        }
    }

    fn live_counters(&self) -> u64 {
        self.0.fallback.live_counters()
    }
}

/// Sources of answers that did not come from the counters.
pub(super) fn source(reply: &Reply) -> Source {
    match reply {
        Reply::Remembered(_) => Source::OverLimitMemory,
        Reply::Counted(_) | Reply::Failed(_) => Source::Counter,
    }
}
