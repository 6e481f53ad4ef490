//! One single-threaded runtime per core, and the acceptor that spreads connections over them.
//!
//! Envoy opens about one long-lived connection per Envoy thread and host, so connections differ widely in load, and
//! counting them says little: a new one goes to the worker with the fewest requests of late, and only among about
//! equals to the one with the fewest connections. Connections age (see [`super::connection`]), so that load spreads
//! anew. One connection that carries everything stays on its worker; nothing here can divide it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{self, Shared};
use super::listener::{GrpcListener, Socket};
use super::shutdown::{Phase, Shutdown};
use crate::telemetry::shard;

/// Connections on their way to one worker.
const HANDOVER: usize = 256;
/// Connections of the whole process; further ones are closed at once.
const MAX_CONNECTIONS: usize = 20_000;
/// How fast what a worker did is forgotten: to 1/e in this time.
const MEMORY: Duration = Duration::from_secs(5);
/// Rates that differ by less than this share, or by less than [`SAME_RATE`], are about equal.
const SAME_SHARE: f64 = 0.1;
const SAME_RATE: f64 = 10.0;

/// What a worker does. It has cache lines of its own, since its worker writes with every request.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Load {
    requests: AtomicU64,
    checks: [AtomicU64; AnsweredBy::ALL.len()],
    connections: AtomicUsize,
}

/// Who answers a request of external authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The limiter.
    Limits,
    /// Nobody: nothing is asked of such requests.
    Nothing,
    /// The allow list.
    AllowList,
    /// The deny list.
    DenyList,
}

impl AnsweredBy {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Limits, Self::Nothing, Self::AllowList, Self::DenyList];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Nothing => "nothing",
            Self::AllowList => "allow_list",
            Self::DenyList => "deny_list",
        }
    }
}

/// Adds 1; only for the one thread that writes, which lets it do without a locked instruction.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

impl Load {
    /// Counts a request; only for the worker's own thread.
    pub fn count_request(&self) {
        count(&self.requests);
    }

    /// Counts an answer of external authorization; only for the worker's own thread.
    pub fn count_check(&self, by: AnsweredBy) {
        if let Some(counter) = self.checks.get(by as usize) {
            count(counter);
        }
    }

    /// Answers of external authorization since the start.
    #[must_use]
    pub fn checks(&self, by: AnsweredBy) -> u64 {
        self.checks.get(by as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Requests since the start.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Holds a connection's place in the count.
struct Place(Arc<Load>);

impl Place {
    fn take(load: &Arc<Load>) -> Self {
        load.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A worker, as the acceptor sees it.
#[derive(Debug)]
struct Worker {
    load: Arc<Load>,
    connections: mpsc::Sender<(Socket, Place)>,
    /// Requests/s of late, and what it was made of.
    rate: f64,
    seen: u64,
}

/// The workers' threads.
#[derive(Debug, Default)]
pub struct Workers {
    workers: Vec<Worker>,
    threads: Vec<JoinHandle<()>>,
    refused: Arc<Refused>,
}

/// Connections that were closed at once, because there were too many.
#[derive(Debug, Default)]
pub struct Refused(AtomicU64);

impl Refused {
    /// Since the start.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one, and tells of the first, second, fourth ...: a flood of connections must not be one of lines.
    fn add(&self, why: &str) {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(count, "connections were closed at once: {why}");
        }
    }
}

impl Workers {
    /// Starts `count` workers. `shared` makes what the connections of one worker share; it runs on the starting thread.
    /// `beside` is what a worker, by its index, does beside its connections, on its own thread.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be had.
    pub fn start<B: Future<Output = ()> + Send + 'static>(
        count: usize,
        grace: Duration,
        shared: impl Fn(Arc<Load>) -> Shared,
        beside: impl Fn(usize) -> B,
    ) -> io::Result<Self> {
        let mut all = Self::default();
        for index in 0..count {
            let load = Arc::<Load>::default();
            let (sender, receiver) = mpsc::channel(HANDOVER);
            let shared = Arc::new(shared(Arc::clone(&load)));
            let beside = beside(index);
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                shard::set(index);
                runtime.spawn(beside);
                runtime.block_on(work(receiver, shared, grace));
                // What is still running has had its time.
                runtime.shutdown_background();
            })?;
            all.workers.push(Worker { load, connections: sender, rate: 0.0, seen: 0 });
            all.threads.push(thread);
        }
        Ok(all)
    }

    /// What each worker does.
    #[must_use]
    pub fn loads(&self) -> Vec<Arc<Load>> {
        self.workers.iter().map(|worker| Arc::clone(&worker.load)).collect()
    }

    /// Connections that no worker got.
    #[must_use]
    pub fn refused(&self) -> Arc<Refused> {
        Arc::clone(&self.refused)
    }

    /// Accepts connections until the process closes, then waits for the workers to end.
    pub async fn accept(mut self, listener: GrpcListener, shutdown: Shutdown) {
        let mut measured = Instant::now();
        let closing = shutdown.reached(Phase::Closing);
        tokio::pin!(closing);
        loop {
            let socket = tokio::select! {
                biased;
                () = &mut closing => break,
                socket = listener.accept() => socket,
            };
            match socket {
                Ok(socket) => {
                    let now = Instant::now();
                    self.measure(now - measured);
                    measured = now;
                    self.assign(socket);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of file descriptors, most likely: it takes a while until some are free.
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        let Self { workers, threads, .. } = self;
        drop(workers);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker ended in a panic");
                }
            }
        });
        let _ = joined.await;
    }

    /// Forgets part of the old rates and adds what happened since.
    fn measure(&mut self, elapsed: Duration) {
        let kept = (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        for worker in &mut self.workers {
            let requests = worker.load.requests();
            let new = requests.wrapping_sub(worker.seen);
            worker.seen = requests;
            worker.rate = worker.rate * kept + new as f64 / MEMORY.as_secs_f64();
        }
    }

    fn assign(&mut self, socket: Socket) {
        let open: usize = self.workers.iter().map(|worker| worker.load.connections()).sum();
        if open >= MAX_CONNECTIONS {
            self.refused.add("there are too many");
            return;
        }
        let total: f64 = self.workers.iter().map(|worker| worker.rate).sum();
        let Some(worker) = least(&self.workers).and_then(|index| self.workers.get_mut(index)) else { return };
        // Until its requests come, the new connection counts like an average one, so that several that are opened
        // together do not all go where it is quiet at this moment.
        worker.rate += total / (open + 1) as f64;
        let place = Place::take(&worker.load);
        if worker.connections.try_send((socket, place)).is_err() {
            self.refused.add("their worker takes no more at present");
        }
    }
}

/// The worker with the lowest rate; among about equals, the one with the fewest connections.
fn least(workers: &[Worker]) -> Option<usize> {
    let lowest = workers.iter().map(|worker| worker.rate).fold(f64::INFINITY, f64::min);
    let bound = lowest + (lowest * SAME_SHARE).max(SAME_RATE);
    let equals = workers.iter().enumerate().filter(|(_, worker)| worker.rate <= bound);
    equals.min_by_key(|(_, worker)| worker.load.connections()).map(|(index, _)| index)
}

/// A worker's life: takes connections until nobody hands over any more, then lets them end.
async fn work(mut arriving: mpsc::Receiver<(Socket, Place)>, shared: Arc<Shared>, grace: Duration) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            arrived = arriving.recv() => match arrived {
                Some((socket, place)) => {
                    let shared = Arc::clone(&shared);
                    open.spawn(async move {
                        connection::serve(socket, shared).await;
                        drop(place);
                    });
                }
                None => break,
            },
            Some(_) = open.join_next() => {}
        }
    }
    let ended = timeout(grace, async { while open.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("{} connections still had calls in flight after {grace:?} and were closed", open.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(rate: f64, connections: usize) -> Worker {
        let load = Arc::<Load>::default();
        load.connections.store(connections, Ordering::Relaxed);
        Worker { load, connections: mpsc::channel(1).0, rate, seen: 0 }
    }

    #[test]
    fn requests_weigh_more_than_connections() {
        assert_eq!(least(&[worker(5_000.0, 1), worker(100.0, 50)]), Some(1));
    }

    #[test]
    fn among_equals_connections_decide() {
        assert_eq!(least(&[worker(1_000.0, 3), worker(1_050.0, 2)]), Some(1));
        assert_eq!(least(&[worker(0.0, 3), worker(5.0, 2), worker(9.0, 1)]), Some(2));
    }

    #[test]
    fn rates_are_forgotten() {
        let mut workers = Workers { workers: vec![worker(0.0, 0)], ..Workers::default() };
        for _ in 0..10_000 {
            workers.workers[0].load.count_request();
        }
        workers.measure(Duration::from_secs(1));
        assert!((workers.workers[0].rate - 2_000.0).abs() < 1e-6);
        workers.measure(MEMORY);
        assert!((workers.workers[0].rate - 2_000.0 / std::f64::consts::E).abs() < 1e-6);
    }
}
