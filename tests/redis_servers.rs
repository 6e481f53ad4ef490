//! The Redis servers that other tests are given behave as they promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod redis_support;

use std::path::Path;
use std::time::{Duration, Instant};

use redis_support::{
    Certificates, ClientCertificate, Cluster, ClusterOptions, Connection, End, Failover, Options, Proxy, Redis, Reply,
    SLOTS, Sentinel, slot_of, wait_until,
};

#[test]
fn a_single_server_answers_and_keeps_its_port() {
    let redis = Redis::start_with(&["--maxmemory", "64mb"]);
    assert_eq!(redis.info("maxmemory"), "67108864");
    redis.command(&["SET", "key", "value"]).ok();
    let mut over_tcp = Connection::tcp(redis.address()).unwrap();
    assert_eq!(over_tcp.command(&["GET", "key"]), Reply::Bulk(b"value".to_vec()));

    redis.set("maxmemory", "32mb");
    let pid = redis.pid();
    redis.restart();
    assert_ne!(redis.pid(), pid);
    assert!(over_tcp.try_command(&["GET", "key"]).is_err(), "the old connection is gone");
    let mut over_tcp = Connection::tcp(redis.address()).unwrap();
    assert_eq!(over_tcp.command(&["GET", "key"]), Reply::Nil, "nothing was kept on disk");
    assert_eq!(redis.info("maxmemory"), "33554432", "a changed setting outlives the restart");
}

#[test]
fn signals_reach_the_process() {
    let redis = Redis::start();
    redis.sigstop();
    assert!(!redis.is_running());
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", redis.pid())).unwrap();
    wait_until("the process is stopped", || state().contains(") T "));
    redis.sigcont();
    assert_eq!(redis.command(&["PING"]).text(), "PONG");
    redis.sigkill();
    assert!(redis.try_command(&["PING"]).is_err());
    assert!(Connection::tcp(redis.address()).is_err());
    redis.restart();
    assert_eq!(redis.command(&["PING"]).text(), "PONG");
}

#[test]
fn a_dropped_server_is_gone() {
    let redis = Redis::start();
    let (process, socket) = (format!("/proc/{}", redis.pid()), redis.unix_socket());
    assert!(std::fs::exists(&process).unwrap() && socket.exists());
    drop(redis);
    assert!(!std::fs::exists(&process).unwrap() && !socket.exists());
}

#[test]
fn a_server_outlives_its_test_process_by_no_means() {
    const AGAIN: &str = "TEST_LEAVES_A_SERVER_BEHIND";
    if std::env::var_os(AGAIN).is_some() {
        let (ended, left) = (Redis::start(), Redis::start());
        ended.sigkill();
        drop(ended);
        println!("left {} {}", left.pid(), left.unix_socket().display());
        std::process::abort();
    }
    let test = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_outlives_its_test_process_by_no_means", "--nocapture"])
        .env(AGAIN, "yes")
        .output()
        .unwrap();
    assert!(!test.status.success());
    let said = String::from_utf8(test.stdout).unwrap();
    let left: Vec<_> = said.split_once("left ").unwrap().1.split_whitespace().collect();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", left[0]));
    wait_until("the server is gone", || state().is_ok_and(|state| state.contains(") Z ")) || state().is_err());
    wait_until("its directory is gone", || !Path::new(left[1]).parent().unwrap().exists());
}

#[test]
fn users_and_passwords_are_asked_for() {
    let redis = Options::new().password("open sesame").user("tidegate", "secret", &["~rate_limit:*", "+@all"]).start();
    assert_eq!(redis.command(&["SET", "key", "value"]), Reply::Simple("OK".to_owned()));
    let mut client = Connection::tcp(redis.address()).unwrap();
    assert!(client.command(&["GET", "key"]).error().unwrap().starts_with("NOAUTH"));
    client.command(&["AUTH", "tidegate", "secret"]).ok();
    assert!(client.command(&["GET", "key"]).error().unwrap().starts_with("NOPERM"));
    assert_eq!(client.command(&["GET", "rate_limit:key"]), Reply::Nil);
    client.command(&["AUTH", "open sesame"]).ok();
    assert_eq!(client.command(&["GET", "key"]).text(), "value");
}

#[test]
fn a_proxy_adds_latency_each_way() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let mut client = Connection::tcp(proxy.address()).unwrap();
    assert_eq!(client.command(&["PING"]).text(), "PONG");
    let mut round_trip = || {
        let start = Instant::now();
        client.command(&["PING"]);
        start.elapsed()
    };
    proxy.latency(Duration::from_millis(40));
    assert!(round_trip() >= Duration::from_millis(80));
    proxy.latency_to(End::Server, Duration::ZERO);
    assert!(round_trip() >= Duration::from_millis(40));
    proxy.latency(Duration::ZERO);
    let best = (0..20).map(|_| round_trip()).min().unwrap();
    assert!(best < Duration::from_millis(10), "{best:?}");
}

#[test]
fn latency_does_not_lessen_throughput() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    proxy.latency(Duration::from_millis(100));
    let mut client = Connection::tcp(proxy.address()).unwrap();
    let start = Instant::now();
    // Each is sent before the one ahead of it has arrived.
    (0..20).for_each(|_| client.send(&["INCR", "counter"]).unwrap());
    (1..=20).for_each(|nth| assert_eq!(client.try_answer().unwrap().integer(), nth));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_proxy_cuts_refuses_and_holds() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let mut client = Connection::tcp(proxy.address()).unwrap();
    client.command(&["PING"]);
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));

    proxy.refuse();
    assert!(Connection::tcp(proxy.address()).is_err());
    assert_eq!(client.command(&["PING"]).text(), "PONG", "the old connection stays");
    proxy.cut();
    assert_eq!(proxy.open(), 0);
    assert!(client.try_command(&["PING"]).is_err());
    proxy.resume();

    proxy.hold();
    let mut client = Connection::tcp(proxy.address()).unwrap();
    client.send(&["INCR", "counter"]).unwrap();
    assert!(client.answer_within(Duration::from_millis(50)).is_none());
    assert_eq!(redis.command(&["GET", "counter"]), Reply::Nil);
    proxy.resume();
    assert_eq!(client.answer_within(redis_support::PATIENCE), Some(Reply::Integer(1)));

    drop(client);
    wait_until("the proxy notices that the client has gone", || proxy.open() == 0);
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn a_half_closed_connection_still_reaches_the_other_end() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    let mut client = Connection::tcp(proxy.address()).unwrap();
    client.command(&["PING"]);
    proxy.half_close(End::Client);
    assert_eq!(client.try_answer().unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    client.send(&["SET", "key", "value"]).unwrap();
    wait_until("the command has arrived", || redis.command(&["GET", "key"]) == Reply::Bulk(b"value".to_vec()));
}

#[test]
fn a_cluster_forms_fails_over_and_survives_a_crash() {
    let start = Instant::now();
    let cluster = Cluster::start(3, 1);
    println!("3+3 formed after {:?}", start.elapsed());
    let key = "{user|42}:fixed_window";
    let slot = slot_of(key);
    assert_eq!(cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", key]).integer(), i64::from(slot));
    assert_eq!(slot_of("123456789"), 0x31c3, "the check value of the specification");

    let old = cluster.primary_of(slot);
    old.command(&["SET", key, "7"]).ok();
    let new = cluster.failover(slot, Failover::Graceful);
    println!("failed over after {:?}", start.elapsed());
    assert_ne!(new.id(), old.id());
    assert!(new.is_primary() && !old.is_primary());
    assert_eq!(new.command(&["GET", key]).text(), "7");
    assert_eq!(old.command(&["GET", key]).error().unwrap(), format!("MOVED {slot} {}", new.address()));
    cluster.wait_until_healthy();
    println!("healthy after {:?}", start.elapsed());

    new.sigkill();
    let third = cluster.primary_of(slot);
    println!("a new primary after {:?}", start.elapsed());
    assert_eq!(third.id(), old.id(), "the other one of the two");
    cluster.wait_until_healthy();
    assert_eq!(third.command(&["GET", key]).text(), "7");
    new.restart();
    cluster.wait_until_healthy();
    println!("healthy after {:?}", start.elapsed());
    assert!(!new.is_primary(), "who comes back is a replica");
    assert_eq!(cluster.replicas_of(slot)[0].id(), new.id());
}

#[test]
fn a_slot_migrates_with_its_keys() {
    let start = Instant::now();
    let cluster = ClusterOptions::new(3, 0).spares(1).start();
    println!("3 and a spare formed after {:?}", start.elapsed());
    let keys: Vec<_> = (0..250).map(|number| format!("{{tag}}{number}")).collect();
    let slot = slot_of("tag");
    let (from, to) = (cluster.primary_of(slot), cluster.spare(0));
    keys.iter().for_each(|key| from.command(&["SET", key, key]).ok());

    let migration = cluster.begin_migration(slot, to).unwrap();
    assert_eq!(from.command(&["GET", &keys[0]]).text(), keys[0]);
    assert_eq!(cluster.move_keys(&migration, 120), 120);
    let ask = format!("ASK {slot} {}", to.address());
    let moved = |key: &&String| from.command(&["GET", key]).error() == Some(&ask);
    assert_eq!(keys.iter().filter(moved).count(), 120);
    let gone = keys.iter().find(moved).unwrap();
    assert!(to.command(&["GET", gone]).error().unwrap().starts_with("MOVED"), "it is not the primary yet");
    let mut asking = to.connection();
    asking.command(&["ASKING"]).ok();
    assert_eq!(asking.command(&["GET", gone]).text(), *gone);

    assert_eq!(cluster.move_keys(&migration, usize::MAX), 130);
    cluster.end_migration(migration);
    assert_eq!(cluster.primary_of(slot).id(), to.id());
    assert!(keys.iter().all(|key| to.command(&["GET", key]).text() == *key));
    assert_eq!(from.command(&["GET", gone]).error().unwrap(), format!("MOVED {slot} {}", to.address()));

    cluster.migrate_slot(slot, from);
    assert!(keys.iter().all(|key| from.command(&["GET", key]).text() == *key));
    println!("there and back after {:?}", start.elapsed());
}

#[test]
fn a_replica_takes_over_from_a_primary_that_hangs() {
    let cluster = ClusterOptions::new(3, 1).node_timeout(Duration::from_secs(4)).start();
    for (slot, how) in [(0, Failover::Force), (SLOTS - 1, Failover::Takeover)] {
        let old = cluster.primary_of(slot);
        old.sigstop();
        let new = cluster.failover(slot, how);
        assert_ne!(new.id(), old.id());
        old.sigcont();
        cluster.wait_until_healthy();
        assert!(new.is_primary() && !old.is_primary());
    }
}

#[test]
fn a_proxied_cluster_names_its_proxies() {
    let cluster = ClusterOptions::new(3, 1).proxied().start();
    let slot = slot_of("key");
    let primary = cluster.primary_of(slot);
    let stranger = cluster.nodes().iter().find(|node| node.is_primary() && node.id() != primary.id()).unwrap();
    let moved = stranger.command(&["GET", "key"]);
    assert_eq!(moved.error().unwrap(), format!("MOVED {slot} {}", primary.proxy().address()));
    assert!(cluster.seeds().contains(&primary.proxy().address()));

    primary.proxy().latency(Duration::from_millis(30));
    let mut client = Connection::tcp(primary.address()).unwrap();
    let start = Instant::now();
    client.command(&["SET", "key", "value"]).ok();
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[test]
fn sentinels_fail_over_when_told_and_when_the_primary_dies() {
    let start = Instant::now();
    let sentinel = Sentinel::start();
    println!("sentinel ready after {:?}", start.elapsed());
    let first = sentinel.primary();
    first.command(&["SET", "key", "value"]).ok();
    let second = sentinel.failover();
    println!("failed over after {:?}", start.elapsed());
    assert_ne!(second.port(), first.port());
    wait_until("the old primary follows", || first.try_info("master_link_status").is_ok_and(|link| link == "up"));
    println!("healthy after {:?}", start.elapsed());
    assert_eq!(second.command(&["GET", "key"]).text(), "value");
    second.sigkill();
    let third = sentinel.primary_other_than(second.port());
    println!("a new primary after {:?}", start.elapsed());
    assert_eq!(third.port(), first.port());
}

#[test]
fn a_server_with_tls_asks_for_certificates() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let redis = Options::new().tls(&ours, ClientCertificate::Required).start();
    assert_eq!(redis.url(), format!("rediss://127.0.0.1:{}", redis.tls_port()));
    let answer = |client| Connection::tls(("127.0.0.1", redis.tls_port()), client)?.try_command(&["PING"]);
    assert_eq!(answer(ours.client(true)).unwrap().text(), "PONG");
    assert!(answer(ours.client(false)).is_err(), "a client without certificate");
    assert!(answer(theirs.client(true)).unwrap_err().to_string().contains("invalid peer certificate"));
    redis.restart();
    assert_eq!(answer(ours.client(true)).unwrap().text(), "PONG");
}

#[test]
fn a_cluster_with_tls_and_a_password_names_its_tls_ports() {
    let certificates = Certificates::new();
    let node = Options::new().tls(&certificates, ClientCertificate::NotAsked).password("secret");
    let cluster = ClusterOptions::new(3, 1).spares(1).node(node).start();
    let slot = slot_of("key");
    let primary = cluster.primary_of(slot);
    let mut client = Connection::tls(primary.address(), certificates.client(false)).unwrap();
    client.command(&["AUTH", "secret"]).ok();
    client.command(&["SET", "key", "value"]).ok();
    cluster.migrate_slot(slot, cluster.spare(0));
    let moved = client.command(&["GET", "key"]);
    assert_eq!(moved.error().unwrap(), format!("MOVED {slot} 127.0.0.1:{}", cluster.spare(0).tls_port()));
    assert_eq!(cluster.spare(0).command(&["GET", "key"]).text(), "value");
}
