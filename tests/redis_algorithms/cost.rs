//! What a hit costs Redis: CPU time of the server per hit, with one, 8 and 32 counters in a call. Run it by itself, on
//! an optimised build or not: only the server's own time is counted.
//!
//! `cargo test --test redis_algorithms -- --ignored --nocapture cost`

use bytes::Bytes;
use fred::prelude::*;
use fred::types::{CustomCommand, InfoKind};
use tidegate::core::clock::Micros;
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::counters::redis::program::{CounterProgram, Independent, Joint, Step, UnitStep};
use tidegate::counters::redis::scripts;

use crate::independent::counter;
use crate::server::Server;

const HITS: usize = 60_000;

fn limit(algorithm: Algorithm, amount: u64, over: Over) -> Limit {
    Limit::new(LimitParts {
        algorithm,
        over,
        burst: algorithm.has_burst().then_some(amount),
        ..LimitParts::fixed_window(amount, Window::Length(Micros::from_secs(60)))
    })
    .unwrap()
}

/// Microseconds of the server's CPU so far.
fn cpu(server: &Server) -> f64 {
    let info: String = server.block_on(server.client.info(Some(InfoKind::Cpu))).unwrap();
    let of =
        |name: &str| -> f64 { info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap() };
    (of("used_cpu_user_main_thread:") + of("used_cpu_sys_main_thread:")) * 1e6
}

/// Server CPU per hit, and that inside of the command.
fn measure(
    server: &Server,
    calls: usize,
    hits: usize,
    mut send: impl FnMut(usize) -> (String, Vec<Bytes>, Vec<Bytes>),
) -> (f64, f64) {
    server.block_on(async {
        let _: Value =
            server.client.custom(CustomCommand::new_static("CONFIG", None, false), vec!["RESETSTAT"]).await.unwrap();
    });
    let before = cpu(server);
    let mut done = 0;
    while done < calls {
        server.block_on(async {
            let pipeline = server.client.pipeline();
            for _ in 0..100.min(calls - done) {
                let (sha, keys, args) = send(done);
                let keys_count = Bytes::from(keys.len().to_string());
                let args = [vec![sha.into(), keys_count], keys, args].concat();
                let _: () = pipeline.custom(CustomCommand::new_static("EVALSHA", None, false), args).await.unwrap();
                done += 1;
            }
            let _: Vec<Value> = pipeline.all().await.unwrap();
        });
    }
    let spent = cpu(server) - before;
    let stats: String = server.block_on(server.client.info(Some(InfoKind::CommandStats))).unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap().to_owned();
    let inside: f64 = line.split(',').find_map(|part| part.strip_prefix("usec=")).unwrap().parse().unwrap();
    (spent / hits as f64, inside / hits as f64)
}

#[test]
#[ignore = "a measurement"]
fn cost() {
    let server = Server::start();
    for script in [&scripts::INDEPENDENT, &scripts::JOINT] {
        let _: Value = server.block_on(server.client.script_load(script.source)).unwrap();
    }
    println!("{:<26}{:>10}{:>22}{:>22}{:>22}", "microseconds per hit", "", "1 a call", "8 a call", "32 a call");
    let mut cases: Vec<(String, Limit)> = Vec::new();
    for algorithm in Algorithm::ALL {
        cases.push((format!("{algorithm}, fresh"), limit(algorithm, 10_000, Over::Drop)));
    }
    for algorithm in Algorithm::ALL {
        cases.push((format!("{algorithm}, denied"), limit(algorithm, 1, Over::Drop)));
    }
    cases.push(("sliding_window_log, record".to_owned(), limit(Algorithm::SlidingWindowLog, 20, Over::Record)));
    for (name, limit) in cases {
        let mut line = format!("{name:<36}");
        for size in [1, 8, 32] {
            server.flush();
            // So many keys that each gets about ten hits.
            let keys: Vec<String> = (0..HITS / 10).map(|key| format!("rate_limit:{{{key}}}:{name}")).collect();
            let (all, inside) = measure(&server, HITS / size, HITS, |call| {
                let counters = (0..size).map(|position| CounterProgram {
                    counter: counter(&keys[(call * size + position) * 7 % keys.len()], &limit),
                    runs: [Operation::Charge(1).into()].into_iter().collect(),
                });
                let call = Independent { counters: counters.collect(), channel: Bytes::new() }.call(Micros::ZERO);
                (call.script.sha1.clone(), call.keys, call.args)
            });
            line += &format!("{all:>10.2} ({inside:>5.2})    ");
        }
        println!("{line}");
    }
    memory(&server);
    let limit = limit(Algorithm::FixedWindow, 10_000, Over::Drop);
    let (all, inside) = measure(&server, HITS / 16, HITS, |call| {
        let program = Joint {
            counters: (0..16)
                .map(|position| counter(&format!("joint {}", (call * 16 + position) % 6_000), &limit))
                .collect(),
            units: (0..8)
                .map(|unit| {
                    [0, 1]
                        .map(|hit| UnitStep {
                            counter: unit * 2 + hit,
                            step: Step::Operation(Operation::Charge(1)),
                            enforced: true,
                        })
                        .into_iter()
                        .collect()
                })
                .collect(),
            channel: Bytes::new(),
        };
        let call = program.call(Micros::ZERO);
        (call.script.sha1.clone(), call.keys, call.args)
    });
    println!("joint, 8 units of 2 fixed windows: {all:.2} ({inside:.2})");
}

/// Bytes that a key takes, with its name and its place in the table of keys and of expiries.
fn memory(server: &Server) {
    for algorithm in Algorithm::ALL {
        for hits in [1, 100, 1_000] {
            server.flush();
            let used = || -> i64 {
                let info: String = server.block_on(server.client.info(Some(InfoKind::Memory))).unwrap();
                info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
            };
            let limit = limit(algorithm, 10_000, Over::Drop);
            // A bucket drains while it is looked at.
            let charged = if algorithm.has_burst() { 9_000 } else { hits as u64 };
            let before = used();
            let count = 20_000 / hits;
            for call in 0..count / 20 {
                let counters = (0..20).map(|n| CounterProgram {
                    counter: counter(
                        &format!("rate_limit:{{edge|user_id|{:016}}}:fixed_window:60s", call * 20 + n),
                        &limit,
                    ),
                    runs: [Operation::Charge(charged).into()].into_iter().collect(),
                });
                let call = Independent { counters: counters.collect(), channel: Bytes::new() }.call(Micros::ZERO);
                server.call(call);
            }
            println!("{algorithm}, {hits} hits: {} bytes a key", (used() - before) / (count / 20 * 20) as i64);
            if algorithm != Algorithm::SlidingWindowLog {
                break;
            }
        }
    }
}
