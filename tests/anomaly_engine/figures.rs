//! Tables and measurements, for people: `cargo test --release --test anomaly_engine -- --ignored --nocapture NAME`, with
//! ONLY (part of a scenario's name), FROM and SEEDS (the seeds) and EVENTS (print them) in the environment.

use tidegate::anomaly::engine::Engine;
use tidegate::anomaly::event::Event;
use tidegate::anomaly::observation::Outcome;
use tidegate::anomaly::simulate::{LEGIT, Options, Record, START, Scenario, Simulation};
use tidegate::core::clock::Micros;

use crate::stand::{Outcomes, enforcing, micros, observation, run, run_lines};
use crate::world::{Attack, Line, Shape, World};

#[test]
#[ignore = "prints a table; a person runs it: cargo test --release --test anomaly_engine -- --ignored --nocapture table"]
fn table() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2);
    for attack in Attack::ALL.into_iter().filter(|attack| format!("{attack:?}").contains(&only)) {
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
                        print_events(&found.events);
                    }
                }
            }
        }
    }
}

fn print_events(events: &[Event]) {
    for event in events.iter().take(40) {
        let at = event.at.0 as f64 / 1e6 - 1_700_000_000.0;
        let reasons: Vec<_> = event.reasons.iter().map(|reason| reason.text.as_str()).collect();
        println!("   {at:.0} {} {:?} {:.2} {}", event.subject, event.kind, event.score, reasons.join("; "));
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
#[ignore = "prints what misses its goal; a person runs it: cargo test --release --test anomaly_engine -- --ignored --nocapture sweep"]
fn sweep() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
    for attack in Attack::ALL.into_iter().filter(|attack| format!("{attack:?}").contains(&only)) {
        let (mut runs, mut missed, mut false_flags) = (0, 0, 0);
        for seed in number("FROM", 100)..number("FROM", 100) + number("SEEDS", 10) {
            let shape = by_chance(attack, seed);
            let found = run(shape, &enforcing());
            runs += 1;
            if std::env::var("EVENTS").is_ok() {
                print_events(&found.events);
            }
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

#[test]
#[ignore = "measures; a person runs it: cargo test --release --test anomaly_engine -- --ignored --nocapture throughput"]
fn throughput() {
    for (attack, sessions) in [(Attack::None, 200.0), (Attack::DistributedFlood, 50.0)] {
        let shape = Shape { sessions, gap: 3.0, ..Shape::of(attack, 1) };
        let lines: Vec<_> = World::new(shape).collect();
        // In turn, the best of three, without the time that training takes elsewhere.
        let mut best = [(f64::INFINITY, 0.0, 0.0); 2];
        for trains in [false, true, false, true, false, true] {
            let (elapsed, worst, training) = time(&lines, trains);
            let best = &mut best[usize::from(trains)];
            if elapsed < best.0 {
                *best = (elapsed, worst, training);
            }
        }
        for (models, (elapsed, worst, training)) in ["without", "with"].into_iter().zip(best) {
            println!(
                "{attack:?} {models} models: {} lines, {:.0} a second, longest tick {:.0} ms, training {:.0} ms in all",
                lines.len(),
                lines.len() as f64 / elapsed,
                worst * 1e3,
                training * 1e3
            );
        }
    }
}

/// Seconds that an engine takes, those of its longest tick, and those that training takes.
fn time(lines: &[Line], trains: bool) -> (f64, f64, f64) {
    let mut engine = Engine::new(&enforcing());
    let (mut training, mut worst, mut second) = (0.0, 0.0_f64, 1.0);
    let began = std::time::Instant::now();
    for line in lines {
        while line.at >= second {
            let tick = std::time::Instant::now();
            engine.tick(micros(second));
            worst = worst.max(tick.elapsed().as_secs_f64());
            second += 1.0;
            if trains {
                let began = std::time::Instant::now();
                engine.train_in_place();
                training += began.elapsed().as_secs_f64();
            }
        }
        engine.observe(&observation(line, Outcome::Allowed));
    }
    (began.elapsed().as_secs_f64() - training, worst, training)
}

/// A request of the product's simulator.
fn line(record: &Record) -> Line {
    let text = |text: &str| text.to_owned();
    Line {
        at: (record.at.0 - START.0) as f64 / 1e6,
        user: record.user.as_deref().map(text),
        address: record.address,
        method: record.method,
        path: text(&record.path),
        agent: text(&record.user_agent),
        country: record.country.as_bytes().first_chunk().copied().unwrap_or_default(),
        status: record.status,
        bytes: record.bytes,
        attack: record.label != LEGIT,
    }
}

/// What models add to features: each scenario of the simulator with and without them.
#[test]
#[ignore = "prints a table; a person runs it: cargo test --release --test anomaly_engine -- --ignored --nocapture fusion"]
fn fusion() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
    let (from, seeds) = (number("FROM", 1_000), number("SEEDS", 20));
    let duration = Micros::from_secs(number("MINUTES", 30) * 60);
    for scenario in Scenario::ALL.into_iter().filter(|scenario| scenario.name().contains(&only)) {
        let begins = duration.0 as f64 / 1e6 / if scenario == Scenario::MimicPoisoner { 6.0 } else { 3.0 };
        for trains in [false, true] {
            let mut all = Outcomes::default();
            let mut found = Vec::new();
            for seed in from..from + seeds {
                let (rate, overlap) = (number("RATE", 40) as f64, number("OVERLAP", 50) as f64 / 100.0);
                let options =
                    Options { scenario, seed, start: START, duration, rate, overlap, nat: false, attack: None };
                let lines = Simulation::new(&options).unwrap().map(|record| line(&record));
                let outcomes = run_lines(lines, begins, &mut Engine::new(&enforcing()), |engine, _| {
                    if trains {
                        engine.train_in_place();
                    }
                });
                if std::env::var("EVENTS").is_ok() {
                    println!("{scenario:?} seed {seed} models {trains}");
                    print_events(&outcomes.events);
                }
                all.false_flags += outcomes.false_flags;
                all.true_flags += outcomes.true_flags;
                all.legit_adjusted += outcomes.legit_adjusted;
                all.legit += outcomes.legit;
                all.attack_stopped += outcomes.attack_stopped;
                all.attack += outcomes.attack;
                found.push(outcomes.flagged.unwrap_or(f64::INFINITY));
            }
            found.sort_by(f64::total_cmp);
            println!(
                "{:20} models {trains:5}: false flags {}, adjusted {:.6}; found after {:.0} s (median), {:.0} s (last); \
                 true flags {}, stopped {:.3}",
                scenario.name(),
                all.false_flags,
                all.adjusted_share(),
                found[found.len() / 2],
                found[found.len() - 1],
                all.true_flags,
                all.attack_stopped as f64 / all.attack.max(1) as f64,
            );
        }
    }
}
