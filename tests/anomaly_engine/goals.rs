//! The goals, as properties over seeds, with the settings that are the default. Worlds are small, so that they run in a
//! build for tests; `figures` has the large ones.

use crate::stand::{Outcomes, enforcing, run};
use crate::world::{Attack, Shape};

/// Runs a scenario over seeds, with and without overlap and shared addresses.
fn each(attack: Attack, seeds: std::ops::Range<u64>, check: impl Fn(&Shape, &Outcomes)) {
    for seed in seeds {
        for (overlap, nat) in [(0.0, false), (0.5, true), (0.5, false), (0.0, true)] {
            let shape = Shape { overlap, nat, named: seed % 2 == 0, ..small(attack, seed) };
            check(&shape, &run(shape, &enforcing()));
        }
    }
}

fn small(attack: Attack, seed: u64) -> Shape {
    let begins = 150.0 + (seed % 10) as f64 * 4.0;
    Shape {
        begins,
        ends: begins + 100.0,
        span: begins + 110.0,
        sources: 2_000,
        gap: 6.0,
        flood: 120.0,
        ..Shape::of(attack, seed)
    }
}

/// No more than one in 200 requests of visitors is limited, for whatever reason.
fn visitors_are_left_alone(shape: &Shape, found: &Outcomes) {
    assert!(found.legit_share() < 0.005, "{shape:?}: {}", found.legit_share());
}

#[test]
fn calm_traffic_is_left_alone() {
    for seed in 500..504 {
        let found = run(small(Attack::None, seed), &enforcing());
        assert_eq!(found.legit_adjusted, 0, "seed {seed}");
        assert!(found.false_flags <= 1, "seed {seed}: {:#?}", found.events);
    }
}

#[test]
fn a_crowd_is_left_alone() {
    for seed in 510..514 {
        let found = run(small(Attack::FlashCrowd, seed), &enforcing());
        assert!(found.adjusted_share() < 0.001, "seed {seed}: {}", found.adjusted_share());
    }
}

#[test]
fn a_flood_from_one_source_is_tightened_within_seconds() {
    each(Attack::SingleFlood, 520..523, |shape, found| {
        assert!(found.acted.is_some_and(|after| after < 5.0), "{shape:?}: {:?}", found.acted);
        // From a shared address only what groups can tell apart is stopped.
        if !shape.nat {
            assert!(found.late_share() > 0.9, "{shape:?}: {}", found.late_share());
        }
        visitors_are_left_alone(shape, found);
    });
}

#[test]
fn a_flood_from_many_sources_is_stopped_within_a_minute() {
    each(Attack::DistributedFlood, 530..532, |shape, found| {
        assert!(found.late_share() >= 0.9, "{shape:?}: {}", found.late_share());
        visitors_are_left_alone(shape, found);
    });
}

#[test]
fn stuffing_and_scrapers_are_flagged_within_two_minutes() {
    for attack in [Attack::Stuffing, Attack::SpreadStuffing, Attack::Scraper] {
        each(attack, 540..542, |shape, found| {
            assert!(found.flagged.is_some_and(|after| after < 120.0), "{shape:?}: {:?}", found.flagged);
            visitors_are_left_alone(shape, found);
        });
    }
}

#[test]
fn an_attack_that_comes_back_finds_the_door_closed() {
    each(Attack::Pulsing, 550..552, |shape, found| {
        assert!(found.acted.is_some_and(|after| after < 5.0), "{shape:?}: {:?}", found.acted);
        // From a shared address only what groups can tell apart is stopped.
        if !shape.nat {
            assert!(found.late_share() > 0.9, "{shape:?}: {}", found.late_share());
        }
        visitors_are_left_alone(shape, found);
    });
}
