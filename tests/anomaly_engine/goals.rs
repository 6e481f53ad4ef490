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
