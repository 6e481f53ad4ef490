//! `tidegate counters`: the real binary against the real server, with counters in memory and in Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod process;
mod redis_support;

use process::{Server, texts, tidegate};
use redis_support::Redis;

const RULES: &str = "\
domain: edge
descriptors:
  - key: user_id
    rate_limits:
      - { name: burst, unit: hour, requests_per_unit: 3, over: drop }
      - { name: daily, unit: day, requests_per_unit: 100, over: drop }
  - key: free
    rate_limit: { unlimited: true }
";

/// Runs the command against a server: exit code, standard output, standard error.
fn counters(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}", server.admin);
    let output = tidegate().arg("counters").args(arguments).args(["--server", &url]).output().unwrap();
    let (out, errors) = texts(&output);
    (output.status.code().unwrap(), out, errors)
}

fn levels(server: &Server, user: &str) -> Vec<u64> {
    let (code, out, errors) = counters(server, &["get", "--domain", "edge", "--format", "json", user]);
    assert_eq!(code, 0, "{errors}");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    document["counters"].as_array().unwrap().iter().map(|counter| counter["level"].as_u64().unwrap()).collect()
}

fn get_and_reset(server: &Server) {
    let hit = || server.rate_limit(r#"{"user_id": "alice"}"#).status;
    assert_eq!([hit(), hit(), hit(), hit()], [200, 200, 200, 429]);
    assert_eq!(levels(server, "user_id=alice"), [3, 4], "each limit is charged on its own");
    assert_eq!(levels(server, "user_id=bob"), [0, 0]);

    let (code, out, errors) = counters(server, &["reset", "--domain", "edge", "user_id=alice", "--limit", "burst"]);
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("was      3 used, 0 left") && out.ends_with("reset\n"), "{out}");
    assert!(!out.contains("daily"), "{out}");
    assert_eq!(levels(server, "user_id=alice"), [0, 4]);
    assert_eq!(hit(), 200, "memory has forgotten it, too");

    for (arguments, message) in [
        (&["get", "--domain", "nowhere", "user_id=a"][..], "no rules for 'nowhere'"),
        (&["get", "--domain", "edge", "other=a"], "no rule applies"),
        (&["get", "--domain", "edge", "free=a"], "unlimited"),
        (&["reset", "--domain", "edge", "user_id=a", "--limit", "hourly"], "no limit named 'hourly'"),
    ] {
        let (code, _, errors) = counters(server, arguments);
        assert_eq!(code, 1);
        assert!(errors.contains(message) && errors.lines().count() == 1, "{errors}");
    }
}

#[test]
fn counters_in_memory_are_told_and_reset() {
    get_and_reset(&Server::start_with(RULES, &["--allow-unauthenticated"], &[]));
}

#[test]
fn counters_in_redis_are_told_and_reset() {
    let redis = Redis::start();
    let address = redis.address();
    let server = Server::start_with(
        RULES,
        &["--allow-unauthenticated"],
        &[("TIDEGATE_REDIS__URLS", &address), ("TIDEGATE_REDIS__DEADLINE", "2s")],
    );
    get_and_reset(&server);
    let (_, out, _) = counters(&server, &["get", "--domain", "edge", "user_id=alice"]);
    assert!(out.contains("key      rate_limit:{edge|user_id|alice}:fixed_window:3600s:burst"), "{out}");
}

#[test]
fn a_reset_reaches_the_memory_of_every_replica() {
    let redis = Redis::start();
    let address = redis.address();
    let env = [("TIDEGATE_REDIS__URLS", &*address), ("TIDEGATE_REDIS__DEADLINE", "2s")];
    // So seldom is Redis asked again that only a notice can be what makes a replica forget.
    let env = [&env[..], &[("TIDEGATE_REDIS__OVER_LIMIT_MEMORY__ASK_AGAIN", "1h")]].concat();
    let [one, other] = [(); 2].map(|()| Server::start_with(RULES, &["--allow-unauthenticated"], &env));
    let hit = |server: &Server| server.rate_limit(r#"{"user_id": "alice"}"#).status;
    while hit(&one) == 200 {}
    redis_support::wait_until("both remember that alice is over", || {
        [&one, &other].iter().all(|server| {
            assert_eq!(hit(server), 429);
            process::get(server.admin, "/metrics").body.contains("\ntidegate_over_limit_counters 1.0")
        })
    });
    counters(&one, &["reset", "--domain", "edge", "user_id=alice"]);
    redis_support::wait_until("the other replica lets alice pass", || hit(&other) == 200);
}
