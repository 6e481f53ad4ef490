//! Redis for tests: real servers on free ports of 127.0.0.1, each gone with the value that stands for it, and faults.
//! A test begins with `mod redis_support;`. Everything here blocks (from async tests too: no call is long), panics with
//! what it waited for when that has not come within [`PATIENCE`], and takes `&self`, so that threads may share it.
//!
//! **One server**: [`Redis::start`], or [`Options`] for a password, users, TLS ([`Certificates`]) and further flags.
//! [`command`](Redis::command) sends what the test itself has to say, through a Unix socket, past every fault:
//! ```ignore
//! let redis = Options::new().password("secret").flags(&["--maxmemory", "2mb"]).start();
//! let store = connect(&redis.url());
//! redis.command(&["SCRIPT", "FLUSH"]).ok();
//! redis.sigstop(); // hangs; sigcont() ends that
//! redis.sigkill(); // gone; restart() brings it back, empty, on the same port
//! ```
//! **A cluster**: [`Cluster::start`] takes about 2 s, which is how long Redis waits until it serves. Nodes are [`Node`]s,
//! which are [`Redis`] too. Ask for a primary anew after each change:
//! ```ignore
//! let cluster = ClusterOptions::new(3, 1).spares(1).start();
//! let slot = slot_of("rate_limit:{edge|user}");
//! cluster.failover(slot, Failover::Graceful);
//! cluster.primary_of(slot).sigkill();
//! cluster.primary_of(slot); // waits for the replica to take over
//! let migration = cluster.begin_migration(slot, cluster.spare(0)).unwrap();
//! cluster.move_keys(&migration, 10); // these are answered with ASK now
//! cluster.move_keys(&migration, usize::MAX);
//! cluster.end_migration(migration);  // and with MOVED now
//! ```
//! **Sentinels**: [`Sentinel::start`], then [`failover`](Sentinel::failover), or kill [`primary`](Sentinel::primary) and
//! wait for [`primary_other_than`](Sentinel::primary_other_than) its port. Clients ask for [`SENTINEL_MASTER`].
//!
//! **Networks**: a [`Proxy`] in front of a server adds latency, cuts, refuses, half-closes or forwards nothing. A cluster
//! with [`proxied`](ClusterOptions::proxied) has one in front of each node and names it to clients:
//! ```ignore
//! let proxy = Proxy::start(redis.address());
//! proxy.latency(Duration::from_millis(5)); // each way
//! proxy.hold(); // accepts and forwards nothing; resume() delivers what waited
//! cluster.nodes().iter().for_each(|node| node.proxy().latency(Duration::from_millis(25)));
//! ```
//! Servers outlive neither a panic nor, by [`guard`], the test's process, also when they are in a `static`.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod cluster;
mod guard;
mod ports;
mod proxy;
mod resp;
mod sentinel;
mod single;
mod tls;
mod topology;

use std::time::{Duration, Instant};

pub use cluster::{Cluster, ClusterOptions, Failover, Migration, Node, SLOTS};
pub use proxy::{End, Proxy};
pub use resp::{Connection, Reply};
pub use sentinel::{SENTINEL_MASTER, Sentinel};
pub use single::{Options, Redis};
pub use tls::{Certificates, ClientCertificate};
pub use topology::slot_of;

/// Longer than anything here takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a loop that waits for a condition rests between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Waits for a condition; panics, naming it, when it has not come true within [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until there is a value; panics, naming it, when there is none within [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(Instant::now() < deadline, "still not so after {PATIENCE:?}: {what}");
        std::thread::sleep(POLL);
    }
}
