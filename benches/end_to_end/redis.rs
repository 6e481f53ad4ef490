//! What does a decision cost with counters in Redis, of Tidegate's CPU and of Redis'?
//!
//! Tidegate has the first core; Redis and the load have the second. 10 000 rules, metrics, metadata and headers on.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::direct;
use crate::driver::{self, Answers, Keys, Traffic};
use crate::load::percentile;
use crate::question::Question;
use crate::redis_support::{Cluster, Redis};
use crate::servers::{Metrics, Server, cpu_us};
use crate::{Options, support};

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    algorithm: &'static str,
    keys: Keys,
    descriptors: usize,
    /// Hits that a key may have of all that are sent; `None` is enough for everybody.
    share_allowed: Option<f64>,
    /// Every key has been asked about before, so that its counters are there.
    known: bool,
}

const MILLION: u64 = 1_000_000;

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let algorithms = ["fixed_window", "sliding_window_log", "sliding_window_counter", "token_bucket", "leaky_bucket"];
    for algorithm in algorithms {
        let uniform = Keys::Uniform(MILLION);
        for (name, known) in [("1M uniform", false), ("1M uniform, known", true)] {
            cases.push(Case { name, algorithm, keys: uniform, descriptors: 2, share_allowed: None, known });
        }
    }
    for algorithm in ["fixed_window", "token_bucket", "sliding_window_log"] {
        cases.push(Case {
            name: "hot key",
            algorithm,
            keys: Keys::One,
            descriptors: 2,
            share_allowed: None,
            known: false,
        });
    }
    let fixed = |name, keys, descriptors, share_allowed| Case {
        name,
        algorithm: "fixed_window",
        keys,
        descriptors,
        share_allowed,
        known: false,
    };
    cases.push(fixed("1M uniform", Keys::Uniform(MILLION), 1, None));
    cases.push(fixed("hot key", Keys::One, 1, None));
    cases.push(fixed("Zipf(1.1) of 1M", Keys::Zipf(MILLION, 1.1), 2, None));
    cases.push(fixed("90 % over limit", Keys::Uniform(200), 2, Some(0.1)));
    cases
}

/// The rules: those of the case in the domain `bench`, and 10 000 in others.
fn rules(case: &Case, requests: u64) -> String {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let amount = match (case.share_allowed, case.keys) {
        (Some(share), Keys::Uniform(keys)) => (requests as f64 * share / keys as f64).max(1.0) as u64,
        _ if case.algorithm == "sliding_window_log" => 10_000,
        _ => 1_000_000_000,
    };
    let mut text = "domain: bench\ndescriptors:\n".to_owned();
    for key in ["user_id", "tenant"] {
        let algorithm = case.algorithm;
        let _ = writeln!(
            text,
            "  - key: {key}\n    rate_limit: {{ unit: hour, requests_per_unit: {amount}, algorithm: {algorithm}, over: drop }}"
        );
    }
    text
}

pub fn run(options: &Options) {
    let asked = |name: &str| options.on.as_ref().is_none_or(|on| on.split(',').any(|each| each == name));
    if asked("memory") {
        println!("counters in memory, for comparison\n");
        header();
        for case in chosen(options) {
            measure(&case, options, &[], &[]);
        }
    }
    if asked("direct") {
        println!("straight to a single server, for comparison\n");
        header();
        for keys in [Keys::One, Keys::Uniform(MILLION)] {
            direct::run(options, keys);
        }
    }
    if asked("single") {
        println!("single server\n");
        header();
        for case in chosen(options) {
            let redis = Redis::start();
            let settings = [("TIDEGATE_REDIS__URLS", redis.address())];
            measure(&case, options, &settings, &[redis.pid()]);
        }
    }
    let kinds: Vec<_> = [("cluster", "0"), ("buckets", "64")].into_iter().filter(|(name, _)| asked(name)).collect();
    if kinds.is_empty() {
        return;
    }
    let cluster = Cluster::start(3, 1);
    for (_, buckets) in kinds {
        println!("\ncluster of three primaries (and replicas, not counted), cluster_buckets {buckets}\n");
        header();
        for case in chosen(options).into_iter().filter(|case| !case.name.starts_with("Zipf")) {
            let primaries = || cluster.nodes().iter().filter(|node| node.is_primary());
            primaries().for_each(|node| drop(node.redis().command(&["FLUSHALL"])));
            let processes: Vec<u32> = primaries().map(|node| node.redis().pid()).collect();
            let settings = [
                ("TIDEGATE_REDIS__URLS", cluster.seeds()),
                ("TIDEGATE_REDIS__TYPE", "cluster".to_owned()),
                ("TIDEGATE_REDIS__CLUSTER_BUCKETS", buckets.to_owned()),
            ];
            measure(&case, options, &settings, &processes);
        }
    }
}

fn chosen(options: &Options) -> Vec<Case> {
    let only = |case: &Case| {
        options
            .only
            .as_ref()
            .is_none_or(|only| only.split(',').any(|each| case.name.contains(each) || case.algorithm == each))
    };
    cases().into_iter().filter(only).collect()
}

fn header() {
    println!(
        "| keys | algorithm | descriptors | requests/s | Tidegate us/request | Redis us/request | steps/call | p50 us | \
         p99 us | over limit | counted locally | failed |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
}

fn measure(case: &Case, options: &Options, settings: &[(&str, String)], redis: &[u32]) {
    let directory = tempfile::tempdir().unwrap();
    let requests = options.requests as u64;
    std::fs::write(directory.path().join("bench.yaml"), rules(case, requests)).unwrap();
    for number in 0..4 {
        let name = format!("domain-{number}");
        std::fs::write(directory.path().join(format!("{name}.yaml")), support::yaml(&name, 2_500)).unwrap();
    }
    let path = directory.path().to_str().unwrap();
    // On a busy machine a stall of 10 ms is common, and a decision counted locally costs Redis nothing.
    let mut environment = vec![("BENCH_RULES", path), ("BENCH_ENVIRONMENT", "1")];
    if !settings.is_empty() {
        environment.push(("TIDEGATE_REDIS__DEADLINE", "500ms"));
    }
    environment.extend(settings.iter().map(|(name, value)| (*name, value.as_str())));
    let server = Server::start("tidegate", "0", &environment);
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let traffic = Traffic {
        keys: case.keys,
        question: Question::Limits(case.descriptors),
        requests,
        connections: 4,
        streams: 32,
        rate: options.rate,
    };
    if case.known {
        driver::run(address, Traffic { keys: Keys::InTurn, requests: MILLION, rate: 0, ..traffic });
    } else if case.share_allowed.is_none() {
        driver::run(address, Traffic { requests: requests / 10, rate: 0, ..traffic });
    }
    let local = |metrics: &Metrics| metrics.get("tidegate_failure_mode_answers_total{mode=\"local\"}");
    let redis_cpu = || redis.iter().map(|pid| cpu_us(*pid)).sum::<u64>();
    let (before, redis_before, metrics_before) = (server.cpu_us(), redis_cpu(), server.metrics());
    let answers = driver::run(address, traffic);
    let (after, redis_after, metrics_after) = (server.cpu_us(), redis_cpu(), server.metrics());
    #[allow(clippy::cast_precision_loss)]
    let per_request = |cpu: u64| cpu as f64 / requests as f64;
    let grown = |name: &str| metrics_after.get(name) - metrics_before.get(name);
    let per_call = grown("tidegate_redis_call_steps_total") / grown("tidegate_redis_calls_total").max(1.0);
    let cpu = [per_request(after - before), per_request(redis_after - redis_before)];
    line(case, &answers, cpu, per_call, local(&metrics_after) - local(&metrics_before));
}

fn line(case: &Case, answers: &Answers, [cpu, redis]: [f64; 2], per_call: f64, local: f64) {
    #[allow(clippy::cast_precision_loss)]
    let rate = answers.latencies.len() as f64 / answers.seconds;
    #[allow(clippy::cast_precision_loss)]
    let over = answers.over_limit as f64 * 100.0 / answers.latencies.len() as f64;
    println!(
        "| {} | {} | {} | {rate:.0} | {cpu:.2} | {redis:.2} | {per_call:.1} | {} | {} | {over:.0} % | {local:.0} | {} |",
        case.name,
        case.algorithm,
        case.descriptors,
        percentile(&answers.latencies, 0.5),
        percentile(&answers.latencies, 0.99),
        answers.failed
    );
}
