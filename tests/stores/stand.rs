//! The stores that are tested, running as they do in a server: workers with runtimes of their own, and one for the rest.
//!
//! **Where stores may differ.** A Redis store may remember counters over their limit ([`Stand::remembers`]). What it
//! answers from memory never reaches the counter, and it knows the counter as it was, not as it is:
//! - Denied hits on a `fixed_window` that records them are not recorded.
//! - Of a request that is refused together, the hits that were not the reason are not looked at: they are answered as
//!   if nobody had charged their counters.
//! - Of a log it knows the times of a few hits, and takes all others to be as old as they can be: it reports less than
//!   is consumed ([`Stand::told`]), denies no more than the log does, and of a higher cost than was denied before tells
//!   to wait less.
//! - It takes the store's clock to be as far ahead as it can be, so that it denies nothing that would pass: what it
//!   tells to wait is too short by up to one round trip.
//!
//! In a cluster, hits that are charged all or not at all are held while the others are asked ([`Stand::holds`]):
//! - A request may be refused because of what another one holds and gives back.
//! - What is held and given back leaves an empty counter behind. It reads as none, but can be reset.
//! - In a request that is refused, a hit behind a denied one on the same counter is judged without it, where one store
//!   counts in what `over: record` would have recorded.
//! - A charge that is not enforced comes after everything else of the request, also after a refund or a peek of the same
//!   counter that stands behind it.
//!
//! In everything else, the stores answer the same.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tidegate::config::redis::{RedisConnection, Topology};
use tidegate::core::algorithm::Outcome;
use tidegate::core::clock::SystemClock;
use tidegate::core::limit::{Algorithm, Limit};
use tidegate::core::spec::Charge;
use tidegate::counters::breaker::BreakerOptions;
use tidegate::counters::local::LocalCounters;
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::counters::over_limit::{OverLimitMemory, OverLimitOptions};
use tidegate::counters::redis::backend::Backend;
use tidegate::counters::redis::connect::Connector;
use tidegate::counters::redis::fallback::Fallback;
use tidegate::counters::redis::replicas::LiveReplicas;
use tidegate::counters::redis::{Options, RedisStore, notices};
use tidegate::counters::{Answers, CounterKey, CounterStore, Hit, Outcomes};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::redis_support::{Cluster, ClusterOptions, PATIENCE, Redis, wait_until};

const WORKERS: usize = 2;
/// Long enough for a busy machine: a store that does not answer fails the test.
const DEADLINE: Duration = Duration::from_secs(5);

type Memory = MemoryStore<SystemClock>;
type RedisCounters = RedisStore<SystemClock>;

pub static MEMORY: LazyLock<Stand<Memory>> = LazyLock::new(|| {
    let store = Memory::new(SystemClock::new(), MemoryOptions::default());
    Stand::start(Box::leak(Box::new(store)), Kind { remembers: false, holds: false })
});
pub static SINGLE: LazyLock<Stand<RedisCounters>> = LazyLock::new(|| on_redis(single(), false, 0));
pub static SINGLE_REMEMBERING: LazyLock<Stand<RedisCounters>> = LazyLock::new(|| on_redis(single(), true, 0));
pub static CLUSTER: LazyLock<Stand<RedisCounters>> = LazyLock::new(|| on_redis(cluster(), false, 0));
/// Its counters share slots, and calls.
pub static CLUSTER_REMEMBERING: LazyLock<Stand<RedisCounters>> = LazyLock::new(|| on_redis(cluster(), true, 4));

/// Two stores on one server must not see each other's counters.
fn prefix(remembers: bool) -> String {
    if remembers { "remembering" } else { "strict" }.to_owned()
}

fn single() -> RedisConnection {
    static SERVER: LazyLock<Redis> = LazyLock::new(Redis::start);
    RedisConnection { urls: vec![SERVER.address()], ..RedisConnection::default() }
}

fn cluster() -> RedisConnection {
    // Nobody fails here, however busy the machine.
    static SERVERS: LazyLock<Cluster> =
        LazyLock::new(|| ClusterOptions::new(3, 1).node_timeout(Duration::from_secs(10)).start());
    let urls = SERVERS.seeds().split(',').map(str::to_owned).collect();
    RedisConnection { topology: Topology::Cluster, urls, ..RedisConnection::default() }
}

fn on_redis(connection: RedisConnection, remembers: bool, cluster_buckets: u16) -> Stand<RedisCounters> {
    let clock = SystemClock::new();
    let main = Backend::new(Connector::new(&connection, DEADLINE).unwrap(), BreakerOptions::default());
    let holds = main.is_cluster();
    let max_counters = if remembers { OverLimitOptions::default().max_counters } else { 0 };
    let local = LocalCounters::new(clock, MemoryOptions::default());
    let store = RedisCounters::new(Options {
        clock,
        prefix: prefix(remembers),
        cluster_buckets,
        deadline: DEADLINE,
        workers: WORKERS,
        max_queued: 10_000,
        main,
        per_second: None,
        memory: OverLimitMemory::new(OverLimitOptions { max_counters, ..OverLimitOptions::default() }),
        fallback: Fallback::new(local, Arc::new(LiveReplicas::new(None))),
    });
    let store: &'static RedisCounters = Box::leak(Box::new(store));
    let stand = Stand::start(store, Kind { remembers, holds });
    for (index, worker) in stand.workers.iter().enumerate() {
        worker.spawn(async move {
            RedisCounters::enter(index);
            store.work(index).await;
        });
    }
    stand.beside.spawn(store.work(WORKERS));
    for backend in store.backends() {
        stand.beside.spawn(Arc::clone(backend).keep_fresh());
    }
    stand.beside.spawn(notices::listen(store));
    wait_until("all slots have owners", || store.backends()[0].table().uncovered() == 0);
    wait_until("the subscription stands", || !store.memory().is_suspended());
    for index in 0..=WORKERS {
        stand.wait(store.connected(index));
    }
    stand
}

/// In what a store differs from others.
#[derive(Clone, Copy, Debug)]
struct Kind {
    remembers: bool,
    holds: bool,
}

/// A store that runs.
pub struct Stand<S: 'static> {
    pub store: &'static S,
    kind: Kind,
    workers: Vec<Handle>,
    beside: Runtime,
}

impl<S: CounterStore> Stand<S> {
    fn start(store: &'static S, kind: Kind) -> Self {
        let beside = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { store, kind, workers: (0..WORKERS).map(|_| worker()).collect(), beside }
    }

    /// Whether it answers hits on counters that are over their limit from memory.
    pub fn remembers(&self) -> bool {
        self.kind.remembers
    }

    /// Whether hits of one request may be held apart from each other.
    pub fn holds(&self) -> bool {
        self.kind.holds
    }

    /// Whether a denied hit may be answered with the level `told`, when so much is consumed.
    pub fn told(&self, limit: &Limit, told: u64, consumed: u64) -> bool {
        told == consumed || self.remembers() && limit.algorithm() == Algorithm::SlidingWindowLog && told < consumed
    }

    /// Waits for what comes, but not for ever.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let future = pin!(future);
        self.beside.block_on(async { timeout(PATIENCE, future).await }).expect("an answer in time")
    }

    pub fn perform(&self, hits: &[Hit<'_>], charge: Charge) -> Answers {
        self.wait(self.store.perform(hits, charge, None)).unwrap()
    }

    pub fn independent(&self, hits: &[Hit<'_>]) -> Outcomes {
        self.perform(hits, Charge::Independent).outcomes
    }

    pub fn together(&self, hits: &[Hit<'_>]) -> Outcomes {
        self.perform(hits, Charge::AllOrNothing).outcomes
    }

    pub fn one(&self, hit: Hit<'_>) -> Outcome {
        self.independent(&[hit])[0]
    }

    pub fn inspect(&self, key: &CounterKey<'_>, limit: &Limit) -> Option<Outcome> {
        self.wait(self.store.inspect(key, limit)).unwrap()
    }

    /// What is consumed; 0 of a counter that is not there.
    pub fn level(&self, key: &CounterKey<'_>, limit: &Limit) -> u64 {
        self.inspect(key, limit).map_or(0, |outcome| outcome.level)
    }

    pub fn reset(&self, key: &CounterKey<'_>, limit: &Limit) -> bool {
        self.wait(self.store.reset(key, limit)).unwrap()
    }

    /// Runs so many tasks at once, on all workers and beside them, and returns what each returns.
    pub fn in_tasks<T, F>(&self, tasks: usize, work: impl Fn(usize) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let barrier = Arc::new(Barrier::new(tasks));
        let places: Vec<&Handle> = self.workers.iter().chain([self.beside.handle()]).collect();
        let spawn = |task: usize| -> JoinHandle<T> {
            let (barrier, work) = (Arc::clone(&barrier), work(task));
            places[task % places.len()].spawn(async move {
                barrier.wait().await;
                work.await
            })
        };
        let running: Vec<_> = (0..tasks).map(spawn).collect();
        running.into_iter().map(|task| self.wait(task).unwrap()).collect()
    }
}

/// A thread with a runtime of its own.
fn worker() -> Handle {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}
