//! Scripts that vanish and slots that move while the service is loaded.

use std::time::{Duration, Instant};

use crate::demand::{Answer, Keys, Part, offer};
use crate::exactness::{REPLICAS, choose_long, long, rule, wait_for_a_window, windows_asked};
use crate::fleet::Fleet;
use crate::ground::{Ground, Kind, now};
use crate::judge::Judge;
use crate::redis_support::{Cluster, slot_of, wait_until};

fn flushed(kind: Kind) {
    let ground = Ground::take(kind);
    let (rules, keys, limits) = long();
    let fleet = Fleet::start(REPLICAS, &rules, &ground.settings());
    let mut flushes = 0;
    let answers = offer(&fleet, "long", &keys, choose_long, |progress| {
        ground.nodes().iter().for_each(|node| node.command(&["SCRIPT", "FLUSH"]).ok());
        flushes += 1;
        flushes >= 50 && progress.all_denied(3)
    });
    fleet.assert_undisturbed();
    for (key, limit) in limits.iter().enumerate() {
        assert_eq!(Judge::new(&answers, key).total(), *limit, "{:?}", keys[key]);
    }
}

#[test]
fn flushed_scripts_change_nothing_over_one_server() {
    flushed(Kind::Single);
}

#[test]
fn flushed_scripts_change_nothing_over_a_cluster() {
    flushed(Kind::Cluster);
}

const WINDOW: u64 = 1_000_000;
const SHORT: [(&str, &str); 2] = [
    ("fixed", "algorithm: fixed_window, window: 1s, requests_per_unit: 100"),
    ("log", "algorithm: sliding_window_log, window: 1s, requests_per_unit: 100, over: drop"),
];

/// Something happens to the slots of both counters while they are asked for.
fn moved(disturb: impl Fn(&Ground, &[u16; 2], usize), windows: u64) -> (Fleet, Vec<Answer>, usize) {
    let ground = Ground::take(Kind::Cluster);
    let mut settings = ground.settings();
    // Every hit goes all the way.
    settings.over_limit_memory.max_counters = 0;
    let rules = SHORT.iter().map(|(key, limit)| rule(key, limit)).collect::<String>();
    let keys: Keys = SHORT.iter().map(|(key, _)| (*key, "v".to_owned())).collect();
    let fleet = Fleet::start(REPLICAS, &format!("domain: moved\ndescriptors:\n{rules}"), &settings);
    let slots = SHORT.map(|(key, _)| slot_of(format!("moved|{key}|v")));
    let choose = |random: &mut fastrand::Rng| vec![Part { key: random.usize(..2), cost: 1 }];
    wait_for_a_window(WINDOW);
    let begun = now();
    let mut times = 0;
    let answers = offer(&fleet, "moved", &keys, choose, |_| {
        if now() / WINDOW < begun / WINDOW + windows - 1 {
            disturb(&ground, &slots, times);
            times += 1;
        }
        times > 1 && windows_asked(begun, windows, WINDOW)
    });
    ground.cluster().wait_until_healthy();
    (fleet, answers, times)
}

#[test]
fn slots_that_move_admit_nothing_twice() {
    let (fleet, answers, times) = moved(
        |ground, slots, time| {
            for slot in slots {
                let cluster = ground.cluster();
                let primaries: Vec<_> = cluster.nodes().iter().filter(|node| node.is_primary()).collect();
                // Some while with the key here and the slot on its way, and some with the key there.
                let to = primaries[(time + usize::from(*slot)) % primaries.len()];
                if let Some(migration) = cluster.begin_migration(*slot, to) {
                    std::thread::sleep(Duration::from_millis(20));
                    cluster.move_keys(&migration, usize::MAX);
                    std::thread::sleep(Duration::from_millis(20));
                    cluster.end_migration(migration);
                }
            }
        },
        4,
    );
    let happened = fleet.happened();
    eprintln!("{times} moves, {} answers, {happened:?} {}", answers.len(), fleet.failures());
    let shared: Vec<_> = answers.iter().filter(|answer| !answer.local).copied().collect();
    assert_eq!((answers.len() - shared.len(), happened.failures), (0, 0), "{happened:?} {}", fleet.failures());
    Judge::new(&shared, 0).fixed_window(100, WINDOW);
    Judge::new(&shared, 1).sliding_window_log(100, WINDOW);
}

/// A primary that hands over to its replica, as for an upgrade, gives it all hits. Clients may meanwhile be without an
/// answer, and count on their own.
#[test]
fn a_graceful_failover_forgets_nothing() {
    let (fleet, answers, times) = moved(
        |ground, slots, time| {
            let cluster = ground.cluster();
            cluster.wait_until_healthy();
            hand_over(cluster, slots[time % 2]);
        },
        4,
    );
    let local = answers.iter().filter(|answer| answer.local).count();
    eprintln!(
        "{times} failovers, {} answers, {local} local, {:?} {}",
        answers.len(),
        fleet.happened(),
        fleet.failures()
    );
    let shared: Vec<_> = answers.iter().filter(|answer| !answer.local).copied().collect();
    for key in 0..2 {
        let most = Judge::new(&shared, key).most_within(WINDOW);
        assert!(most <= if key == 0 { 200 } else { 100 }, "{most} hits within a window");
    }
}

/// A replica takes over with its primary's help. Right after another change the two may not be on speaking terms yet,
/// and the replica asks in vain.
pub fn hand_over(cluster: &Cluster, slot: u16) {
    let new = cluster.replicas_of(slot)[0];
    let mut asked: Option<Instant> = None;
    wait_until("the replica takes over", || {
        if asked.is_none_or(|asked| asked.elapsed() > Duration::from_secs(1)) {
            new.command(&["CLUSTER", "FAILOVER"]);
            asked = Some(Instant::now());
        }
        new.is_primary()
    });
}
