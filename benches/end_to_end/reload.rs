//! A file of 100 000 rules is replaced while the server is under full load: does any request fail, and what happens
//! to the latency until the new rules are in force?

use std::time::{Duration, SystemTime};

use crate::Options;
use crate::load::{self, Load};
use crate::servers::Server;

const RULES: usize = 100_000;

pub fn run(options: &Options) {
    for (cores, what) in [("0", "the server on one core"), ("0,1", "the server on both cores, the load on the second")]
    {
        println!("{what}:");
        for _ in 0..options.rounds {
            once(cores, options.requests.max(1_000_000));
        }
    }
}

fn once(cores: &str, requests: usize) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    let text = crate::support::yaml("domain-3", RULES);
    std::fs::write(&file, &text).unwrap();
    let rules = directory.path().to_str().unwrap().to_owned();
    let mut server = Server::start("tidegate", cores, &[("BENCH_RULES", &rules)]);
    // The new file is put in place while the load runs, two seconds after its warm-up.
    let changed = text.replacen("requests_per_unit: 1000000000", "requests_per_unit: 999999999", 1);
    let replacing = std::thread::spawn({
        let file = file.clone();
        move || {
            std::thread::sleep(Duration::from_secs(4));
            let new = file.with_extension("new");
            std::fs::write(&new, changed).unwrap();
            let start = micros();
            std::fs::rename(&new, &file).unwrap();
            start
        }
    });
    let load = Load { requests, ..Load::default() };
    let run = load::run(&server, &load);
    let start = replacing.join().unwrap();
    let line = server.next_line();
    let in_force: u64 = line.strip_prefix("revision 2 at ").expect(&line).parse().unwrap();
    let between = |from: u64, to: u64| {
        let mut latencies: Vec<u32> =
            run.requests.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, took)| *took).collect();
        latencies.sort_unstable();
        latencies
    };
    let (before, during) = (between(0, start), between(start, in_force));
    let p99 = |latencies: &[u32]| load::percentile(latencies, 0.99);
    println!(
        "  {} ms from change to enforcement; p99 {} us before ({} requests), {} us during ({} requests), ratio {:.2}; \
         {} failed",
        (in_force - start) / 1_000,
        p99(&before),
        before.len(),
        p99(&during),
        during.len(),
        f64::from(p99(&during)) / f64::from(p99(&before).max(1)),
        run.failed,
    );
}

/// The wall clock, as `h2load` writes it.
pub fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}
