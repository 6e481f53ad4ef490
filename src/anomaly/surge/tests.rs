//! Crowds, and attacks that look like them more or less.

use super::*;
use crate::anomaly::features::client::tests::request;

/// A visitor: agents 2 to 11, countries 2 to 6, paths by chance, an even number of requests.
fn visitor(random: &mut fastrand::Rng, landing: bool) -> Profile {
    let mut profile = Profile::default();
    let mut seen = request(Micros::ZERO);
    (seen.agent, seen.country) = (2 + random.u16(..10), 2 + random.u16(..5));
    for before in 0..3 {
        seen.path = if landing && before == 0 { 900 } else { 2 + random.u16(..30) };
        profile.note(&seen, before, true);
    }
    for age in 0..=profile::LEARNED {
        profile
            .picture(age, [Some(random.u8(..4)), None, Some(1 + random.u8(..3)), Some(0), Some(0), Some(0), Some(4)]);
    }
    profile
}

/// One of an attack: each trait as a visitor's, by the chance `overlap`.
fn attacker(random: &mut fastrand::Rng, overlap: f64) -> Profile {
    let usual = visitor(random, false);
    let mut profile = usual;
    let mut seen = request(Micros::ZERO);
    seen.agent = if random.f64() < overlap { usual.agent } else { 50 };
    seen.country = if random.f64() < overlap { usual.country } else { 60 };
    for before in 0..3 {
        seen.path = if random.f64() < overlap { 2 + random.u16(..30) } else { 7 };
        profile.note(&seen, before, true);
    }
    profile
}

fn calm(random: &mut fastrand::Rng) -> Calm {
    let mut calm = Calm::default();
    (0..800).for_each(|second| calm.learn(Micros::from_secs(second), visitor(random, false), Micros::ZERO));
    calm
}

/// As much is tolerated as by the default settings.
fn look(calm: &Calm, new: &[Profile], expected: f64) -> Surge {
    let mut surge = Surge::new(Micros::ZERO, Micros::ZERO);
    (0..3).for_each(|_| {
        surge.look(calm, new, expected, 0.015);
    });
    surge
}

#[test]
fn a_crowd_is_no_attack_even_if_all_land_on_one_page() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let calm = calm(&mut random);
        let crowd: Vec<_> = (0..2_000).map(|index| visitor(&mut random, index % 10 < 8)).collect();
        let surge = look(&calm, &crowd, 200.0);
        assert!(!surge.attack, "seed {seed}");
        assert!(crowd.iter().all(|profile| surge.member(profile, Micros::ZERO).is_none()));
    }
}

#[test]
fn attackers_are_told_from_visitors() {
    for seed in 0..20 {
        // At half, a quarter of them has a visitor's agent and country.
        for (overlap, least) in [(0.0, 0.99), (0.5, 0.75)] {
            let mut random = fastrand::Rng::with_seed(seed);
            let calm = calm(&mut random);
            let visitors: Vec<_> = (0..400).map(|_| visitor(&mut random, false)).collect();
            let attackers: Vec<_> = (0..3_000).map(|_| attacker(&mut random, overlap)).collect();
            let all: Vec<_> = visitors.iter().chain(&attackers).copied().collect();
            let surge = look(&calm, &all, 400.0);
            assert!(surge.attack, "seed {seed}");
            let members = |profiles: &[Profile]| {
                profiles.iter().filter(|profile| surge.member(profile, Micros::ZERO).is_some()).count() as f64
                    / profiles.len() as f64
            };
            assert!(members(&attackers) > least, "seed {seed}, overlap {overlap}: {}", members(&attackers));
            assert!(members(&visitors) <= 0.03, "seed {seed}, overlap {overlap}: {}", members(&visitors));
            let about: Vec<_> = surge
                .parts(attackers.iter().find(|one| one.agent == 50).unwrap())
                .iter()
                .map(|part| part.about)
                .collect();
            assert!(about.contains(&contrast::About::Agent(50)), "{about:?}");
        }
    }
}

#[test]
fn nothing_is_said_without_something_to_compare_with() {
    let mut random = fastrand::Rng::with_seed(1);
    let attackers: Vec<_> = (0..3_000).map(|_| attacker(&mut random, 0.0)).collect();
    assert!(!look(&Calm::default(), &attackers, 10.0).attack);
}
