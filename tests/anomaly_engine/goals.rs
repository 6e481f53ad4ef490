//! The goals, as properties over seeds.

use crate::stand::{enforcing, run};
use crate::world::{Attack, Shape};

#[test]
#[ignore = "prints a table, for people"]
fn table() {
    let attacks = [
        Attack::None,
        Attack::SingleFlood,
        Attack::DistributedFlood,
        Attack::FlashCrowd,
        Attack::Stuffing,
        Attack::SpreadStuffing,
        Attack::Scraper,
        Attack::Pulsing,
    ];
    let only = std::env::var("ONLY").unwrap_or_default();
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2);
    for attack in attacks.into_iter().filter(|attack| format!("{attack:?}").contains(&only)) {
        for overlap in [0.0, 0.5, 0.9] {
            for nat in [false, true] {
                if matches!(attack, Attack::None | Attack::FlashCrowd) && (overlap > 0.0 || nat) {
                    continue;
                }
                for seed in 1..=seeds {
                    let shape = Shape { overlap, nat, named: seed % 2 == 0, ..Shape::of(attack, seed) };
                    let began = std::time::Instant::now();
                    let found = run(shape, &enforcing());
                    println!(
                        "{attack:?} overlap {overlap} nat {nat} seed {seed}: flag {:?} act {:?} stopped {:.3} late {:.3} legit {:.5} adj {:.5} false {} events {} ({} lines {:.1} s)",
                        found.flagged.map(|s| s.round()),
                        found.acted.map(|s| s.round()),
                        found.attack_stopped as f64 / found.attack.max(1) as f64,
                        found.late_share(),
                        found.legit_share(),
                        found.adjusted_share(),
                        found.false_flags,
                        found.events.len(),
                        found.legit + found.attack,
                        began.elapsed().as_secs_f64(),
                    );
                    if std::env::var("EVENTS").is_ok() {
                        for event in found.events.iter().take(60) {
                            println!(
                                "   {:.0} {} {:?} {:.2} {}",
                                event.at.0 as f64 / 1e6 - 1_700_000_000.0,
                                event.subject,
                                event.kind,
                                event.score,
                                event.reasons.iter().map(|reason| reason.text.clone()).collect::<Vec<_>>().join("; ")
                            );
                        }
                    }
                }
            }
        }
    }
}

/// A world by chance.
fn by_chance(attack: Attack, seed: u64) -> Shape {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let begins = 150.0 + random.f64() * 250.0;
    Shape {
        overlap: [0.0, 0.5][random.usize(..2)],
        nat: random.bool(),
        named: random.bool(),
        sessions: 1.0 + random.f64() * 9.0,
        gap: [3.0, 10.0, 30.0][random.usize(..3)],
        sources: [3_000, 10_000][random.usize(..2)],
        flood: 50.0 + random.f64() * 450.0,
        begins,
        ends: begins + 180.0,
        span: begins + 200.0,
        ..Shape::of(attack, seed)
    }
}

#[test]
#[ignore = "prints what misses its goal, for people"]
fn sweep() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
    let attacks = [
        Attack::None,
        Attack::SingleFlood,
        Attack::DistributedFlood,
        Attack::FlashCrowd,
        Attack::Stuffing,
        Attack::SpreadStuffing,
        Attack::Scraper,
        Attack::Pulsing,
    ];
    for attack in attacks.into_iter().filter(|attack| format!("{attack:?}").contains(&only)) {
        let (mut runs, mut missed, mut false_flags) = (0, 0, 0);
        for seed in number("FROM", 100)..number("FROM", 100) + number("SEEDS", 10) {
            let shape = by_chance(attack, seed);
            let found = run(shape, &enforcing());
            runs += 1;
            false_flags += found.false_flags;
            let within = |seconds: f64, limit: f64| seconds <= limit;
            let good = match attack {
                Attack::None => found.legit_adjusted == 0,
                Attack::FlashCrowd => found.adjusted_share() < 0.001,
                Attack::SingleFlood | Attack::Pulsing => {
                    found.acted.is_some_and(|at| within(at, 5.0)) && found.legit_share() < 0.005
                }
                Attack::DistributedFlood => found.late_share() >= 0.9 && found.legit_share() < 0.005,
                _ => found.flagged.is_some_and(|at| within(at, 120.0)) && found.legit_share() < 0.005,
            };
            if !good {
                missed += 1;
                println!(
                    "  {attack:?} seed {seed} overlap {} nat {} named {} sessions {:.1} gap {} sources {} flood {:.0} begins {:.0}: flag {:?} act {:?} stopped {:.3} late {:.3} legit {:.5} adj {:.5} of {}",
                    shape.overlap,
                    shape.nat,
                    shape.named,
                    shape.sessions,
                    shape.gap,
                    shape.sources,
                    shape.flood,
                    shape.begins,
                    found.flagged.map(f64::round),
                    found.acted.map(f64::round),
                    found.attack_stopped as f64 / found.attack.max(1) as f64,
                    found.late_share(),
                    found.legit_share(),
                    found.adjusted_share(),
                    found.legit,
                );
            }
        }
        println!("{attack:?}: {missed} of {runs} missed; false flags {false_flags}");
    }
}
