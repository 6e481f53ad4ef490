//! `tidegate doctor` against real Redis servers: what it finds, what it advises, and by which exit code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod process;
mod redis_support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use process::{Server, texts, tidegate};
use redis_support::{
    Certificates, ClientCertificate, Cluster, Options, Proxy, Redis, Reply, SENTINEL_MASTER, Sentinel, wait_until,
};
use serde_json::Value;

const RULES: &str = "domain: edge\ndescriptors: [{ key: a, rate_limit: { unit: day, requests_per_unit: 2 } }]\n";

/// What the command says.
#[derive(Debug)]
struct Examined {
    code: i32,
    document: Value,
}

impl Examined {
    fn findings(&self) -> &[Value] {
        self.document["findings"].as_array().unwrap()
    }

    /// The level, message and advice of one check about a subject.
    fn finding(&self, subject: &str, check: &str) -> (&str, &str, &str) {
        let matches = |finding: &&Value| finding["subject"] == subject && finding["check"] == check;
        let mut found = self.findings().iter().filter(matches);
        let finding = found.next().unwrap_or_else(|| panic!("no {check} of {subject} in {:#}", self.document));
        let text = |name: &str| finding[name].as_str().unwrap_or_default();
        (text("level"), text("message"), text("advice"))
    }

    #[track_caller]
    fn assert_finding(&self, subject: &str, check: &str, level: &str, message: &str, advice: &str) {
        let found = self.finding(subject, check);
        let right = found.0 == level && found.1.contains(message) && found.2.contains(advice);
        assert!(right, "{check} of {subject} is {found:#?}, wanted {level}, {message:?}, {advice:?}");
    }

    /// The checks that are not OK.
    fn complaints(&self) -> Vec<&str> {
        let findings = self.findings().iter().filter(|finding| finding["level"] != "ok");
        findings.map(|finding| finding["check"].as_str().unwrap()).collect()
    }
}

/// Examines these settings of `redis`, and others by their whole name.
fn doctor(settings: &[(&str, &str)]) -> Examined {
    let name = |name: &str| match name.strip_prefix('^') {
        Some(whole) => whole.to_owned(),
        None => format!("TIDEGATE_REDIS__{}", name.to_uppercase().replace('.', "__")),
    };
    // A machine that is busy with tests is slow.
    let patience = settings.iter().any(|(field, _)| *field == "urls").then_some(("TIDEGATE_REDIS__DEADLINE", "2s"));
    let output = tidegate()
        .args(["doctor", "--format", "json"])
        .args(["--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"])
        .envs(patience)
        .envs(settings.iter().map(|(field, value)| (name(field), value)))
        .output()
        .unwrap();
    let (text, errors) = texts(&output);
    let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{errors}"));
    Examined { code: output.status.code().unwrap(), document }
}

fn subject(redis: &Redis) -> String {
    format!("redis {}", redis.address())
}

#[test]
fn a_server_that_is_well() {
    let redis = Redis::start();
    let examined = doctor(&[("urls", &redis.address())]);
    assert_eq!(examined.complaints(), [""; 0], "{:#}", examined.document);
    assert_eq!((examined.code, &examined.document["ok"]), (0, &Value::Bool(true)));
    let subject = subject(&redis);
    examined.assert_finding(&subject, "version", "ok", "Redis ", "");
    for check in ["connection", "role", "type", "eviction", "memory", "clock", "latency", "scripts", "notices"] {
        assert_eq!(examined.finding(&subject, check).0, "ok");
    }
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Integer(0), "the probe's key is gone");
    let socket = redis.unix_socket();
    let examined = doctor(&[("urls", socket.to_str().unwrap())]);
    assert_eq!(examined.complaints(), [""; 0], "{:#}", examined.document);
}

#[test]
fn without_redis_there_is_nothing_to_connect_to() {
    let output = tidegate()
        .args(["doctor", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"])
        .args(["--admin-address", "127.0.0.1:0"])
        .output()
        .unwrap();
    let (text, errors) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    assert!(text.contains("  OK    counters       in the memory of each process"), "{text}");
    assert!(text.ends_with(" OK, 0 WARN, 0 FAIL\n") && !text.contains("\nredis"), "{text}");
}

#[test]
fn a_server_that_is_not_there_or_hangs() {
    let redis = Redis::start();
    redis.sigstop();
    let started = Instant::now();
    let examined = doctor(&[("urls", &redis.address()), ("connect_timeout", "200ms")]);
    assert!(started.elapsed() < Duration::from_secs(20), "bounded, but took {:?}", started.elapsed());
    assert_eq!(examined.code, 1);
    assert_eq!(examined.finding(&subject(&redis), "connection").0, "fail");
    redis.sigkill();
    let examined = doctor(&[("urls", &redis.address())]);
    examined.assert_finding(&subject(&redis), "connection", "fail", "Connection refused", "check redis.urls");
    assert_eq!((examined.code, examined.complaints().len()), (1, 1), "{:#}", examined.document);
}

#[test]
fn passwords_and_permissions() {
    let redis = Options::new()
        .password("of the operator")
        .user("tidegate", "secret", &["~rate_limit:*", "&rate_limit:*", "+@all"])
        .user("half", "secret", &["~rate_limit:*", "resetchannels", "+@all", "-zadd", "-info"])
        .user("none", "secret", &["~rate_limit:*", "&rate_limit:*", "+@all", "-@scripting"])
        .user("other", "secret", &["~other:*", "&*", "+@all"])
        .start();
    let (subject, urls) = (subject(&redis), redis.address());
    let examine = |user, password| doctor(&[("urls", &urls), ("username", user), ("password", password)]);

    let anonymous = doctor(&[("urls", &urls)]);
    anonymous.assert_finding(&subject, "connection", "fail", "NOAUTH", "set redis.password");
    let wrong = examine("tidegate", "guess");
    wrong.assert_finding(&subject, "connection", "fail", "WRONGPASS", "check redis.username and redis.password");
    assert!(!wrong.document.to_string().contains("guess"));
    let right = examine("tidegate", "secret");
    assert_eq!((right.code, right.complaints()), (0, vec![]), "{:#}", right.document);
    let default = doctor(&[("urls", &urls), ("password", "of the operator")]);
    assert_eq!(default.complaints(), [""; 0], "{:#}", default.document);

    let half = examine("half", "secret");
    half.assert_finding(&subject, "scripts", "fail", "ZADD: ", "~rate_limit:* +zadd");
    half.assert_finding(&subject, "notices", "fail", "", "&rate_limit:forget");
    half.assert_finding(&subject, "info", "warn", "NOPERM", "INFO");
    let none = examine("none", "secret");
    none.assert_finding(&subject, "scripts", "fail", "NOPERM", "+eval +evalsha");
    let other = examine("other", "secret");
    other.assert_finding(&subject, "scripts", "fail", "", "~rate_limit:*");
    let prefix = doctor(&[("urls", &urls), ("username", "other"), ("password", "secret"), ("key_prefix", "other")]);
    assert_eq!(prefix.complaints(), [""; 0], "{:#}", prefix.document);
}

#[test]
fn tls_and_its_certificates() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let redis = Options::new().tls(&ours, ClientCertificate::Required).start();
    let urls = format!("127.0.0.1:{}", redis.tls_port());
    let subject = format!("redis {urls}");
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (ca, certificate, key) = (text(ours.ca()), text(ours.client_certificate()), text(ours.client_key()));
    let shown = [("tls.certificate", certificate.as_str()), ("tls.key", key.as_str())];

    let right = doctor(&[&[("urls", urls.as_str()), ("tls.ca", &ca)], &shown[..]].concat());
    assert_eq!(right.complaints(), [""; 0], "{:#}", right.document);
    let wrong = doctor(&[&[("urls", urls.as_str()), ("tls.ca", &text(theirs.ca()))], &shown[..]].concat());
    wrong.assert_finding(&subject, "connection", "fail", "InvalidCertificate", "redis.tls.ca");
    let nobody = doctor(&[("urls", &urls), ("tls.ca", &ca)]);
    assert_eq!(nobody.finding(&subject, "connection").0, "fail");
    assert!(nobody.finding(&subject, "connection").2.contains("tls"), "{:#}", nobody.document);
    let plain = doctor(&[("urls", &urls)]);
    assert_eq!(plain.finding(&subject, "connection").0, "fail");
    assert!(plain.finding(&subject, "connection").2.contains("tls"), "{:#}", plain.document);
    let missing = doctor(&[("urls", &urls), ("tls.ca", "/nonexistent/ca.pem")]);
    missing.assert_finding("redis", "settings", "fail", "/nonexistent/ca.pem", "");
}

#[test]
fn memory_and_eviction() {
    let redis = Redis::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let examined = doctor(&[("urls", &redis.address())]);
    examined.assert_finding(&subject(&redis), "eviction", "warn", "allkeys-lru", "noeviction");
    assert_eq!((examined.code, examined.complaints()), (0, vec!["eviction"]), "{:#}", examined.document);
    redis.set("maxmemory-policy", "noeviction");
    redis.set("maxmemory", "1");
    let examined = doctor(&[("urls", &redis.address())]);
    examined.assert_finding(&subject(&redis), "memory", "fail", "OOM", "raise maxmemory");
    assert_eq!(examined.code, 1);
}

#[test]
fn a_round_trip_that_takes_too_long() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.address());
    proxy.latency(Duration::from_millis(6));
    let examined = doctor(&[("urls", &proxy.address()), ("deadline", "10ms")]);
    let subject = format!("redis {}", proxy.address());
    examined.assert_finding(&subject, "latency", "fail", "redis.deadline is 10ms", "raise redis.deadline");
}

#[test]
fn a_replica_takes_no_writes() {
    let primary = Redis::start();
    let port = primary.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
    wait_until("the replica is in sync", || replica.info("master_link_status") == "up");
    let examined = doctor(&[("urls", &replica.address())]);
    examined.assert_finding(&subject(&replica), "role", "fail", "is a replica", "redis.urls");
    let examined = doctor(&[("urls", &primary.address())]);
    examined.assert_finding(&subject(&primary), "replicas", "ok", "1, in step", "");
}

#[test]
fn a_cluster_and_what_is_missing_in_it() {
    let cluster = Cluster::start(3, 1);
    let seeds = cluster.seeds();
    let examined = doctor(&[("type", "cluster"), ("urls", &seeds)]);
    assert_eq!(examined.complaints(), [""; 0], "{:#}", examined.document);
    examined.assert_finding("redis (cluster)", "state", "ok", "3 primaries", "");
    examined.assert_finding("redis (cluster)", "slots", "ok", "all 16384 covered by 3", "");
    examined.assert_finding("redis (all servers)", "clocks", "ok", "", "");
    let primaries = cluster.nodes().iter().filter(|node| node.is_primary());
    for primary in primaries {
        let subject = format!("redis {}", primary.address());
        examined.assert_finding(&subject, "scripts", "ok", "", "");
        examined.assert_finding(&subject, "replicas", "ok", "1, in step", "");
    }

    let first = cluster.primary_of(0);
    let single = doctor(&[("urls", &first.address())]);
    single.assert_finding(&format!("redis {}", first.address()), "type", "fail", "cluster", "redis.type: cluster");

    first.redis().command(&["CLUSTER", "DELSLOTS", "0", "1"]).ok();
    let examined = doctor(&[("type", "cluster"), ("urls", &first.address())]);
    examined.assert_finding("redis (cluster)", "slots", "fail", "2 of 16384 belong to nobody", "assign them");
    assert_eq!(examined.code, 1);
}

#[test]
fn a_cluster_that_is_none() {
    let redis = Redis::start();
    let away = Redis::start();
    away.sigkill();
    let urls = format!("{},{}", away.address(), redis.address());
    let examined = doctor(&[("type", "cluster"), ("urls", &urls)]);
    examined.assert_finding("redis (cluster)", "seeds", "warn", &away.address(), "redis.urls");
    examined.assert_finding(&subject(&redis), "type", "fail", "no node of a cluster", "redis.type: single");
    examined.assert_finding(&subject(&redis), "replicas", "warn", "no replica", "replica");
}

#[test]
fn sentinels_and_their_primary() {
    let sentinel = Sentinel::start();
    let primary = sentinel.primary();
    let urls = sentinel.addresses();
    let examined = doctor(&[("type", "sentinel"), ("urls", &urls), ("sentinel.master", SENTINEL_MASTER)]);
    assert_eq!(examined.complaints(), [""; 0], "{:#}", examined.document);
    let sentinels = format!("redis sentinels of {SENTINEL_MASTER}");
    examined.assert_finding(&sentinels, "primary", "ok", &primary.address(), "");
    examined.assert_finding(&subject(primary), "replicas", "ok", "1, in step", "");

    let examined = doctor(&[("type", "sentinel"), ("urls", &urls), ("sentinel.master", "other")]);
    examined.assert_finding("redis sentinels of other", "primary", "fail", "no sentinel knows", "sentinel.master");
}

#[test]
fn a_second_redis_is_examined_too() {
    let (main, second) = (Redis::start(), Redis::start());
    second.sigkill();
    let examined = doctor(&[("urls", &main.address()), ("per_second.urls", &second.address())]);
    examined.assert_finding(&subject(&main), "connection", "ok", "", "");
    let subject = format!("redis.per_second {}", second.address());
    examined.assert_finding(&subject, "connection", "fail", "refused", "redis.per_second.urls");
}

#[test]
fn ports_are_free_ours_or_taken() {
    let server = Server::start(RULES);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    // Accepts and says nothing.
    let taken = other.local_addr().unwrap();
    let examine = |grpc: &str, http: &str, admin: &str| {
        let output = tidegate()
            .args(["doctor", "--format", "json", "--grpc-address", grpc, "--http-address", http])
            .args(["--admin-address", admin])
            .output()
            .unwrap();
        let document = serde_json::from_slice(&output.stdout).unwrap();
        Examined { code: output.status.code().unwrap(), document }
    };
    let ours = examine(&server.grpc.to_string(), &server.http.to_string(), &server.admin.to_string());
    for field in ["grpc.address", "http.address", "admin.address"] {
        ours.assert_finding("listeners", field, "ok", "served by a running tidegate", "");
    }
    assert_eq!(ours.code, 0);
    let theirs = examine(&taken.to_string(), "127.0.0.1:0", "192.0.2.1:6070");
    theirs.assert_finding("listeners", "grpc.address", "fail", "taken by another process", "set grpc.address");
    theirs.assert_finding("listeners", "http.address", "ok", "free", "");
    theirs.assert_finding("listeners", "admin.address", "fail", "192.0.2.1", "admin.address");
    assert_eq!(theirs.code, 1);
}

#[test]
fn rules_and_settings_with_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yaml");
    std::fs::write(&rules, "domain: edge\ndescriptors: [{ key: a, rate_limit: { unit: fortnight } }]\n").unwrap();
    let examined = doctor(&[("^TIDEGATE_RULES__PATHS", rules.to_str().unwrap())]);
    examined.assert_finding("rules", "rules", "fail", "fortnight", "tidegate rules validate");
    std::fs::write(&rules, RULES).unwrap();
    let examined = doctor(&[("^TIDEGATE_RULES__PATHS", rules.to_str().unwrap())]);
    examined.assert_finding("rules", "rules", "ok", "1 in 1 domains", "");

    let examined = doctor(&[("^TIDEGATE_LIMITER__NEAR_LIMIT_RATIO", "2"), ("^TIDEGATE_NOPE__X", "1")]);
    assert_eq!(examined.code, 1);
    examined.assert_finding("settings", "settings", "fail", "TIDEGATE_NOPE__X", "there is no setting");
    assert_eq!(examined.complaints().len(), 2, "{:#}", examined.document);
}
