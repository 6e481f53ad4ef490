//! `charge: all_or_nothing` over counters on several nodes of a cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::demand::{CLIENTS, Keys, Part, answers, left, message, offer};
use crate::exactness::{REPLICAS, rule};
use crate::fleet::Fleet;
use crate::ground::{Ground, Kind, now};
use crate::redis_support::{slot_of, wait_until};
use crate::server_support::SOON;

const ALGORITHMS: [&str; 5] =
    ["fixed_window", "sliding_window_log", "sliding_window_counter", "token_bucket", "leaky_bucket"];

/// For each algorithm, a counter with each of these limits, in that order.
fn rules(limits: &[(&'static str, u64)]) -> (String, Keys) {
    let mut rules = String::from("domain: joint\ncharge: all_or_nothing\ndescriptors:\n");
    let mut keys = Vec::new();
    for algorithm in ALGORITHMS {
        for (name, limit) in limits {
            let key = format!("{algorithm}_{name}").leak();
            let burst = if algorithm.ends_with("bucket") { format!(", burst: {limit}") } else { String::new() };
            let limit = format!("algorithm: {algorithm}, over: drop, window: 365d, requests_per_unit: {limit}{burst}");
            rules.push_str(&rule(key, &limit));
            keys.push((&*key, "v".to_owned()));
        }
    }
    let slots: BTreeSet<_> = keys.iter().map(|(key, value)| slot_of(format!("joint|{key}|{value}"))).collect();
    assert_eq!(slots.len(), keys.len(), "counters in different slots");
    (rules, keys.into())
}

#[test]
fn neither_limit_is_exceeded_and_nothing_stays_held() {
    const LIMITS: [(&str, u64); 3] = [("a", 120), ("b", 80), ("c", 40)];
    let ground = Ground::take(Kind::Cluster);
    let (rules, keys) = rules(&LIMITS);
    let fleet = Fleet::start(REPLICAS, &rules, &ground.settings());
    let choose = |random: &mut fastrand::Rng| {
        let algorithm = random.usize(..ALGORITHMS.len()) * LIMITS.len();
        let first = random.usize(..LIMITS.len());
        let second = (first + random.usize(1..LIMITS.len())) % LIMITS.len();
        let both = [first, second].map(|at| Part { key: algorithm + at, cost: random.u64(1..=3) });
        both[..random.usize(1..=2)].to_vec()
    };
    let answers = offer(&fleet, "joint", &keys, choose, |progress| progress.all_denied(30));
    fleet.assert_undisturbed();
    for (key, (name, _)) in keys.iter().enumerate() {
        let limit = LIMITS[key % LIMITS.len()].1;
        let admitted = answers.iter().filter(|answer| answer.key == key && answer.admitted_as_a_whole);
        let admitted: u64 = admitted.map(|answer| answer.cost).sum();
        assert!(admitted <= limit, "{name}: {admitted} of {limit}");
        assert!(admitted + 3 > limit, "{name}: only {admitted} of {limit}, though more was asked for");
        for replica in 0..REPLICAS {
            assert_eq!(left(&fleet, replica, "joint", &keys, key), limit - admitted, "{name}");
        }
    }
}

/// Requests that are cancelled at any moment: those that would be denied leave nothing behind, and those that would be
/// admitted are charged on both counters or on none.
#[test]
fn cancelled_requests_leave_nothing_held() {
    const LIMITS: [(&str, u64); 3] = [("wide", 1_000), ("narrow", 300), ("full", 1)];
    const WIDE: usize = 0;
    const NARROW: usize = 1;
    const FULL: usize = 2;
    const REQUESTS: usize = 20;
    let ground = Ground::take(Kind::Cluster);
    let mut settings = ground.settings();
    // Every request goes all the way.
    settings.over_limit_memory.max_counters = 0;
    let (rules, keys) = rules(&LIMITS);
    let fleet = Fleet::start(REPLICAS, &rules, &settings);
    let part = |algorithm: usize, at: usize| Part { key: algorithm * LIMITS.len() + at, cost: 1 };
    ground.latency(Duration::from_millis(5));

    let run = |other: usize| {
        let all = async {
            let mut asking = JoinSet::new();
            for number in 0..CLIENTS {
                let mut client = fleet.client(number % REPLICAS, number / REPLICAS);
                let keys = Arc::clone(&keys);
                let mut random = fastrand::Rng::with_seed(number as u64);
                asking.spawn(async move {
                    let (mut admitted, mut cancelled) = (0, 0);
                    for _ in 0..REQUESTS {
                        let algorithm = random.usize(..ALGORITHMS.len());
                        let parts = [part(algorithm, WIDE), part(algorithm, other)];
                        let message = message("joint", &keys, &parts);
                        // Some wait, however busy the machine is.
                        let patience = match random.u64(..4) {
                            0 => SOON,
                            _ => Duration::from_micros(random.u64(1_000..30_000)),
                        };
                        let sent = now();
                        match timeout(patience, client.should_rate_limit(message)).await {
                            Ok(Ok(answer)) => {
                                let answer = answers(answer.get_ref(), &parts, sent, now());
                                admitted += usize::from(answer[0].admitted_as_a_whole);
                            }
                            // Also when the server has had enough of a connection that cancels so much.
                            Err(_) | Ok(Err(_)) => cancelled += 1,
                        }
                    }
                    (admitted, cancelled)
                });
            }
            let all = asking.join_all().await;
            all.into_iter().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
        };
        fleet.runtime.block_on(all)
    };

    for algorithm in 0..ALGORITHMS.len() {
        let full = [part(algorithm, FULL)];
        let message = message("joint", &keys, &full);
        let fill = async { fleet.client(0, 0).should_rate_limit(message).await.expect("an answer") };
        fleet.runtime.block_on(fill);
    }
    let (admitted, cancelled) = run(FULL);
    let undisturbed = || {
        let happened = fleet.happened();
        assert_eq!((happened.failures, happened.fallbacks), (0, 0), "{}", fleet.failures());
    };
    undisturbed();
    assert_eq!(admitted, 0);
    assert!(cancelled > CLIENTS, "only {cancelled} were cancelled");
    let level = |algorithm: usize, at: usize| LIMITS[at].1 - left(&fleet, 0, "joint", &keys, part(algorithm, at).key);
    for (algorithm, name) in ALGORITHMS.iter().enumerate() {
        // Tasks that nobody waits for any more may still be on their way.
        wait_until(&format!("{name} has nothing held"), || level(algorithm, WIDE) == 0);
    }

    let (admitted, cancelled) = run(NARROW);
    undisturbed();
    assert!(cancelled > CLIENTS && admitted > 0, "{admitted} admitted, {cancelled} cancelled");
    let mut charged = 0;
    for (algorithm, name) in ALGORITHMS.iter().enumerate() {
        wait_until(&format!("{name} is charged on both or on none"), || {
            level(algorithm, WIDE) == level(algorithm, NARROW)
        });
        charged += level(algorithm, WIDE) as usize;
    }
    assert!(
        (admitted..=admitted + cancelled).contains(&charged),
        "{admitted} admitted, {cancelled} cancelled, {charged}"
    );
    undisturbed();
}
