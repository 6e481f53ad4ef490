//! Replicas in this process, over one Redis.

use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::config::redis::Redis as Settings;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;

use crate::server_support::{SOON, Server, channel, start};

pub type Client = RateLimitServiceClient<Channel>;

/// Connections of the clients to each replica.
const CHANNELS: usize = 2;

/// Replicas, and the runtime of those who ask them.
pub struct Fleet {
    pub servers: Vec<Server>,
    pub runtime: Runtime,
    clients: Vec<Vec<Client>>,
}

/// What happened on the way to Redis, in all replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Happened {
    pub calls: u64,
    /// Counters in calls, and steps on them: more steps than counters, where hits have coalesced.
    pub counters: u64,
    pub steps: u64,
    pub failures: u64,
    /// Hits answered by failure modes.
    pub fallbacks: u64,
    /// Hits answered by the over-limit memory.
    pub remembered: u64,
}

impl Fleet {
    /// Starts so many replicas, and waits until each knows of the others and hears of refunds.
    pub fn start(replicas: usize, rules: &str, settings: &Settings) -> Self {
        let fleet = Self::start_unchecked(replicas, rules, settings);
        let deadline = Instant::now() + SOON;
        let ready = |server: &Server| {
            let store = server.running.context.limiter.store().redis().expect("counters in Redis");
            store.fallback().replicas().get() as usize == replicas && !store.memory().is_suspended()
        };
        while !fleet.servers.iter().all(ready) {
            assert!(Instant::now() < deadline, "the replicas do not find each other: {}", fleet.knowledge());
            std::thread::sleep(Duration::from_millis(10));
        }
        fleet
    }

    /// The same without waiting.
    pub fn start_unchecked(replicas: usize, rules: &str, settings: &Settings) -> Self {
        let mut settings = settings.clone();
        settings.heartbeat.interval = Duration::from_millis(200);
        let server = |_| start(rules, |config| config.redis = Some(settings.clone()));
        let servers: Vec<_> = (0..replicas).map(server).collect();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let clients = servers.iter().map(|server| {
            let connect = async |_| RateLimitServiceClient::new(channel(server.address()).await);
            (0..CHANNELS).map(|number| runtime.block_on(connect(number))).collect()
        });
        let clients = clients.collect();
        Self { servers, runtime, clients }
    }

    pub fn replicas(&self) -> usize {
        self.servers.len()
    }

    /// A client of this replica; clients with different numbers may share a connection or not.
    pub fn client(&self, replica: usize, number: usize) -> Client {
        self.clients[replica][number % CHANNELS].clone()
    }

    pub fn happened(&self) -> Happened {
        let stores = self.servers.iter().map(|server| server.running.context.limiter.store().redis().unwrap());
        stores.fold(Happened::default(), |sum, store| Happened {
            calls: sum.calls + store.stats().calls(),
            counters: sum.counters + store.stats().counters(),
            steps: sum.steps + store.stats().steps(),
            failures: sum.failures + store.stats().failures().map(|(_, count)| count).sum::<u64>(),
            fallbacks: sum.fallbacks + store.fallback().answered().map(|(_, count)| count).sum::<u64>(),
            remembered: sum.remembered + store.memory().answered(),
        })
    }

    /// What each replica knows of the others and of Redis, for people.
    fn knowledge(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            let store = server.running.context.limiter.store().redis().unwrap();
            let (replicas, suspended) = (store.fallback().replicas().get(), store.memory().is_suspended());
            let nodes = store.backends()[0].nodes();
            let nodes: Vec<_> = nodes.iter().map(|(node, breaker)| (node.to_string(), breaker.state())).collect();
            text.push_str(&format!("\n{replicas} replicas, deaf: {suspended}, {nodes:?}"));
        }
        text + &self.failures()
    }

    /// Why calls had no answers, for people.
    pub fn failures(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            let store = server.running.context.limiter.store().redis().unwrap();
            let failures = store.stats().failures().filter(|(_, count)| *count > 0);
            text.extend(failures.map(|(failure, count)| format!("{} {count} ", failure.name())));
        }
        text
    }

    /// Every hit was answered by the counters, and some of them together with others.
    #[track_caller]
    pub fn assert_undisturbed(&self) {
        let happened = self.happened();
        assert_eq!((happened.failures, happened.fallbacks), (0, 0), "{happened:?} {}", self.failures());
        assert!(happened.steps > happened.counters, "hits on one counter travel together: {happened:?}");
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for server in &self.servers {
            server.running.shutdown();
        }
        for server in &self.servers {
            self.runtime.block_on(server.running.wait());
        }
    }
}
