//! What is admitted when Redis is too slow, or loses what it knows: figures for `docs/redis.md`, and the bounds.
//!
//! ```sh
//! cargo test --test redis_replicas measures -- --ignored --nocapture --test-threads 1
//! ```

use std::time::{Duration, Instant};

use tidegate::config::redis::Topology;

use crate::demand::{Answer, Keys, Part, ask, message, offer, offer_from};
use crate::disruption::hand_over;
use crate::exactness::{REPLICAS, rule, wait_for_a_window, windows_asked};
use crate::fleet::Fleet;
use crate::ground::{Ground, Kind, alone, now, settings};
use crate::judge::Judge;
use crate::redis_support::{Cluster, ClusterOptions, Failover, slot_of, wait_until};

const WINDOW: u64 = 1_000_000;
const LIMIT: u64 = 400;

/// The default deadline, and Redis nearer and farther than that: each replica counts at its share what Redis does not
/// answer in time. Redis may have counted it, too.
#[test]
#[ignore = "a measurement"]
fn a_redis_slower_than_the_deadline() {
    const RULES: [(&str, &str); 3] = [
        ("fixed_window", "algorithm: fixed_window, window: 1s, requests_per_unit: 400"),
        ("sliding_window_log", "algorithm: sliding_window_log, window: 1s, requests_per_unit: 400, over: drop"),
        ("token_bucket", "algorithm: token_bucket, window: 1s, requests_per_unit: 400, burst: 100, over: drop"),
    ];
    let rules = RULES.iter().map(|(key, limit)| rule(key, limit)).collect::<String>();
    let keys: Keys = RULES.iter().map(|(key, _)| (*key, "v".to_owned())).collect();
    println!("| round trip | algorithm | answers | local | admitted by Redis | locally | fewest in a window | most |");
    println!("|---|---|---|---|---|---|---|---|");
    for round_trip in [0, 5, 8, 10, 12, 50].map(Duration::from_millis) {
        let ground = Ground::take(Kind::Single);
        let mut settings = ground.settings();
        settings.deadline = tidegate::config::redis::Redis::default().deadline;
        settings.heartbeat.expect_replicas = Some(REPLICAS as u32);
        let fleet = Fleet::start(REPLICAS, &format!("domain: slow\ndescriptors:\n{rules}"), &settings);
        ground.latency(round_trip);
        let choose = |random: &mut fastrand::Rng| vec![Part { key: random.usize(..RULES.len()), cost: 1 }];
        wait_for_a_window(WINDOW);
        let begun = now();
        let answers = offer_from(&fleet, 60, "slow", &keys, choose, |_| windows_asked(begun, 6, WINDOW));
        for (key, (name, _)) in RULES.iter().enumerate() {
            let mine: Vec<_> = answers.iter().filter(|answer| answer.key == key).copied().collect();
            let (local, shared): (Vec<_>, Vec<_>) = mine.iter().copied().partition(|answer| answer.local);
            let judges = [&mine, &local, &shared].map(|answers| Judge::new(answers, key));
            let [all, locally, by_redis] = judges;
            let (fewest, most) = all.aligned(WINDOW).expect("whole windows");
            println!(
                "| {round_trip:?} | `{name}` | {} | {:.1} % | {} | {} | {fewest} | {most} |",
                mine.len(),
                local.len() as f64 / mine.len() as f64 * 100.0,
                by_redis.total(),
                locally.total(),
            );
            match *name {
                // Each of the two never more than the limit.
                "sliding_window_log" => assert!(all.most_within(WINDOW) <= 2 * LIMIT),
                // Two windows of each meet any span of one.
                "fixed_window" => assert!(all.most_within(WINDOW) <= 4 * LIMIT),
                _ => assert!(all.most_within(WINDOW) <= 2 * (LIMIT + 100)),
            }
        }
        eprintln!("{round_trip:?}: {:?} {}", fleet.happened(), fleet.failures());
    }
}

/// What happens to a primary.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Its replica takes over with its help.
    Graceful,
    /// Its replica takes over without asking it.
    Takeover,
    /// It is gone from one moment to the next.
    Killed,
    /// It stops, as a machine that is suspended, and goes on after its replica has taken over.
    Stopped,
    /// It goes on for a second without its replica, which then takes over: as if the clients were on the wrong side of a
    /// network that breaks, until the node timeout.
    Parted,
    /// Clients and its replica do not reach it for two seconds, but the other nodes do: nobody takes over.
    CutOff,
}

impl Event {
    fn happen(self, cluster: &Cluster, slot: u16) {
        let old = cluster.primary_of(slot);
        let taken_over = || wait_until("a replica has taken over", || cluster.primary_of(slot).id() != old.id());
        match self {
            Self::Graceful => hand_over(cluster, slot),
            Self::Takeover => _ = cluster.failover(slot, Failover::Takeover),
            Self::Killed => {
                old.sigkill();
                taken_over();
            }
            Self::Stopped => {
                old.sigstop();
                taken_over();
                old.sigcont();
            }
            Self::Parted => {
                let new = cluster.replicas_of(slot)[0];
                // It gives a password where none is wanted, and is turned away.
                new.command(&["CONFIG", "SET", "masterauth", "wrong"]).ok();
                old.command(&["CLIENT", "KILL", "TYPE", "REPLICA"]);
                std::thread::sleep(Duration::from_secs(1));
                _ = cluster.failover(slot, Failover::Takeover);
                new.command(&["CONFIG", "SET", "masterauth", ""]).ok();
            }
            Self::CutOff => {
                old.proxy().hold();
                std::thread::sleep(Duration::from_secs(2));
                old.proxy().resume();
            }
        }
    }
}

/// How much more, or less, than the limit is admitted when a primary goes: the hits that its replica has not got, and
/// those that are counted locally meanwhile.
#[test]
#[ignore = "a measurement"]
fn a_primary_that_goes() {
    const ROUNDS: usize = 5;
    const AMOUNT: u64 = 4_000_000_000;
    let _alone = alone();
    let cluster = ClusterOptions::new(3, 1).proxied().start();
    let rules = rule("key", &format!("algorithm: fixed_window, window: 365d, requests_per_unit: {AMOUNT}"));
    let rules = format!("domain: gone\ndescriptors:\n{rules}");
    println!("| event | round trip | hits/s | acknowledged and lost | counted and not acknowledged | local for |");
    println!("|---|---|---|---|---|---|");
    for round_trip in [0, 5].map(Duration::from_millis) {
        use Event::{CutOff, Graceful, Killed, Parted, Stopped, Takeover};
        for event in [Graceful, Takeover, Killed, Stopped, Parted, CutOff] {
            let mut settings = settings(Topology::Cluster, &cluster.seeds());
            settings.deadline = Duration::from_millis(50);
            let mut rows = Vec::new();
            for round in 0..ROUNDS {
                let fleet = Fleet::start(REPLICAS, &rules, &settings);
                let value = format!("{event:?}{round}");
                let slot = slot_of(format!("gone|key|{value}"));
                let keys: Keys = [("key", value)].into();
                cluster.nodes().iter().for_each(|node| node.proxy().latency(round_trip / 2));
                let begun = Instant::now();
                let mut back = None;
                let choose = |_: &mut fastrand::Rng| vec![Part { key: 0, cost: 1 }];
                let answers = offer(&fleet, "gone", &keys, choose, |progress| match back {
                    None => {
                        if begun.elapsed() > Duration::from_millis(500) {
                            event.happen(&cluster, slot);
                            back = Some(progress.shared() + 2_000);
                        }
                        false
                    }
                    Some(enough) => progress.shared() > enough,
                });
                cluster.nodes().iter().for_each(|node| node.proxy().latency(Duration::ZERO));
                cluster.nodes().iter().filter(|node| !node.is_running()).for_each(|node| node.restart());
                cluster.wait_until_healthy();
                rows.push(Figures::new(&answers, level(&fleet, &keys, AMOUNT)));
            }
            print(event, round_trip, &rows);
        }
    }
}

/// Of one round.
#[derive(Debug)]
struct Figures {
    per_second: f64,
    /// Hits that Redis acknowledged, less what the counter says.
    lost: i64,
    /// From the first answer without Redis to the last.
    local: Duration,
}

impl Figures {
    fn new(answers: &[Answer], level: u64) -> Self {
        let first = answers.iter().map(|answer| answer.sent).min().unwrap();
        let last = answers.iter().map(|answer| answer.received).max().unwrap();
        let acknowledged = answers.iter().filter(|answer| answer.admitted && !answer.local).count();
        let local = || answers.iter().filter(|answer| answer.local).map(|answer| answer.received);
        let local = local().max().unwrap_or_default() - local().min().unwrap_or_default();
        Self {
            per_second: acknowledged as f64 / (last - first) as f64 * 1e6,
            lost: acknowledged as i64 - level as i64,
            local: Duration::from_micros(local),
        }
    }
}

fn print(event: Event, round_trip: Duration, rows: &[Figures]) {
    let per_second = rows.iter().map(|row| row.per_second).sum::<f64>() / rows.len() as f64;
    let list = |figure: &dyn Fn(&Figures) -> i64| {
        let mut figures: Vec<_> = rows.iter().map(figure).collect();
        figures.sort_unstable();
        figures.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
    };
    println!(
        "| {event:?} | {round_trip:?} | {per_second:.0} | {} | {} | {} ms |",
        list(&|row| row.lost.max(0)),
        list(&|row| (-row.lost).max(0)),
        list(&|row| row.local.as_millis() as i64),
    );
}

/// What the counter says, once Redis is there again.
fn level(fleet: &Fleet, keys: &Keys, amount: u64) -> u64 {
    let peek = [Part { key: 0, cost: 0 }];
    let mut client = fleet.client(0, 0);
    let mut left = None;
    wait_until("Redis answers again", || {
        let answer = fleet.runtime.block_on(ask(&mut client, message("gone", keys, &peek), &peek))[0];
        left = (!answer.local).then_some(u64::from(answer.remaining));
        left.is_some()
    });
    amount - left.unwrap()
}
