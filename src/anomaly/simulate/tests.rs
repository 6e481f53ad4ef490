//! The shape of each scenario.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::*;

/// Twelve minutes: the attack is on from the fourth to the eighth.
fn options(scenario: Scenario) -> Options {
    Options { scenario, seed: 11, duration: Micros::from_secs(720), rate: 40.0, ..Options::default() }
}

fn records(options: &Options) -> impl Iterator<Item = Record> {
    Simulation::new(options).unwrap()
}

fn attacks(options: &Options) -> Vec<Record> {
    let records: Vec<_> = records(options).filter(Record::is_attack).collect();
    assert!(records.iter().all(|record| record.label == options.scenario.name()));
    records
}

/// The second since the start.
fn second(record: &Record) -> u64 {
    (record.at - START).0 / 1_000_000
}

fn by_address(records: &[Record]) -> HashMap<IpAddr, usize> {
    let mut counts = HashMap::new();
    for record in records {
        *counts.entry(record.address).or_default() += 1;
    }
    counts
}

fn between(records: &[Record], from: u64, until: u64) -> usize {
    records.iter().filter(|record| (from..until).contains(&second(record))).count()
}

#[track_caller]
fn near(got: usize, wanted: f64, tolerance: f64) {
    assert!((got as f64 / wanted - 1.0).abs() <= tolerance, "{got}, not about {wanted}");
}

#[test]
fn a_seed_tells_the_same_story_byte_by_byte() {
    let log = |seed| {
        let mut log = Vec::new();
        let options = Options { seed, duration: Micros::from_secs(60), ..options(Scenario::SingleSourceFlood) };
        records(&options).for_each(|record| record.write(&mut log).unwrap());
        log
    };
    assert_eq!(log(5), log(5));
    assert_ne!(log(5), log(6));
}

#[test]
fn records_come_in_the_order_of_time_within_the_duration() {
    for scenario in Scenario::ALL {
        let options = options(scenario);
        let mut last = options.start;
        for record in records(&options) {
            assert!(record.at >= last && record.at < options.start + options.duration, "{scenario:?}");
            last = record.at;
        }
    }
}

#[test]
fn calm_traffic_has_its_rate_from_the_first_minute_to_the_last() {
    for seed in 0..3 {
        let options = Options { seed, rate: 100.0, ..options(Scenario::Calm) };
        let calm: Vec<_> = records(&options).collect();
        // Sessions come in bursts: the deviation of a minute is some five per cent.
        near(between(&calm, 0, 60), 6_000.0, 0.2);
        near(between(&calm, 660, 720), 6_000.0, 0.2);
        near(calm.len(), 72_000.0, 0.06);
        assert!(calm.iter().all(|record| record.label == LEGIT));
    }
}

#[test]
fn the_day_swells_and_ebbs() {
    let options = Options { duration: Micros::from_secs(86_400), rate: 4.0, ..options(Scenario::Calm) };
    let mut hours = [0_usize; 24];
    for record in records(&options) {
        hours[(record.at.0 / 3_600_000_000 % 24) as usize] += 1;
    }
    // Programs do not sleep.
    assert!(hours[14] > 2 * hours[2], "{hours:?}");
}

#[test]
fn the_same_calm_lies_under_every_attack() {
    let calm: Vec<_> = records(&options(Scenario::Calm)).collect();
    for scenario in [Scenario::SingleSourceFlood, Scenario::SlowScraper, Scenario::PulsingAttack] {
        let under: Vec<_> = records(&options(scenario)).filter(|record| !record.is_attack()).collect();
        assert!(under == calm, "{scenario:?}");
    }
}

#[test]
fn calm_traffic_is_people_offices_programs_and_crawlers() {
    let calm: Vec<_> = records(&Options { rate: 100.0, ..options(Scenario::Calm) }).collect();
    let users = |prefix: &str| {
        let of = |record: &&Record| record.user.as_deref().is_some_and(|user| user.starts_with(prefix));
        calm.iter().filter(of).count() as f64 / calm.len() as f64
    };
    assert!((0.10..0.14).contains(&users("service-")), "{}", users("service-"));
    assert!((0.10..0.16).contains(&users("clerk-")), "{}", users("clerk-"));
    let crawled = calm.iter().filter(|record| record.user_agent.contains("bot")).count();
    near(crawled, 0.05 * calm.len() as f64, 0.1);
    // Everybody in an office has its one address.
    let mut busiest: Vec<_> = by_address(&calm).into_iter().collect();
    busiest.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let offices = world::OFFICES as usize;
    for (address, _) in &busiest[..offices] {
        let users: HashSet<_> =
            calm.iter().filter(|record| record.address == *address).map(|record| &record.user).collect();
        assert!(users.len() > 10, "{address} {}", users.len());
    }
}

#[test]
fn a_crowd_is_ten_times_as_many_within_a_minute_and_legitimate() {
    let crowd: Vec<_> = records(&Options { rate: 100.0, ..options(Scenario::FlashCrowd) }).collect();
    assert!(crowd.iter().all(|record| record.label == LEGIT));
    near(between(&crowd, 180, 240), 6_000.0, 0.15);
    near(between(&crowd, 300, 360), 60_000.0, 0.12);
    near(between(&crowd, 420, 480), 60_000.0, 0.12);
    assert!(between(&crowd, 700, 720) < 20 * 500, "it goes");
    let addresses: HashSet<_> = crowd.iter().map(|record| record.address).collect();
    assert!(addresses.len() > 5_000, "{}", addresses.len());
}

#[test]
fn a_single_source_is_one_address() {
    for (overlap, nat) in [(0.0, false), (0.5, true), (1.0, false)] {
        let attack = attacks(&Options { overlap, nat, ..options(Scenario::SingleSourceFlood) });
        assert_eq!(by_address(&attack).len(), 1);
        near(attack.len(), 120.0 * 240.0, 0.03);
        assert_eq!(between(&attack, 0, 240) + between(&attack, 480, 720), 0);
    }
}

#[test]
fn a_distributed_flood_is_many_small_sources() {
    for overlap in [0.0, 0.5, 1.0] {
        let attack = attacks(&Options { overlap, ..options(Scenario::DistributedFlood) });
        let addresses = by_address(&attack);
        assert!((9_900..=10_000).contains(&addresses.len()), "{}", addresses.len());
        near(attack.len(), 400.0 * 240.0, 0.15);
        let mut minutes: HashMap<(IpAddr, u64), u32> = HashMap::new();
        for record in &attack {
            *minutes.entry((record.address, second(record) / 60)).or_default() += 1;
        }
        let most = minutes.values().max().unwrap();
        assert!(*most <= 45, "{most} in a minute");
    }
    // However high the rate is, a source remains below thirty a minute on the average.
    let high = Options { rate: 2_000.0, duration: Micros::from_secs(30), ..options(Scenario::DistributedFlood) };
    near(attacks(&high).len(), 5_000.0 * 10.0, 0.3);
}

#[test]
fn a_scraper_walks_through_everything_slowly() {
    let attack = attacks(&Options { overlap: 0.0, ..options(Scenario::SlowScraper) });
    near(attack.len(), 240.0 / 1.5, 0.05);
    let paths: HashSet<_> = attack.iter().map(|record| &record.path).collect();
    assert_eq!(paths.len(), attack.len(), "nothing twice");
    assert_eq!(by_address(&attack).len(), 1);
}

#[test]
fn stuffing_fails_at_the_door() {
    let attack = attacks(&Options { overlap: 0.0, ..options(Scenario::CredentialStuffing) });
    near(attack.len(), 20.0 * 240.0, 0.05);
    assert!(attack.iter().all(|record| record.path == "/login" && record.method == "POST"));
    let failed = attack.iter().filter(|record| record.status == 401).count();
    near(failed, 0.98 * attack.len() as f64, 0.02);
    assert!(by_address(&attack).len() >= 199);
}

#[test]
fn pulses_come_and_go() {
    let attack = attacks(&Options { overlap: 0.3, ..options(Scenario::PulsingAttack) });
    for round in 0..4 {
        let start = 240 + round * 60;
        near(between(&attack, start + 1, start + 20), 200.0 * 19.0, 0.25);
        assert_eq!(between(&attack, start + 21, start + 60), 0, "round {round}");
    }
}

#[test]
fn a_poisoner_grows_slowly() {
    let attack = attacks(&options(Scenario::MimicPoisoner));
    // Twenty clients from 0.1 to 10 a second each, over 600 seconds.
    near(between(&attack, 120, 180), 20.0 * 0.1 * 1.27 * 60.0, 0.4);
    near(between(&attack, 660, 720), 20.0 * 10.0 * 0.8 * 60.0, 0.2);
    let minutes: Vec<_> = (2..12).map(|minute| between(&attack, minute * 60, minute * 60 + 60)).collect();
    assert!(minutes.is_sorted(), "{minutes:?}");
    // It looks as people do.
    let browser = |agent: &str| agent.starts_with("Mozilla/5.0 (") && !agent.contains("Chrome/49.");
    assert!(attack.iter().all(|record| browser(&record.user_agent)));
}

#[test]
fn overlap_hides_looks_paths_and_times() {
    let target = |overlap| {
        let attack = attacks(&Options { overlap, ..options(Scenario::SingleSourceFlood) });
        let mut paths: HashMap<&str, usize> = HashMap::new();
        for record in &attack {
            *paths.entry(&record.path).or_default() += 1;
        }
        paths.into_values().max().unwrap() as f64 / attack.len() as f64
    };
    assert_eq!(target(0.0), 1.0);
    assert!((0.45..0.75).contains(&target(0.5)), "{}", target(0.5));
    assert!(target(1.0) < 0.3, "{}", target(1.0));
}

#[test]
fn with_nat_legitimate_people_share_the_attackers_addresses() {
    for scenario in [Scenario::SingleSourceFlood, Scenario::DistributedFlood] {
        let shared = |nat| {
            let all: Vec<_> = records(&Options { nat, ..options(scenario) }).collect();
            let attackers: HashSet<_> = all.iter().filter(|record| record.is_attack()).map(|r| r.address).collect();
            all.iter().filter(|record| !record.is_attack() && attackers.contains(&record.address)).count()
        };
        assert_eq!(shared(false), 0, "{scenario:?}");
        assert!(shared(true) > 100, "{scenario:?} {}", shared(true));
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let refused = |options: Options| Simulation::new(&options).err().map(|error| error.to_string()).unwrap();
    let options = options(Scenario::SlowScraper);
    assert!(refused(Options { rate: f64::NAN, ..options.clone() }).starts_with("rate: NaN"));
    assert!(refused(Options { rate: 0.0, ..options.clone() }).starts_with("rate: 0"));
    assert!(refused(Options { overlap: 1.5, ..options.clone() }).starts_with("overlap: 1.5"));
    assert!(refused(Options { duration: Micros::ZERO, ..options.clone() }).starts_with("duration: "));
    let attack = Some(Window { from: Micros::from_secs(700), until: Micros::from_secs(800) });
    assert!(refused(Options { attack, ..options }).starts_with("attack: from 700s until 800s"));
}

#[test]
fn names_are_unique_and_found() {
    for scenario in Scenario::ALL {
        assert_eq!(Scenario::parse(scenario.name()), Some(scenario));
        assert_eq!(Scenario::parse(&scenario.name().replace('_', "-")), Some(scenario));
    }
    assert_eq!(Scenario::parse("peace"), None);
}
