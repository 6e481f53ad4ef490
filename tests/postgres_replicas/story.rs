//! Anything in any order, with real processes: applies, rollbacks, SIGKILL of servers (also in the middle of a change they
//! make) and of Postgres, restarts. Each replica is always at a revision that was, and in the end all are at the newest.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres_support::Postgres;
use crate::replica::{Amounts, Replica, database, eventually};

const STEPS: usize = 60;

#[test]
fn replicas_are_at_a_revision_that_was_and_meet() {
    for seed in [1, 2] {
        story(seed);
    }
}

fn story(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let postgres = Postgres::start();
    let name = database(&postgres);
    let mut replicas: Vec<_> = (0..3).map(|_| Replica::start(&postgres, &name)).collect();
    let mut postgres_runs = true;
    let mut seen = Vec::new();
    for _ in 0..STEPS {
        let chosen = random.usize(0..replicas.len());
        // Outages and crashes do not last.
        if !postgres_runs && random.u8(0..4) == 0 {
            postgres.restart();
            postgres_runs = true;
        }
        match random.u8(0..14) {
            0..8 if replicas[chosen].is_running() => change(&replicas[chosen], &mut random),
            8 if replicas[chosen].is_running() => {
                // In the middle of what it does.
                let http = replicas[chosen].server().http;
                let body = text(&mut random);
                let changing = thread::spawn(move || send(http, "/rate-limit/rules:apply", &body));
                // Chooses where the kill strikes, and waits for nothing.
                thread::sleep(Duration::from_micros(random.u64(0..20_000)));
                replicas[chosen].kill();
                changing.join().unwrap();
            }
            9 => replicas[chosen].kill(),
            10..13 if !replicas[chosen].is_running() => replicas[chosen].restart(),
            13 if postgres_runs => {
                postgres.sigkill();
                postgres_runs = false;
            }
            _ => {}
        }
        for replica in replicas.iter().filter(|replica| replica.is_running()) {
            seen.extend(replica.in_force());
        }
    }
    if !postgres_runs {
        postgres.restart();
    }
    for replica in replicas.iter_mut().filter(|replica| !replica.is_running()) {
        replica.restart();
    }
    eventually("a last change is taken", || replicas[0].put("user_id=last", 1).status < 300);
    let history = history(&replicas[0]);
    let newest = *history.last_key_value().unwrap().0;
    for replica in &replicas {
        eventually("all meet", || replica.in_force().is_some_and(|(revision, _)| revision == newest));
        seen.extend(replica.in_force());
    }
    assert!(newest > 5 && seen.len() > STEPS, "seed {seed}: hardly anything happened: {newest}, {}", seen.len());
    for (revision, rules) in seen {
        assert_eq!(Some(&rules), history.get(&revision), "seed {seed}, revision {revision}");
    }
}

/// What may fail, as Postgres may be away.
fn change(replica: &Replica, random: &mut fastrand::Rng) {
    if random.u8(0..4) == 0 {
        let revision = replica.in_force().map_or(0, |(revision, _)| revision);
        let back = json!({ "revision": random.u64(0..=revision) });
        replica.call("POST", "/rate-limit/rules:rollback", &back);
    } else {
        send(replica.server().http, "/rate-limit/rules:apply", &text(random));
    }
}

fn text(random: &mut fastrand::Rng) -> String {
    let mut text = "domain: edge\ndescriptors:\n".to_owned();
    for user in 0..4 {
        if random.bool() {
            let amount = random.u64(1..1_000);
            text.push_str(&format!(
                "  - {{ key: user_id, value: u{user}, rate_limit: {{ unit: hour, requests_per_unit: {amount} }} }}\n"
            ));
        }
    }
    text
}

/// A request whose answer may never come, as the server may be killed.
fn send(address: SocketAddr, path: &str, body: &str) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/yaml\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(head.as_bytes()).is_ok() {
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// The rules of every revision, as the repository tells.
fn history(replica: &Replica) -> BTreeMap<u64, Amounts> {
    let mut versions: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/rate-limit/history?limit=1000{cursor}");
        let page = replica.call("GET", &path, &Value::Null).json();
        versions.extend(page["versions"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    versions.reverse();
    let mut all = BTreeMap::from([(0, Amounts::new())]);
    let mut now = Amounts::new();
    for version in versions {
        let revision = version["revision"].as_u64().unwrap();
        if version["kind"] == "rule" {
            let name = format!("edge.{}", version["path"].as_str().unwrap().replace('=', "_"));
            match version["after"]["rate_limit"]["requests_per_unit"].as_u64() {
                Some(amount) => now.insert(name, amount),
                None => now.remove(&name),
            };
        }
        all.insert(revision, now.clone());
    }
    all
}
