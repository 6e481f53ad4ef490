//! Who sends requests: people who think between two, and one client that does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::harness::Client;

const PEOPLE: u8 = 60;
const ABNORMAL: &str = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";

/// Sixty people, half of them at each Envoy, who ask for pages until they go. Each has an address, takes 0.5 to
/// 1.5 s from one page to the next, and goes its own ways, which the seed tells.
pub struct People {
    served: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    tasks: Tasks,
}

impl People {
    pub fn come(envoys: &[SocketAddr]) -> Self {
        let (served, refused) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut tasks = Tasks::default();
        for person in 0..PEOPLE {
            let client = Client::new(envoys[usize::from(person) % envoys.len()], Ipv4Addr::new(127, 2, 0, 1 + person));
            let (served, refused) = (Arc::clone(&served), Arc::clone(&refused));
            let over = Arc::clone(&tasks.over);
            tasks.running.spawn(async move {
                let mut random = fastrand::Rng::with_seed(u64::from(person));
                while !over.load(Ordering::Relaxed) {
                    // Time to think: this is the traffic itself, nothing is waited for.
                    sleep(Duration::from_millis(random.u64(500..1_500))).await;
                    let path = format!("/{}/{}", ["shop", "news", "help"][random.usize(..3)], random.u8(..8));
                    let status = client.status(&path, &[("user-agent", "Mozilla/5.0")]).await;
                    let count = if status == 200 { &served } else { &refused };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { served, refused, tasks }
    }

    /// How many requests were answered with 200.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// How many were answered with anything else.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// They go; fails the test if one of them had no answer.
    pub async fn go(self) {
        self.tasks.end().await;
    }
}

/// Who sends, until it is over.
#[derive(Default)]
struct Tasks {
    over: Arc<AtomicBool>,
    running: JoinSet<()>,
}

impl Tasks {
    async fn end(mut self) {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.expect("a request failed");
        }
    }
}

/// What became of an attacker's requests at one Envoy.
#[derive(Debug, Default)]
pub struct Met {
    passed: AtomicU64,
    abnormal: AtomicU64,
    first: OnceLock<Instant>,
}

impl Met {
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Answered with 429 as abnormal usage.
    pub fn abnormal(&self) -> u64 {
        self.abnormal.load(Ordering::Relaxed)
    }

    /// When the first was.
    pub fn first(&self) -> Option<Instant> {
        self.first.get().copied()
    }
}

/// One address that asks for one page forty times a second, evenly over some Envoys, until it ends.
pub struct Attack {
    pub address: Ipv4Addr,
    pub began: Instant,
    /// For each of its Envoys.
    pub met: Vec<Arc<Met>>,
    tasks: Tasks,
}

impl Attack {
    pub fn begin(address: Ipv4Addr, envoys: &[SocketAddr]) -> Self {
        const SENDERS: usize = 8;
        let met: Vec<Arc<Met>> = envoys.iter().map(|_| Arc::default()).collect();
        let mut tasks = Tasks::default();
        for sender in 0..SENDERS {
            let place = sender % envoys.len();
            let (client, met) = (Client::new(envoys[place], address), Arc::clone(&met[place]));
            let over = Arc::clone(&tasks.over);
            tasks.running.spawn(async move {
                let mut turns = interval(Duration::from_millis(200));
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !over.load(Ordering::Relaxed) {
                    turns.tick().await;
                    let answer = client.get("/search?q=all", &[("user-agent", "python-requests/2.32")]).await;
                    match answer.status.as_u16() {
                        200 => met.passed.fetch_add(1, Ordering::Relaxed),
                        429 if is_abnormal(&answer.body) => {
                            let _ = met.first.set(Instant::now());
                            assert_eq!(answer.header("content-type"), "application/problem+json");
                            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
                            met.abnormal.fetch_add(1, Ordering::Relaxed)
                        }
                        // The rule itself, if so many came in one second.
                        429 => 0,
                        _ => panic!("{answer:?}"),
                    };
                }
            });
        }
        Self { address, began: Instant::now(), met, tasks }
    }

    /// It stops; fails the test if one of its requests had no answer, or one that it should not have.
    pub async fn end(self) {
        self.tasks.end().await;
    }
}

fn is_abnormal(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|problem| problem["type"] == ABNORMAL)
}
