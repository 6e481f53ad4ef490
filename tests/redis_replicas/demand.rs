//! Clients that ask without a pause, and what they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use fastrand::Rng;
use tokio::task::JoinSet;

use crate::fleet::{Client, Fleet};
use crate::ground::now;
use crate::server_support::{OK, descriptor};

/// Who asks at the same time.
pub const CLIENTS: usize = 200;
/// After this long demand ends, whatever it waits for, and the test fails.
const TOO_LONG: Duration = Duration::from_secs(30);

/// One descriptor of a request: which counter it is for, by its position among the test's keys, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    pub key: usize,
    pub cost: u64,
}

/// The test's counters: the entry that leads to each.
pub type Keys = Arc<[(&'static str, String)]>;

/// One status.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub key: usize,
    pub cost: u64,
    pub admitted: bool,
    pub remaining: u32,
    /// Microseconds since 1970 by the clock of Redis, which counted the hit between these.
    pub sent: u64,
    pub received: u64,
    /// Of the request that this status is of.
    pub admitted_as_a_whole: bool,
    /// Whether the request's deciding status was counted without Redis.
    pub local: bool,
}

/// Statuses of each key so far.
#[derive(Debug)]
pub struct Progress {
    denied: Box<[AtomicU64]>,
    /// Answers that came from Redis, or from what is remembered of it.
    shared: AtomicU64,
}

impl Progress {
    pub fn shared(&self) -> u64 {
        self.shared.load(Ordering::Relaxed)
    }

    /// Whether every key was denied at least so often.
    pub fn all_denied(&self, times: u64) -> bool {
        self.denied.iter().all(|denied| denied.load(Ordering::Relaxed) >= times)
    }
}

/// A request's message.
pub fn message(domain: &str, keys: &Keys, parts: &[Part]) -> RateLimitRequest {
    let descriptors = parts.iter().map(|part| {
        let (key, value) = &keys[part.key];
        RateLimitDescriptor { hits_addend: Some(UInt64Value { value: part.cost }), ..descriptor(&[(key, value)]) }
    });
    RateLimitRequest { domain: domain.to_owned(), descriptors: descriptors.collect(), hits_addend: 0 }
}

/// One request's answers.
pub async fn ask(client: &mut Client, message: RateLimitRequest, parts: &[Part]) -> Vec<Answer> {
    let sent = now();
    let answer = client.should_rate_limit(message).await.expect("an answer").into_inner();
    answers(&answer, parts, sent, now())
}

pub fn answers(answer: &RateLimitResponse, parts: &[Part], sent: u64, received: u64) -> Vec<Answer> {
    let local = answer.dynamic_metadata.as_ref().is_some_and(|metadata| metadata.fields.contains_key("cause"));
    let each = answer.statuses.iter().zip(parts).map(|(status, part)| Answer {
        key: part.key,
        cost: part.cost,
        admitted: status.code == OK,
        remaining: status.limit_remaining,
        sent,
        received,
        admitted_as_a_whole: answer.overall_code == OK,
        local,
    });
    each.collect()
}

/// Clients ask, each with its own choice of requests, until `enough` says so (it is asked every few milliseconds).
pub fn offer(
    fleet: &Fleet,
    domain: &'static str,
    keys: &Keys,
    choose: impl Fn(&mut Rng) -> Vec<Part> + Send + Sync + 'static,
    enough: impl FnMut(&Progress) -> bool,
) -> Vec<Answer> {
    offer_from(fleet, CLIENTS, domain, keys, choose, enough)
}

/// The same with so many clients.
pub fn offer_from(
    fleet: &Fleet,
    clients: usize,
    domain: &'static str,
    keys: &Keys,
    choose: impl Fn(&mut Rng) -> Vec<Part> + Send + Sync + 'static,
    mut enough: impl FnMut(&Progress) -> bool,
) -> Vec<Answer> {
    let denied = keys.iter().map(|_| AtomicU64::new(0)).collect();
    let progress = Arc::new(Progress { denied, shared: AtomicU64::new(0) });
    let end = Arc::new(AtomicBool::new(false));
    let choose = Arc::new(choose);
    let all = async {
        let mut asking = JoinSet::new();
        for number in 0..clients {
            let mut client = fleet.client(number % fleet.replicas(), number / fleet.replicas());
            let (keys, choose) = (Arc::clone(keys), Arc::clone(&choose));
            let (progress, end) = (Arc::clone(&progress), Arc::clone(&end));
            let mut random = Rng::with_seed(number as u64);
            asking.spawn(async move {
                let mut all = Vec::new();
                while !end.load(Ordering::Relaxed) {
                    let parts = choose(&mut random);
                    let answers = ask(&mut client, message(domain, &keys, &parts), &parts).await;
                    for answer in &answers {
                        progress.denied[answer.key].fetch_add(u64::from(!answer.admitted), Ordering::Relaxed);
                        progress.shared.fetch_add(u64::from(!answer.local), Ordering::Relaxed);
                    }
                    all.extend(answers);
                }
                all
            });
        }
        let deadline = Instant::now() + TOO_LONG;
        while !enough(&progress) {
            assert!(Instant::now() < deadline, "demand is not enough after {TOO_LONG:?}: {progress:?}");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        end.store(true, Ordering::Relaxed);
        asking.join_all().await.concat()
    };
    fleet.runtime.block_on(all)
}

/// What this replica says is left of a counter.
pub fn left(fleet: &Fleet, replica: usize, domain: &str, keys: &Keys, key: usize) -> u64 {
    let peek = [Part { key, cost: 0 }];
    let message = message(domain, keys, &peek);
    let mut client = fleet.client(replica, 0);
    fleet.runtime.block_on(async { u64::from(ask(&mut client, message, &peek).await[0].remaining) })
}
