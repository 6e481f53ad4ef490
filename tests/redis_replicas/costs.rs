//! Hits of several costs, peeks, and refunds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use tokio::task::JoinSet;

use crate::demand::{CLIENTS, Keys, Part, ask, left, message, offer};
use crate::exactness::{REPLICAS, rule};
use crate::fleet::Fleet;
use crate::ground::{Ground, Kind};
use crate::redis_support::wait_until;

const LIMIT: u64 = 400;
/// Every algorithm; denied hits are dropped, but for the last.
const ALGORITHMS: [&str; 6] =
    ["fixed_window", "sliding_window_log", "sliding_window_counter", "token_bucket", "leaky_bucket", "record"];
const RECORD: usize = 5;
/// A refund is heard of by every replica within this time. (It takes milliseconds; a busy machine takes its time.)
const HEARD: Duration = Duration::from_secs(1);

fn rules(domain: &str, limit: u64) -> (String, Keys) {
    let rules = ALGORITHMS.iter().map(|name| {
        let (algorithm, over) = if *name == "record" { ("fixed_window", "record") } else { (*name, "drop") };
        let burst = if algorithm.ends_with("bucket") { format!(", burst: {limit}") } else { String::new() };
        let all = format!("algorithm: {algorithm}, over: {over}, window: 365d, requests_per_unit: {limit}{burst}");
        rule(name, &all)
    });
    let keys = ALGORITHMS.iter().map(|name| (*name, "v".to_owned())).collect();
    (format!("domain: {domain}\ndescriptors:\n{}", rules.collect::<String>()), keys)
}

/// The same, given back.
fn refund(mut message: RateLimitRequest) -> RateLimitRequest {
    message.descriptors.iter_mut().for_each(|descriptor| descriptor.is_negative_hits = true);
    message
}

fn costs_add_up(kind: Kind) {
    let ground = Ground::take(kind);
    let (rules, keys) = rules("costs", LIMIT);
    let fleet = Fleet::start(REPLICAS, &rules, &ground.settings());
    let choose = |random: &mut fastrand::Rng| {
        let first = random.usize(..ALGORITHMS.len());
        let parts = [first, (first + 1) % ALGORITHMS.len()].map(|key| Part { key, cost: random.u64(..=7) });
        parts[..random.usize(1..=2)].to_vec()
    };
    let mut answers = offer(&fleet, "costs", &keys, choose, |progress| progress.all_denied(30));
    // What little is left goes one by one.
    for key in 0..ALGORITHMS.len() {
        let one = [Part { key, cost: 1 }];
        for number in 0.. {
            let mut client = fleet.client(number % REPLICAS, number);
            let answer = fleet.runtime.block_on(ask(&mut client, message("costs", &keys, &one), &one))[0];
            answers.push(answer);
            if !answer.admitted {
                break;
            }
        }
    }
    fleet.assert_undisturbed();
    for (key, name) in ALGORITHMS.iter().enumerate() {
        let mine: Vec<_> = answers.iter().filter(|answer| answer.key == key).collect();
        let admitted: u64 = mine.iter().filter(|answer| answer.admitted).map(|answer| answer.cost).sum();
        assert!(mine.iter().any(|answer| answer.cost == 0), "{name} is peeked at");
        if key == RECORD {
            // A denied hit of 7 leaves nothing for a hit of 1.
            assert!((LIMIT - 6..=LIMIT).contains(&admitted), "{name}: {admitted}");
            continue;
        }
        assert_eq!(admitted, LIMIT, "{name}");
        for answer in mine {
            assert!(answer.admitted || u64::from(answer.remaining) < answer.cost, "{name}: {answer:?}");
        }
    }
}

#[test]
fn costs_and_peeks_add_up_over_one_server() {
    costs_add_up(Kind::Single);
}

#[test]
fn costs_and_peeks_add_up_over_a_cluster() {
    costs_add_up(Kind::Cluster);
}

/// What is given back anywhere is admitted again on every replica, which had remembered that there is nothing left.
#[test]
fn a_refund_is_admitted_again_on_every_replica() {
    let ground = Ground::take(Kind::Cluster);
    let mut settings = ground.settings();
    // Nobody asks again by chance.
    settings.over_limit_memory.ask_again = Duration::from_secs(3_600);
    let (rules, keys) = rules("refunds", 10);
    let fleet = Fleet::start(REPLICAS, &rules, &settings);
    let call = |replica: usize, message: RateLimitRequest, parts: &[Part]| {
        fleet.runtime.block_on(ask(&mut fleet.client(replica, 0), message, parts))[0].admitted
    };
    let mut longest = Duration::ZERO;
    for (key, name) in ALGORITHMS.iter().enumerate().filter(|(key, _)| *key != RECORD) {
        let one = [Part { key, cost: 1 }];
        let message = message("refunds", &keys, &one);
        let admits = |replica: usize| call(replica, message.clone(), &one);
        assert_eq!((0..60).filter(|number| admits(number % REPLICAS)).count(), 10, "{name}");
        // A replica whose subscription is late remembers nothing until it has it.
        wait_until(&format!("{name}: every replica remembers"), || {
            let remembered = fleet.happened().remembered;
            assert!(!(0..REPLICAS).any(admits), "{name}");
            fleet.happened().remembered == remembered + REPLICAS as u64
        });
        for number in 0..3 * REPLICAS {
            let replica = number % REPLICAS;
            assert!(call((number * 3 + 1) % REPLICAS, refund(message.clone()), &one));
            let begun = Instant::now();
            while !admits(replica) {
                assert!(begun.elapsed() < HEARD, "{name}: replica {replica} has not heard of the refund");
            }
            longest = longest.max(begun.elapsed());
            assert!((0..REPLICAS).all(|replica| !admits(replica)), "{name}: one refund, one hit");
        }
    }
    let happened = fleet.happened();
    assert_eq!((happened.failures, happened.fallbacks), (0, 0), "{}", fleet.failures());
    eprintln!("a refund was admitted again within {longest:?}");
}

/// Half of what is admitted is given back at once, while others ask: all in all, what is charged is what was admitted
/// and not given back.
#[test]
fn refunds_and_hits_at_once_add_up() {
    let ground = Ground::take(Kind::Cluster);
    let (rules, keys) = rules("both", LIMIT);
    let fleet = Fleet::start(REPLICAS, &rules, &ground.settings());
    let all = async {
        let mut asking = JoinSet::new();
        for number in 0..CLIENTS {
            let mut client = fleet.client(number % REPLICAS, number / REPLICAS);
            let keys = Arc::clone(&keys);
            let mut random = fastrand::Rng::with_seed(number as u64);
            asking.spawn(async move {
                let mut kept = [0; ALGORITHMS.len()];
                for _ in 0..60 {
                    let part = [Part { key: random.usize(..RECORD), cost: random.u64(1..=3) }];
                    let message = message("both", &keys, &part);
                    if ask(&mut client, message.clone(), &part).await[0].admitted {
                        kept[part[0].key] += part[0].cost;
                        if random.bool() {
                            ask(&mut client, refund(message), &part).await;
                            kept[part[0].key] -= part[0].cost;
                        }
                    }
                }
                kept
            });
        }
        asking.join_all().await
    };
    let kept = fleet.runtime.block_on(all);
    fleet.assert_undisturbed();
    for (key, name) in ALGORITHMS.iter().enumerate().take(RECORD) {
        let kept: u64 = kept.iter().map(|each| each[key]).sum();
        assert!(kept > LIMIT / 2, "{name}: demand is too little for this test");
        for replica in 0..REPLICAS {
            assert_eq!(left(&fleet, replica, "both", &keys, key), LIMIT - kept, "{name}");
        }
    }
}
