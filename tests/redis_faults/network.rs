//! Faults of the network between us and one server.

use std::time::Duration;

use tidegate::config::redis::Topology;

use crate::drill::{Drill, Signs};
use crate::redis_support::{End, Proxy, Redis};
use crate::site;

/// One worker, everything beside it, and notices: each has one connection.
const CONNECTIONS: u64 = 3;

struct Wire {
    _redis: Redis,
    proxy: Proxy,
}

impl Wire {
    fn new() -> Self {
        let redis = Redis::start();
        let proxy = Proxy::start(redis.address());
        Self { _redis: redis, proxy }
    }

    fn drill(&self) -> Drill {
        Drill::start(site::settings(Topology::Single, &self.proxy.address()))
    }
}

#[test]
fn connections_cut() {
    let wire = Wire::new();
    let drill = wire.drill();
    let before = wire.proxy.accepted();
    drill.flicker(|_| wire.proxy.cut());
    let again = wire.proxy.accepted() - before;
    assert!((1..=2 * CONNECTIONS).contains(&again), "{again} new connections");
}

#[test]
fn connections_refused() {
    let wire = Wire::new();
    let drill = wire.drill();
    let mut before = 0;
    drill.away(
        Signs { reasons: &["disconnected"] },
        || wire.proxy.down(),
        || {
            before = wire.proxy.accepted();
            wire.proxy.resume();
        },
    );
    let again = wire.proxy.accepted() - before;
    assert!((1..=2 * CONNECTIONS).contains(&again), "{again} new connections");
}

#[test]
fn nothing_comes_through() {
    let wire = Wire::new();
    wire.drill().away(Signs { reasons: &["timeout"] }, || wire.proxy.hold(), || wire.proxy.resume());
}

#[test]
fn too_slow() {
    let wire = Wire::new();
    let drill = wire.drill();
    drill.away(
        Signs { reasons: &["timeout"] },
        || wire.proxy.latency(Duration::from_millis(25)),
        || wire.proxy.latency(Duration::ZERO),
    );
}

#[test]
fn half_closed() {
    for end in [End::Client, End::Server] {
        let wire = Wire::new();
        let drill = wire.drill();
        let before = wire.proxy.accepted();
        drill.flicker(|_| wire.proxy.half_close(end));
        let again = wire.proxy.accepted() - before;
        assert!((1..=2 * CONNECTIONS).contains(&again), "{again} new connections");
    }
}
