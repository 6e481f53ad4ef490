//! Another primary behind the same sentinels.

use tidegate::config::redis::Topology;

use crate::drill::Drill;
use crate::redis_support::Sentinel;
use crate::site;

fn drill(sentinel: &Sentinel) -> Drill {
    Drill::start(site::settings(Topology::Sentinel, &sentinel.addresses()))
}

#[test]
fn the_primary_is_killed() {
    let sentinel = Sentinel::start();
    drill(&sentinel).flicker(|_| {
        let old = sentinel.primary();
        old.sigkill();
        sentinel.primary_other_than(old.port());
    });
}

#[test]
fn the_primary_is_replaced() {
    let sentinel = Sentinel::start();
    drill(&sentinel).flicker(|_| {
        sentinel.failover();
    });
}
