//! Two servers of ours that lose their Redis.

use std::time::{Duration, Instant};

use tidegate::config::redis::Topology;

use crate::load::{Answer, By, Flow, Load, Record};
use crate::redis_support::{Redis, wait_until};
use crate::site::{self, NARROW};

/// Each admits its half of a limit, and no more when Redis comes and goes.
#[test]
fn each_admits_its_share() {
    let redis = Redis::start();
    let start = || site::start(site::settings(Topology::Single, &redis.address()));
    let servers = [start(), start()];
    wait_until("they know of each other", || servers.iter().all(|server| site::counters(server)["replicas"] == 2));

    let mut admitted = [0; 2];
    for _ in 0..2 {
        redis.sigkill();
        let flows = [0, 1, 0, 1].map(|server| Flow {
            server: site::address(&servers[server]),
            key: "narrow",
            value: "shared".to_owned(),
            every: Duration::from_millis(10),
        });
        let begun = Instant::now();
        let load = Load::start(&flows);
        load.until("everybody is asked more often than the limit allows", begun, |records| {
            (0..4).all(|flow| records.iter().filter(|record| record.flow == flow).count() > NARROW)
        });
        let records = load.stop();
        for (server, admitted) in admitted.iter_mut().enumerate() {
            let by_it = records.iter().filter(|record| record.flow % 2 == server);
            let given = |record: &&Record| record.answer == Answer::Given { admitted: true, by: By::Local };
            *admitted += by_it.clone().filter(given).count();
            let late = by_it.filter(|record| record.answer == Answer::Late).count();
            assert!(
                *admitted <= NARROW / 2 && *admitted + late >= NARROW / 2,
                "{admitted} of half {NARROW}, {late} late"
            );
        }
        redis.restart();
        wait_until("Redis is used again", || !servers.iter().any(site::is_broken));
    }
}
