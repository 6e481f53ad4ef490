//! The table of docs/redis.md: what faults cost under load.
//!
//! `cargo test --test redis_faults -- --ignored --nocapture`, which takes some three minutes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use tidegate::config::redis::{Redis as Settings, Topology};

use crate::load::{Answer, By, Flow, Load, Record};
use crate::redis_support::{Cluster, ClusterOptions, End, Failover, Options, Proxy, Redis, Sentinel, wait_until};
use crate::site;

/// Before a fault, while it lasts, and after it.
const BEFORE: Duration = Duration::from_secs(1);
const DURING: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(4);
/// Flows of each server whose limit is never reached, each with a counter of its own, and those that share one with a
/// limit of [`RATE`] a second.
const WIDE: usize = 6;
const NARROW: usize = 2;
const RATE: usize = 50;
const EVERY: Duration = Duration::from_millis(20);
/// What is looked at to see when Redis is used again.
const BUCKET: Duration = Duration::from_millis(100);

/// A fault that lasts is ended after [`DURING`], any other when it has happened.
fn row(name: &str, settings: &Settings, lasts: bool, begin: impl FnOnce(), end: impl FnOnce()) {
    let servers = [site::start(settings.clone()), site::start(settings.clone())];
    let control = site::control();
    // Each server has as much to do, also the control, and clients of its own.
    let flows = |number: usize, server| {
        let flow = |key, value| Flow { server: site::address(server), key, value, every: EVERY };
        let wide = (0..WIDE).map(|wide| flow("local", format!("{number}-{wide}")));
        wide.chain((0..NARROW).map(|_| flow("rate", "shared".to_owned()))).collect::<Vec<_>>()
    };
    wait_until("the servers know of each other", || {
        servers.iter().all(|server| site::counters(server)["replicas"].as_u64() >= Some(2))
    });
    let loads = [(0, &servers[0]), (1, &servers[1]), (2, &control)];
    let loads = loads.map(|(number, server)| Load::start(&flows(number, server)));
    sleep(BEFORE);
    begin();
    if lasts {
        sleep(DURING);
    }
    end();
    let healed = Instant::now();
    sleep(AFTER);
    let [one, other, of_control] = loads.map(Load::stop);
    let ours = [one, other].concat();
    let errors = ours.iter().filter(|record| matches!(record.answer, Answer::Error(..))).count();
    if let Some(error) = ours.iter().find(|record| matches!(record.answer, Answer::Error(..))) {
        eprintln!("{name}: {error:?}");
    }
    let locally = ours.iter().filter(|record| record.answer.is_by(By::Local)).count();
    let (worst, average) = admitted(&ours);
    println!(
        "| {name} | {} | {} | {} | {errors} | {worst}, {average:.0} | {} | {} |",
        ours.len(),
        percent(ours.len() - late(&ours), ours.len()),
        percent(of_control.len() - late(&of_control), of_control.len()),
        percent(locally, ours.len()),
        used_again(&ours, healed),
    );
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.2} %", part as f64 * 100.0 / whole.max(1) as f64)
}

fn late(records: &[Record]) -> usize {
    records.iter().filter(|record| record.answer == Answer::Late).count()
}

/// Hits on the shared counter that were admitted: the most in any second, and in a second on average.
fn admitted(records: &[Record]) -> (usize, f64) {
    let of_it = records.iter().filter(|record| record.key == "rate");
    let mut times: Vec<_> = of_it.filter(|record| record.answer.is_admitted()).map(|record| record.answered).collect();
    times.sort();
    let second = |first: usize| times.partition_point(|at| *at < times[first] + Duration::from_secs(1)) - first;
    let worst = (0..times.len()).map(second).max().unwrap_or_default();
    let span = times.last().map_or(Duration::ZERO, |last| *last - times[0]);
    (worst, times.len() as f64 / span.as_secs_f64().max(1.0))
}

/// When nine of ten were counted in Redis again, and remained so for another moment.
fn used_again(records: &[Record], healed: Instant) -> String {
    let counted = |bucket: u32| {
        let start = healed + BUCKET * bucket;
        let asked = records.iter().filter(|record| record.at >= start && record.at < start + BUCKET);
        let (all, counted) = asked
            .fold((0, 0), |(all, counted), record| (all + 1, counted + usize::from(record.answer.is_by(By::Counter))));
        counted * 10 >= all * 9
    };
    let buckets = u32::try_from(AFTER.as_millis() / BUCKET.as_millis()).unwrap();
    match (0..buckets - 1).find(|bucket| counted(*bucket) && counted(bucket + 1)) {
        Some(0) => "at once".to_owned(),
        Some(bucket) => format!("{:.1} s", (BUCKET * bucket).as_secs_f64()),
        None => format!("not within {} s", AFTER.as_secs()),
    }
}

/// The settings that users get.
fn settings(topology: Topology, addresses: &str) -> Settings {
    let settings = site::settings(topology, addresses);
    Settings { breaker: tidegate::config::redis::Breaker::default(), ..settings }
}

#[test]
#[ignore = "measures; see docs/redis.md"]
fn table() {
    println!(
        "| fault | requests | within 20 ms | the same without Redis | gRPC errors | admitted of {RATE} in a second: most, \
         average | answered locally | Redis used again after |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    single();
    network();
    cluster();
    sentinel();
}

fn single() {
    let redis = Options::new()
        .flags(&["--enable-debug-command", "yes", "--rdbcompression", "no"])
        .flags(&["--loading-process-events-interval-bytes", "1024"])
        .start();
    let single = settings(Topology::Single, &redis.address());
    let command = |words: &[&str]| drop(redis.command(words));
    row("none", &single, true, || (), || ());
    row("killed, started again", &single, true, || redis.sigkill(), || redis.restart());
    row("hangs", &single, true, || redis.sigstop(), || redis.sigcont());
    row("scripts flushed", &single, false, || command(&["SCRIPT", "FLUSH"]), || ());
    row(
        "out of memory",
        &single,
        true,
        || command(&["CONFIG", "SET", "maxmemory", "1"]),
        || command(&["CONFIG", "SET", "maxmemory", "0"]),
    );
    let (demote, promote) = (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]);
    row("made a replica", &single, true, || command(&demote), || command(&promote));
    command(&["DEBUG", "POPULATE", "3000", "filler", "2000"]);
    command(&["CONFIG", "SET", "key-load-delay", "1000"]);
    row("reads its data", &single, false, || command(&["DEBUG", "RELOAD"]), || ());
    let users = Options::new().user("tidegate", "secret", &["~*", "&*", "+@all"]).start();
    let mut as_user = settings(Topology::Single, &users.address());
    as_user.username = Some("tidegate".to_owned());
    as_user.password = Some(tidegate::config::redis::Secret::new("secret"));
    let password = |password: &str| drop(users.command(&["ACL", "SETUSER", "tidegate", "resetpass", password]));
    row(
        "another password",
        &as_user,
        true,
        || {
            password(">other");
            drop(users.command(&["CLIENT", "KILL", "USER", "tidegate"]));
        },
        || password(">secret"),
    );
}

fn network() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let settings = settings(Topology::Single, &proxy.address());
    row("connections cut", &settings, false, || proxy.cut(), || ());
    row("connections refused", &settings, true, || proxy.down(), || proxy.resume());
    row("nothing comes through", &settings, true, || proxy.hold(), || proxy.resume());
    row("half-closed by Redis", &settings, false, || proxy.half_close(End::Client), || ());
    let late = Duration::from_millis(25);
    row("50 ms slower", &settings, true, || proxy.latency(late), || proxy.latency(Duration::ZERO));
}

fn cluster() {
    let start = |flags: &[&str]| ClusterOptions::new(3, 1).spares(1).node(Options::new().flags(flags)).start();
    let settings = |cluster: &Cluster| settings(Topology::Cluster, &cluster.seeds());
    let cluster = start(&["--cluster-require-full-coverage", "no"]);
    let of = settings(&cluster);
    row("cluster: failover on request", &of, false, || _ = cluster.failover(0, Failover::Graceful), || ());
    let move_slots = || {
        for slot in 0..200 {
            cluster.migrate_slot(slot * 80, cluster.spare(0));
        }
    };
    row("cluster: 200 slots moved", &of, false, move_slots, || ());
    row(
        "cluster: a primary killed, its replica takes over",
        &of,
        false,
        || {
            let old = cluster.primary_of(16_383);
            old.sigkill();
            wait_until("a replica takes over", || cluster.primary_of(16_383).id() != old.id());
        },
        || (),
    );
    let cluster = start(&["--cluster-require-full-coverage", "no", "--cluster-replica-no-failover", "yes"]);
    let of = settings(&cluster);
    row("cluster: a primary hangs", &of, true, || cluster.nodes()[0].sigstop(), || cluster.nodes()[0].sigcont());
    let cluster = start(&["--cluster-require-full-coverage", "yes", "--cluster-replica-no-failover", "yes"]);
    let of = settings(&cluster);
    let back = || {
        cluster.nodes()[0].restart();
        cluster.wait_until_healthy();
    };
    row("cluster: a primary killed, full coverage required", &of, true, || cluster.nodes()[0].sigkill(), back);
}

fn sentinel() {
    let sentinel = Sentinel::start();
    let settings = settings(Topology::Sentinel, &sentinel.addresses());
    row("sentinel: failover on request", &settings, false, || _ = sentinel.failover(), || ());
    let kill = || {
        let old = sentinel.primary();
        old.sigkill();
        sentinel.primary_other_than(old.port());
    };
    row("sentinel: the primary killed", &settings, false, kill, || ());
}
