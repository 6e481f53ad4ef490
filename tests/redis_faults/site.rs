//! Servers of ours that count in a Redis, and what they tell of themselves.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tidegate::config::redis::{Redis, Sentinel, Topology};

use crate::process::get;
use crate::redis_support::{SENTINEL_MASTER, wait_until};
use crate::server_support::{self, Server};

/// One rule for each failure mode, whose limits are never reached, and two whose limits are.
pub const RULES: &str = "
domain: faults
descriptors:
  - { key: local, failure_mode: local, rate_limit: { unit: day, requests_per_unit: 1000000 } }
  - { key: open, failure_mode: open, rate_limit: { unit: day, requests_per_unit: 1000000 } }
  - { key: closed, failure_mode: closed, rate_limit: { unit: day, requests_per_unit: 1000000 } }
  - { key: error, failure_mode: error, rate_limit: { unit: day, requests_per_unit: 1000000 } }
  - { key: narrow, rate_limit: { unit: hour, requests_per_unit: 30, algorithm: sliding_window_log } }
  - { key: rate, rate_limit: { unit: second, requests_per_unit: 50, algorithm: sliding_window_log, over: drop } }
";

/// How many hits an hour the rule `narrow` has.
pub const NARROW: usize = 30;

/// A server at this Redis.
pub fn start(redis: Redis) -> Server {
    let server = server_support::start(RULES, |config| config.redis = Some(redis));
    wait_until("the server has heard of the cluster and subscribed", || {
        let state = counters(&server);
        !nodes(&state).is_empty() && state["uncovered_slots"] == 0 && state["over_limit_memory"] == "active"
    });
    server
}

/// A server that counts in memory: what it takes on this machine to answer at all.
pub fn control() -> Server {
    server_support::start(RULES, |_| {})
}

/// Settings with shorter pauses than the defaults, so that tests need not wait for long.
pub fn settings(topology: Topology, addresses: &str) -> Redis {
    let mut redis = Redis { topology, urls: addresses.split(',').map(str::to_owned).collect(), ..Redis::default() };
    redis.breaker.open_for = Duration::from_millis(100);
    redis.breaker.max_open_for = Duration::from_millis(400);
    redis.heartbeat.interval = Duration::from_millis(100);
    if topology == Topology::Sentinel {
        redis.sentinel = Some(Sentinel { master: SENTINEL_MASTER.to_owned(), ..Sentinel::default() });
    }
    redis
}

pub fn address(server: &Server) -> SocketAddr {
    server.address()
}

/// What `/readyz?verbose` says of the counters.
pub fn counters(server: &Server) -> Value {
    let answer = get(server.running.http_address, "/readyz?verbose");
    assert_eq!(answer.status, 200, "traffic is welcome whatever Redis does: {}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["counters"].clone()
}

/// The nodes in that, with their breakers.
pub fn nodes(counters: &Value) -> Vec<(String, String)> {
    let node = |node: &Value| Some((node["node"].as_str()?.to_owned(), node["breaker"].as_str()?.to_owned()));
    counters["nodes"].as_array().into_iter().flatten().filter_map(node).collect()
}

/// One sample of `/metrics`, by its whole name with labels; 0 when there is none.
pub fn metric(server: &Server, name: &str) -> f64 {
    let text = get(server.running.admin_address, "/metrics").body;
    let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    sample.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// Calls without an answer, for this reason.
pub fn failures(server: &Server, reason: &str) -> f64 {
    metric(server, &format!("tidegate_redis_failures_total{{reason=\"{reason}\"}}"))
}

/// Whether the breaker of any node is open or probing.
pub fn is_broken(server: &Server) -> bool {
    let text = get(server.running.admin_address, "/metrics").body;
    let mut gauges = text.lines().filter(|line| line.starts_with("tidegate_redis_breaker_open{")).peekable();
    assert!(gauges.peek().is_some(), "no gauge of breakers in {text}");
    gauges.any(|line| !line.ends_with(" 0") && !line.ends_with(" 0.0"))
}

/// All reasons that are counted.
pub fn reasons(server: &Server) -> Vec<String> {
    let text = get(server.running.admin_address, "/metrics").body;
    let lines = text.lines().filter(|line| line.starts_with("tidegate_redis_failures") && !line.ends_with(" 0"));
    lines.map(str::to_owned).collect()
}
