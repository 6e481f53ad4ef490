//! The Redis servers that other tests are given behave as they promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod redis_support;

use std::time::{Duration, Instant};

use redis_support::{Connection, End, Options, Proxy, Redis, Reply, wait_until};

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
