//! Tidegate's replicas are stopped and started in turn, under load: as in a rolling update.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::chain::{Chain, Plan};
use crate::harness::{Client, Traffic, repository};
use crate::redis_support::Redis;

const ROUNDS: usize = 2;

/// Requests that each of the runners may send, in a year.
const ALLOWED: usize = 500;

/// How long a runner rests, so that its limit is reached in the middle of all this.
const REST: Duration = Duration::from_millis(15);

/// The files' rules, and for each hop a client with a limit of its own that nothing gives back.
fn rules(folder: &std::path::Path) {
    let limit = |name: &str| {
        format!(
            "{{ name: {name}, unit: year, requests_per_unit: {ALLOWED}, algorithm: sliding_window_log, over: drop }}"
        )
    };
    let (edge, inner, mesh) = (limit("edge-runner"), limit("inner-runner"), limit("mesh-runner"));
    // The edge limits a user, the others an address, which then must be free at the edge.
    let further = [
        (
            "edge",
            format!(
                "\n  - {{ key: user_id, value: runner, rate_limit: {edge} }}\
             \n  - {{ key: remote_address, value: 127.1.1.201, rate_limit: {{ unlimited: true }} }}\
             \n  - {{ key: remote_address, value: 127.1.1.202, rate_limit: {{ unlimited: true }} }}\n"
            ),
        ),
        ("inner", format!("      - {{ key: remote_address, value: 127.1.1.201, rate_limit: {inner} }}\n")),
        (
            "mesh",
            format!(
                "  - {{ key: remote_address, value: 127.1.1.201, rate_limit: {{ unlimited: true }} }}\
             \n  - {{ key: remote_address, value: 127.1.1.202, rate_limit: {mesh} }}\n"
            ),
        ),
    ];
    for (name, further) in further {
        let text = std::fs::read_to_string(repository(&format!("deploy/envoy/rules/{name}.yaml"))).unwrap();
        // A fast machine must not meet the limit of all clients together.
        let text = text.replace("requests_per_unit: 1000,", "requests_per_unit: 1000000,");
        std::fs::write(folder.join(format!("{name}.yaml")), text + &further).unwrap();
    }
}

/// A client that sends all the time, beyond its limit.
struct Runner {
    hurry: Arc<AtomicBool>,
    answers: JoinHandle<Vec<u16>>,
}

impl Runner {
    fn start(
        name: &'static str,
        path: &'static str,
        token: Option<String>,
        client: impl Fn(usize) -> Client + Send + 'static,
    ) -> Self {
        let hurry = Arc::<AtomicBool>::default();
        let hurrying = Arc::clone(&hurry);
        let answers = tokio::spawn(async move {
            let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
            let mut answers = Vec::new();
            while !hurrying.load(Ordering::Relaxed) || answers.len() < ALLOWED + 50 {
                let status = client(answers.len()).status(path, &headers).await;
                assert!(matches!(status, 200 | 429), "{name}: request {} got {status}", answers.len());
                answers.push(status);
                if !hurrying.load(Ordering::Relaxed) {
                    tokio::time::sleep(REST).await;
                }
            }
            answers
        });
        Self { hurry, answers }
    }

    /// All answers: first allowed, then denied.
    async fn end(self) -> Vec<u16> {
        self.hurry.store(true, Ordering::Relaxed);
        self.answers.await.expect("a request failed")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request_and_changes_no_decision() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    rules(folder.path());
    // A busy machine may be slower than the 10 ms that Redis has by default, and a decision made without it is another.
    let settings = format!("redis: {{ urls: [\"{}\"], deadline: 10s }}\n", redis.address());
    let plan = Plan { rules: folder.path().to_owned(), settings, tidegates: 2, ..Plan::default() };
    let mut chain = Chain::start_with(plan).await;

    let edge = chain.edge.address;
    let token = chain.token("runner");
    // From a new address each time, or from one and the same.
    let wandering = move |sent: usize| {
        let [.., high, low] = sent.to_be_bytes();
        Client::new(edge, Ipv4Addr::new(127, 100, high, 1 + low % 250))
    };
    let staying = |number: u8| move |_| Client::new(edge, [127, 1, 1, number].into());
    let runners = [
        Runner::start("the edge's", "/", Some(token), wandering),
        Runner::start("the inner gateway's", "/reports/1", None, staying(201)),
        Runner::start("the sidecar's", "/", None, staying(202)),
    ];
    let traffic = Traffic::start(edge, 3);
    traffic.flows(100).await;

    let mut restarts = 0;
    for _ in 0..ROUNDS {
        for replica in 0..chain.tidegates.len() {
            let decided = decided(&chain, replica).await;
            assert!(decided > 0, "replica {replica} decides");
            chain.tidegates[replica].signal("TERM");
            let status = chain.tidegates[replica].ends().await;
            assert_eq!(status.code(), Some(0), "{status}");
            traffic.flows(50).await;
            chain.restart(replica).await;
            for envoy in chain.envoys() {
                envoy.finds_healthy("tidegate", 2).await;
            }
            traffic.flows(100).await;
            restarts += 1;
        }
    }
    assert_eq!(restarts, 2 * ROUNDS);
    let answered = traffic.answered();
    traffic.end().await;
    for (runner, name) in runners.into_iter().zip(["the edge's", "the inner gateway's", "the sidecar's"]) {
        let answers = runner.end().await;
        let allowed = answers.iter().take_while(|&&status| status == 200).count();
        let denied = answers.len() - allowed;
        // Neither limited too early nor let pass too late.
        assert_eq!(allowed, ALLOWED, "{name}: denied after {allowed}");
        assert!(answers[allowed..].iter().all(|&status| status == 429), "{name}: let pass after {allowed}");
        println!("{name} runner: {allowed} allowed, {denied} denied");
    }
    println!("{answered} requests of others in {restarts} restarts, none failed");
    chain.assert_no_decision_was_lost().await;
}

/// Hits that a replica has counted.
async fn decided(chain: &Chain, replica: usize) -> u64 {
    let metrics = chain.tidegates[replica].metrics().await;
    let hits = metrics.lines().filter(|line| line.starts_with("tidegate_hits_total{"));
    hits.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}
