//! Every algorithm admits exactly what it promises, with four replicas and demand for more than there is.

use std::time::Duration;

use fastrand::Rng;

use crate::demand::{Keys, Part, left, offer};
use crate::fleet::Fleet;
use crate::ground::{Ground, Kind, now};
use crate::judge::Judge;

pub const REPLICAS: usize = 4;
/// As a replica over a slow network should be configured.
const SLOW_DEADLINE: Duration = Duration::from_millis(500);
const WINDOW: u64 = 1_000_000;
/// How many windows are asked about, the first and the last in part.
const WINDOWS: u64 = 3;

/// A rule for each value of `key`.
pub fn rule(key: &str, limit: &str) -> String {
    format!("  - key: {key}\n    rate_limit: {{ {limit} }}\n")
}

/// Counters that begin no new window while a test runs, of each algorithm.
const LONG: [(&str, u64, &str); 8] = [
    ("fixed", 500, "algorithm: fixed_window, window: 365d, requests_per_unit: 500"),
    ("fixed_drop", 500, "algorithm: fixed_window, window: 365d, requests_per_unit: 500, over: drop"),
    ("log", 500, "algorithm: sliding_window_log, window: 365d, requests_per_unit: 500, over: drop"),
    ("counter", 500, "algorithm: sliding_window_counter, window: 365d, requests_per_unit: 500, over: drop"),
    ("token", 500, "algorithm: token_bucket, window: 365d, requests_per_unit: 500, over: drop"),
    ("leaky", 500, "algorithm: leaky_bucket, window: 365d, requests_per_unit: 500, burst: 500, over: drop"),
    ("cold_fixed", 3, "algorithm: fixed_window, window: 365d, requests_per_unit: 3"),
    ("cold_log", 3, "algorithm: sliding_window_log, window: 365d, requests_per_unit: 3, over: drop"),
];
const HOT: usize = 6;
/// Counters of each cold rule.
const COLD: usize = 40;

/// The rules of [`LONG`], in the domain `long`, its counters, and what each admits.
pub fn long() -> (String, Keys, Vec<u64>) {
    let rules = LONG.iter().map(|(key, _, limit)| rule(key, limit)).collect::<String>();
    let counters = |at: usize| if at < HOT { 1 } else { COLD };
    let keys = LONG
        .iter()
        .enumerate()
        .flat_map(|(at, (key, limit, _))| (0..counters(at)).map(move |number| ((*key, format!("v{number}")), *limit)));
    let (keys, limits): (Vec<_>, Vec<_>) = keys.unzip();
    (format!("domain: long\ndescriptors:\n{rules}"), keys.into(), limits)
}

/// One hot counter, or two of any.
pub fn choose_long(random: &mut Rng) -> Vec<Part> {
    let any = HOT + 2 * COLD;
    if random.bool() {
        return vec![Part { key: random.usize(..HOT), cost: 1 }];
    }
    let first = random.usize(HOT..any);
    vec![Part { key: first, cost: 1 }, Part { key: random.usize(..HOT), cost: 1 }]
}

/// All that is asked for is more than the limits: each is used up to the last hit, and not beyond.
fn totals(kind: Kind, round_trip: Duration, deadline: Option<Duration>) {
    let ground = Ground::take(kind);
    let mut settings = ground.settings();
    settings.deadline = deadline.unwrap_or(settings.deadline);
    let (rules, keys, limits) = long();
    let fleet = Fleet::start(REPLICAS, &rules, &settings);
    ground.latency(round_trip);
    let answers = offer(&fleet, "long", &keys, choose_long, |progress| progress.all_denied(3));
    fleet.assert_undisturbed();
    for (key, limit) in limits.iter().enumerate() {
        assert_eq!(Judge::new(&answers, key).total(), *limit, "{:?}", keys[key]);
        for replica in 0..REPLICAS {
            assert_eq!(left(&fleet, replica, "long", &keys, key), 0, "{:?}", keys[key]);
        }
    }
}

const SHORT: [(&str, &str); 7] = [
    ("fixed", "algorithm: fixed_window, window: 1s, requests_per_unit: 60"),
    ("log", "algorithm: sliding_window_log, window: 1s, requests_per_unit: 60, over: drop"),
    ("counter", "algorithm: sliding_window_counter, window: 1s, requests_per_unit: 60, over: drop"),
    ("token", "algorithm: token_bucket, window: 1s, requests_per_unit: 60, burst: 20, over: drop"),
    ("leaky", "algorithm: leaky_bucket, window: 1s, requests_per_unit: 40, over: drop"),
    ("cold_fixed", "algorithm: fixed_window, window: 1s, requests_per_unit: 5"),
    ("cold_log", "algorithm: sliding_window_log, window: 1s, requests_per_unit: 5, over: drop"),
];

/// Waits until Redis' clock is in the first part of a window.
pub fn wait_for_a_window(window: u64) {
    crate::redis_support::wait_until("a window begins", || now() % window < window / 5);
}

/// Whether so many windows have been asked about, and the last is well under way.
pub fn windows_asked(begun: u64, windows: u64, window: u64) -> bool {
    let now = now();
    now / window >= begun / window + windows - 1 && (window * 6 / 10..window * 7 / 10).contains(&(now % window))
}

/// Window after window: no window admits too much, wherever it lies, and nothing is denied that would have fitted.
fn windows(kind: Kind, round_trip: Duration, deadline: Option<Duration>) {
    let ground = Ground::take(kind);
    let mut settings = ground.settings();
    settings.deadline = deadline.unwrap_or(settings.deadline);
    let rules = SHORT.iter().map(|(key, limit)| rule(key, limit)).collect::<String>();
    let keys: Keys = SHORT.iter().map(|(key, _)| (*key, "v".to_owned())).collect();
    let fleet = Fleet::start(REPLICAS, &format!("domain: short\ndescriptors:\n{rules}"), &settings);
    ground.latency(round_trip);
    let choose = |random: &mut Rng| {
        let first = random.usize(..SHORT.len());
        let second = (first + random.usize(1..SHORT.len())) % SHORT.len();
        let both = [first, second].map(|key| Part { key, cost: 1 });
        both[..random.usize(1..=2)].to_vec()
    };
    wait_for_a_window(WINDOW);
    let begun = now();
    let answers = offer(&fleet, "short", &keys, choose, |_| windows_asked(begun, WINDOWS, WINDOW));
    fleet.assert_undisturbed();
    let [fixed, log, counter, token, leaky, cold_fixed, cold_log] =
        std::array::from_fn(|key| Judge::new(&answers, key));
    fixed.fixed_window(60, WINDOW);
    cold_fixed.fixed_window(5, WINDOW);
    log.sliding_window_log(60, WINDOW);
    cold_log.sliding_window_log(5, WINDOW);
    counter.sliding_window_counter(60, WINDOW);
    token.bucket(60, WINDOW, 20);
    leaky.bucket(40, WINDOW, 1);
    eprintln!(
        "{kind:?} {round_trip:?}: {} answers, admitted {:?}, {:?}",
        answers.len(),
        [&fixed, &log, &counter, &token, &leaky, &cold_fixed, &cold_log].map(Judge::total),
        fleet.happened(),
    );
}

#[test]
fn limits_are_used_up_exactly_over_one_server() {
    totals(Kind::Single, Duration::ZERO, None);
}

#[test]
fn limits_are_used_up_exactly_over_a_cluster() {
    totals(Kind::Cluster, Duration::ZERO, None);
}

#[test]
fn limits_are_used_up_exactly_over_50_ms() {
    totals(Kind::Cluster, Duration::from_millis(50), Some(SLOW_DEADLINE));
}

#[test]
fn no_window_admits_too_much_or_too_little_over_one_server() {
    windows(Kind::Single, Duration::ZERO, None);
}

#[test]
fn no_window_admits_too_much_or_too_little_over_a_cluster() {
    windows(Kind::Cluster, Duration::ZERO, None);
}

#[test]
fn no_window_admits_too_much_or_too_little_over_5_ms() {
    windows(Kind::Cluster, Duration::from_millis(5), Some(SLOW_DEADLINE));
}

#[test]
fn no_window_admits_too_much_or_too_little_over_50_ms() {
    windows(Kind::Single, Duration::from_millis(50), Some(SLOW_DEADLINE));
}
