//! The Redis that tests share: a single server and a cluster, both behind proxies that add latency.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tidegate::config::redis::{Redis as Settings, Topology};

use crate::redis_support::{Cluster, ClusterOptions, Proxy, Redis};

/// Longer than any answer takes, also on a busy machine: what is tested is not speed.
const DEADLINE: Duration = Duration::from_secs(10);

static SINGLE: LazyLock<(Redis, Proxy)> = LazyLock::new(|| {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    (redis, proxy)
});
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    // Nobody fails over because the machine is busy.
    ClusterOptions::new(3, 1).node_timeout(Duration::from_secs(30)).proxied().start()
});
static BUSY: Mutex<()> = Mutex::new(());

/// A Redis for one test at a time, so that tests do not take each other's time. It has no latency at first, and none
/// again afterwards.
pub struct Ground {
    kind: Kind,
    _alone: MutexGuard<'static, ()>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Single,
    Cluster,
}

impl Ground {
    pub fn take(kind: Kind) -> Self {
        Self { kind, _alone: alone() }
    }

    pub fn cluster(&self) -> &'static Cluster {
        assert_eq!(self.kind, Kind::Cluster);
        &CLUSTER
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<&'static Redis> {
        match self.kind {
            Kind::Single => vec![&SINGLE.0],
            Kind::Cluster => CLUSTER.nodes().iter().map(|node| node.redis()).collect(),
        }
    }

    /// Adds so much to every round trip.
    pub fn latency(&self, round_trip: Duration) {
        match self.kind {
            Kind::Single => SINGLE.1.latency(round_trip / 2),
            Kind::Cluster => CLUSTER.nodes().iter().for_each(|node| node.proxy().latency(round_trip / 2)),
        }
    }

    /// Settings with keys that no other test has.
    pub fn settings(&self) -> Settings {
        match self.kind {
            Kind::Single => settings(Topology::Single, &SINGLE.1.address()),
            Kind::Cluster => settings(Topology::Cluster, &CLUSTER.seeds()),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.latency(Duration::ZERO);
    }
}

/// Keeps other tests waiting.
pub fn alone() -> MutexGuard<'static, ()> {
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Settings for a Redis of the test's own.
pub fn settings(topology: Topology, urls: &str) -> Settings {
    static TESTS: AtomicUsize = AtomicUsize::new(0);
    Settings {
        topology,
        urls: urls.split(',').map(str::to_owned).collect(),
        key_prefix: format!("test{}", TESTS.fetch_add(1, Ordering::Relaxed)),
        deadline: DEADLINE,
        ..Settings::default()
    }
}

/// Microseconds since 1970 by this machine's clock, which is that of every Redis here.
pub fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("a clock that is set").as_micros().try_into().expect("not so late")
}

#[test]
fn the_clock_of_redis_is_that_of_this_machine() {
    let ground = Ground::take(Kind::Single);
    let before = now();
    let [seconds, micros] = ground.nodes()[0].command(&["TIME"]).array().try_into().expect("two numbers");
    let number = |reply: crate::redis_support::Reply| reply.text().parse::<u64>().expect("a number");
    let time = number(seconds) * 1_000_000 + number(micros);
    assert!((before..=now()).contains(&time), "{before} {time} {}", now());
}
