//! The Redis servers that other tests are given behave as they promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod redis_support;

use redis_support::{Connection, Options, Redis, Reply, wait_until};

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
