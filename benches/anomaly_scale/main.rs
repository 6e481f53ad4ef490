//! What does the anomaly worker's engine cost where there are a million clients, and while it is flooded?
//!
//! `cargo bench --bench anomaly_scale` runs each scenario in virtual time in a process of its own and prints memory, CPU
//! time and the longest end of an interval. `-- --only NAME` runs one, `-- --seconds N` shortens it, `-- --each` tells every
//! second, and `-- --events FILE` writes its events, so that those of two builds can be compared: the same traffic must
//! give the same.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures")]

#[path = "../support/mod.rs"]
mod support;
mod town;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::process::Command;

use sha2::{Digest as _, Sha256};
use tidegate::anomaly::engine::Engine;
use tidegate::anomaly::event::Kind;
use tidegate::config::anomaly::Anomaly;
use tidegate::core::clock::Micros;
use tidegate::core::subject::Subject;

use support::deciding::Deciding;
use town::{Disguise, Flood, Town};

/// What a million clients may take, in megabytes.
const MOST_MEMORY: u64 = 1_000;

/// Measures decisions instead.
const OBSERVING: &str = "observing";

/// Who comes to the town, and for how long.
struct Scenario {
    name: &'static str,
    /// The most clients that the engine follows.
    most: usize,
    /// Clients of calm times, and their requests a second.
    clients: u64,
    rate: u64,
    seconds: u64,
    flood: Flood,
}

const fn flood(disguise: Disguise, sources: u64, rate: u64, begins: u64) -> Flood {
    Flood { disguise, sources, rate, begins, ends: begins + 90 }
}

const fn flooded(name: &'static str, disguise: Disguise, sources: u64, rate: u64) -> Scenario {
    let flood = flood(disguise, sources, rate, 300);
    Scenario { name, most: 100_000, clients: 50_000, rate: 2_000, seconds: 420, flood }
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "million",
        most: 1_000_000,
        clients: 1_000_000,
        rate: 20_000,
        seconds: 720,
        flood: flood(Disguise::Plain, 10_000, 5_000, 600),
    },
    flooded("plain", Disguise::Plain, 10_000, 5_000),
    flooded("as-people", Disguise::AsPeople, 10_000, 5_000),
    flooded("made-up-users", Disguise::MadeUpUsers, 10_000, 5_000),
    flooded("shared", Disguise::Shared, 10_000, 5_000),
    flooded("heavy-shared", Disguise::Shared, 1_000, 20_000),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let seconds = value("--seconds").map(|seconds| seconds.parse().expect("--seconds takes a number"));
    let Some(only) = value("--only") else {
        println!("| scenario | clients | requests | us a request | ms an interval | cores | longest ms | MB |");
        println!("|---|---|---|---|---|---|---|---|");
        // Each in a process of its own, so that none has the memory of another.
        for name in SCENARIOS.iter().map(|scenario| scenario.name).chain([OBSERVING]) {
            let mut child = Command::new(std::env::current_exe().unwrap());
            assert!(child.args(["--only", name]).status().unwrap().success(), "{name}");
        }
        return;
    };
    if only == OBSERVING {
        return observing();
    }
    let scenario = SCENARIOS.into_iter().find(|scenario| scenario.name == only).expect("a scenario's name");
    let each = arguments.iter().any(|argument| argument == "--each");
    run(&scenario, seconds.unwrap_or(scenario.seconds), each, value("--events").map(String::as_str));
}

fn run(scenario: &Scenario, seconds: u64, each: bool, file: Option<&str>) {
    let settings = Anomaly {
        enabled: true,
        shadow: false,
        max_clients: scenario.most,
        warm_up: std::time::Duration::from_secs(120),
        ..Anomaly::default()
    };
    let mut engine = Engine::new(&settings);
    let mut town = Town::new(scenario.clients, scenario.rate, Some(scenario.flood));
    let (mut requests, mut observing, mut ticking, mut longest) = (0_u64, 0.0, 0.0, (0.0, 0));
    let mut file = file.map(|path| BufWriter::new(File::create(path).unwrap()));
    let mut digest = Sha256::new();
    let (mut flags, mut told, mut acted) = (0, 0, HashSet::new());
    for second in 0..seconds {
        let lines: Vec<_> = town.second(second).collect();
        let before = cpu_seconds();
        lines.iter().for_each(|line| engine.observe(line));
        let between = cpu_seconds();
        let found = engine.tick(Micros(1_700_000_000_000_000 + (second + 1) * 1_000_000));
        let after = cpu_seconds();
        requests += lines.len() as u64;
        observing += between - before;
        ticking += after - between;
        if after - between > longest.0 {
            longest = (after - between, second);
        }
        if each {
            eprintln!(
                "{second}: {:.1} ms, {:.1} ms, {} clients, {} events, {} MB",
                (between - before) * 1e3,
                (after - between) * 1e3,
                engine.clients(),
                found.len(),
                memory("VmRSS")
            );
        }
        for event in found {
            told += 1;
            flags += usize::from(event.kind == Kind::Flag);
            if matches!(event.kind, Kind::Tighten { .. } | Kind::Block { .. }) {
                acted.insert(event.subject.clone());
            }
            let line = format!("{event:?}\n");
            digest.update(&line);
            if let Some(file) = &mut file {
                file.write_all(line.as_bytes()).unwrap();
            }
        }
    }
    let groups = acted.iter().filter(|subject| matches!(subject, Subject::Group(_))).count();
    let all = observing + ticking;
    println!(
        "| {} | {} | {requests} | {:.2} | {:.1} | {:.3} | {:.0} (s {}) | {} (most {}) |",
        scenario.name,
        engine.clients(),
        observing * 1e6 / requests as f64,
        ticking * 1e3 / seconds as f64,
        all / seconds as f64,
        longest.0 * 1e3,
        longest.1,
        memory("VmRSS"),
        memory("VmHWM"),
    );
    let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    println!("  {told} events {digest}: {flags} flags, {} limited, {groups} of them groups", acted.len());
    assert!(memory("VmHWM") <= MOST_MEMORY, "{} MB, at most {MOST_MEMORY}", memory("VmHWM"));
}

/// A figure of a round: of decisions alone, with observations, and the difference.
type Figure = fn(&(f64, f64, f64)) -> f64;

/// What an observation adds to a decision, both in turn.
fn observing() {
    const DECISIONS: u32 = 20_000;
    let mut deciding = Deciding::new(false);
    let mut rounds = Vec::new();
    for _ in 0..101 {
        let [alone, observed] = [false, true].map(|wanted| {
            deciding.want(wanted);
            let before = cpu_seconds();
            (0..DECISIONS).for_each(|_| deciding.decide());
            let each = (cpu_seconds() - before) * 1e9 / f64::from(DECISIONS);
            assert_eq!(deciding.take(), if wanted { u64::from(DECISIONS) } else { 0 });
            each
        });
        rounds.push((alone, observed, observed - alone));
    }
    let at = |share: f64, of: Figure| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[((values.len() - 1) as f64 * share) as usize]
    };
    println!(
        "\n| ns of CPU, {} rounds of {DECISIONS} | a tenth below | median | a tenth above |\n|---|---|---|---|",
        rounds.len()
    );
    let rows: [(&str, Figure); 3] = [
        ("decision", |round| round.0),
        ("decision with observation", |round| round.1),
        ("difference", |round| round.2),
    ];
    for (name, of) in rows {
        println!("| {name} | {:.0} | {:.0} | {:.0} |", at(0.1, of), at(0.5, of), at(0.9, of));
    }
}

/// CPU time of this thread, which neighbours on the machine hardly change.
fn cpu_seconds() -> f64 {
    // The scheduler brings the figure up to date.
    std::thread::yield_now();
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with scheduler statistics");
    statistics.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Of this process, in megabytes.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}
