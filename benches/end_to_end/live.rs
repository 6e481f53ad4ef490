//! Rules changed through the API: how long until three replicas enforce a change, and what one change among a million
//! rules costs. Postgres is real, on its defaults but for `fsync`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::config::database::{Database, DatabaseUrl};
use tidegate::core::clock::Micros;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::core::spec::{EffectSpec, LimitSpec, RuleSpec};
use tidegate::rules::repository::{
    Change, Commit, Content, Expected, Postgres as Repository, RuleRepository as _, Subject,
};
use tokio::runtime::Builder;
use tonic::transport::Channel;

use crate::Options;
use crate::driver::{self, Answers, Keys, Traffic};
use crate::load::percentile;
use crate::postgres_support::Postgres;
use crate::question::Question;
use crate::servers::Server;

const REPLICAS: usize = 3;

/// Requests a second that the loaded replica gets, about half of what it answers with this driver beside it.
const RATE: u64 = 20_000;

/// Three replicas, one of them under load; changes one after the other, each through another replica.
pub fn run(options: &Options) {
    let postgres = Postgres::start();
    let database = block_on(postgres.database());
    let url = postgres.url("postgres", &database);
    let servers: Vec<Server> = (0..REPLICAS).map(|_| serve(&url)).collect();
    for domain in ["probe", "bench"] {
        put(&servers[0], domain, "user_id", 1_000_000_000);
    }
    let changes = options.changes;
    let seconds = changes as u64 / 25 + 2;
    let quiet = load(&servers[0], seconds, || ());
    let mut times = Vec::new();
    let busy = load(&servers[0], seconds, || times = change_and_wait(&servers, changes));
    times.sort_unstable();
    println!("{changes} changes, {REPLICAS} replicas, {RATE} requests/s on one of them\n");
    println!("| from the change's request to enforcement on all replicas | ms |\n|---|---|");
    for (name, at) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("most", 1.0)] {
        println!("| {name} | {:.1} |", f64::from(percentile(&times, at)) / 1_000.0);
    }
    println!("\n| decisions of the loaded replica | p50 us | p99 us | failed |\n|---|---|---|---|");
    for (name, answers) in [("no changes", quiet), ("during the changes", busy)] {
        let at = |share| percentile(&answers.latencies, share);
        println!("| {name} | {} | {} | {} |", at(0.5), at(0.99), answers.failed);
    }
}

/// A million rules: start, memory, and one change.
pub fn million(options: &Options) {
    const RULES: usize = 1_000_000;
    let postgres = Postgres::start();
    let database = block_on(postgres.database());
    let url = postgres.url("postgres", &database);
    let filled = Instant::now();
    block_on(fill(&url, RULES));
    println!("{RULES} rules written in {:.1} s", filled.elapsed().as_secs_f64());
    let started = Instant::now();
    let server = serve(&url);
    while rules(&server) < RULES as f64 {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("start to rules in force: {:.1} s", started.elapsed().as_secs_f64());
    println!("memory: {} MB, at most {} MB while starting", memory(&server, "VmRSS"), memory(&server, "VmHWM"));
    let mut times = Vec::new();
    for amount in 0..options.changes.min(200) as u32 {
        let sent = Instant::now();
        put(&server, "probe", "user_id=500000", 2_000_000 + amount);
        block_on(probe(server.port, "500000", 2_000_000 + amount));
        times.push(u32::try_from(sent.elapsed().as_micros()).unwrap());
    }
    times.sort_unstable();
    let at = |share| f64::from(percentile(&times, share)) / 1_000.0;
    println!("one change to enforcement: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", at(0.5), at(0.99), at(1.0));
    println!("memory after {} changes: {} MB", times.len(), memory(&server, "VmRSS"));
}

fn serve(url: &str) -> Server {
    let environment = [
        ("BENCH_ENVIRONMENT", "1"),
        ("DATABASE_URL", url),
        ("TIDEGATE_HTTP__ALLOW_UNAUTHENTICATED", "true"),
        ("TIDEGATE_TELEMETRY__LOGS__LEVEL", "error"),
    ];
    Server::start("tidegate", "0,1", &environment)
}

/// Loads a replica for so long, while something else is done.
fn load(server: &Server, seconds: u64, meanwhile: impl FnOnce()) -> Answers {
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let traffic = Traffic {
        keys: Keys::Uniform(100_000),
        question: Question::Limits(1),
        requests: RATE * seconds,
        connections: 4,
        streams: 8,
        rate: RATE,
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let driving = scope.spawn(|| {
            let answers = driver::run(address, traffic);
            done.store(true, Ordering::Relaxed);
            answers
        });
        meanwhile();
        if done.load(Ordering::Relaxed) {
            println!("(the load ended before the changes did)");
        }
        driving.join().unwrap()
    })
}

/// Microseconds from each change's request to its enforcement on the last replica.
fn change_and_wait(servers: &[Server], changes: usize) -> Vec<u32> {
    let mut times = Vec::with_capacity(changes);
    for number in 0..changes {
        let amount = 10_000 + u32::try_from(number).unwrap();
        let sent = Instant::now();
        let enforced = std::thread::scope(|scope| {
            let waiting: Vec<_> = servers
                .iter()
                .map(|server| {
                    scope.spawn(move || {
                        block_on(probe(server.port, "1", amount));
                        sent.elapsed()
                    })
                })
                .collect();
            put(&servers[number % servers.len()], "probe", "user_id", amount);
            waiting.into_iter().map(|waiting| waiting.join().unwrap()).max().unwrap()
        });
        times.push(u32::try_from(enforced.as_micros()).unwrap());
    }
    times
}

/// Asks until the limit in effect is the new one.
async fn probe(port: u16, user: &str, amount: u32) {
    let channel = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap();
    let mut client = RateLimitServiceClient::new(channel);
    let entries = vec![Entry { key: "user_id".into(), value: user.into() }];
    let request = RateLimitRequest {
        domain: "probe".into(),
        descriptors: vec![RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }],
        hits_addend: 1,
    };
    loop {
        let answer = client.should_rate_limit(request.clone()).await.unwrap().into_inner();
        let limit = answer.statuses.first().and_then(|status| status.current_limit.as_ref());
        if limit.is_some_and(|limit| limit.requests_per_unit == amount) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Makes a rule, through the API.
fn put(server: &Server, domain: &str, path: &str, amount: u32) {
    let body = format!(
        "{{\"rate_limit\": {{\"requests_per_unit\": {amount}, \"unit\": \"hour\", \"algorithm\": \"fixed_window\"}}}}"
    );
    let path = path.replace('=', "%3D");
    let mut socket = TcpStream::connect(("127.0.0.1", server.http_port)).unwrap();
    let head = format!(
        "PUT /rate-limit/rules/{domain}/{path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

/// Writes rules of the domain `probe`, past the API.
async fn fill(url: &str, count: usize) {
    const AT_ONCE: usize = 100_000;
    let settings = Database { url: DatabaseUrl::new(url), ..Database::default() };
    let repository = Repository::new(&settings).unwrap();
    let parts = LimitParts {
        amount: 1_000,
        window: Window::Length(Micros::from_secs(3_600)),
        algorithm: Algorithm::FixedWindow,
        burst: None,
        over: Over::Drop,
        post_paid: false,
    };
    let limit = LimitSpec { limit: Limit::new(parts).unwrap(), name: None, replaces: Vec::new() };
    let rule = RuleSpec { effect: Some(EffectSpec::Limits(vec![limit])), ..RuleSpec::default() };
    for start in (0..count).step_by(AT_ONCE) {
        let changes = (start..count.min(start + AT_ONCE)).map(|number| Change {
            subject: Subject::Rule("probe".into(), format!("user_id={number}").parse().unwrap()),
            content: Some(Content::Rule(rule.clone())),
            expected: Expected::Absent,
        });
        let commit = Commit { author: "bench".into(), reason: None, base: None, changes: changes.collect() };
        repository.commit(commit).await.unwrap();
    }
}

fn rules(server: &Server) -> f64 {
    server.metrics().get("tidegate_rules")
}

/// In megabytes.
fn memory(server: &Server, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
