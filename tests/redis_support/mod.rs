//! Redis for tests: a single server, started in a moment on a free port and gone with the value that stands for it.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod cluster;
mod ports;
mod proxy;
mod resp;
mod sentinel;
mod single;
mod topology;

use std::time::{Duration, Instant};

pub use cluster::{Cluster, ClusterOptions, Failover, Migration, Node, SLOTS};
pub use proxy::{End, Proxy};
pub use resp::{Connection, Reply};
pub use sentinel::{SENTINEL_MASTER, Sentinel};
pub use single::{Options, Redis};
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
