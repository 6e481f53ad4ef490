//! What does a decision cost over gRPC, beside a server that decides nothing?
//!
//! `cargo bench --bench end_to_end` starts three servers in turn, each pinned to the first core, and loads each from
//! the second with `h2load` (Debian package `nghttp2-client`), round after round:
//!
//! - `tonic-default`: a tonic server that answers OK, on tokio's default multi-threaded runtime,
//! - `tonic-worker`: the same on one single-threaded runtime,
//! - `tidegate`: 10 000 rules over several domains and depths, two descriptors a request, metrics, metadata and
//!   response headers on.
//!
//! It prints requests/s, latency percentiles and CPU microseconds per request, and the ratios round by round, which
//! hold on a noisy machine where single figures do not. Options: `-- --rounds N --requests N --only NAME[,NAME]`.
//!
//! `-- --scenario workers` compares one worker with two, and a load on many connections with the same on one.
//! `-- --scenario redis` has the counters in Redis, for several kinds of traffic (`--only` names some), in turn on one
//! server, a cluster, and a cluster with buckets (`--on single,cluster,buckets` names some,
//! `memory` and `direct`, which is Redis without Tidegate, are for comparison), as fast as it goes or at `--rate N` requests a second.
//! `-- --scenario live` changes rules in Postgres through the API of three replicas (`--changes N`), and `-- --scenario
//! million` does so among a million rules; both start a PostgreSQL (Debian package `postgresql`).
//! `-- --scenario authz` asks by external authorization, beside a tonic server that authorizes everything.
//! `-- --scenario observed` has somebody read observations, in turn with nobody.
//! `-- --scenario reload` replaces a file of 100 000 rules while the server is under full load.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::duplicate_mod, reason = "both kinds of servers need ports and certificates")]

#[path = "../../tests/postgres_support/mod.rs"]
mod postgres_support;
#[path = "../../tests/redis_support/mod.rs"]
mod redis_support;
#[path = "../support/mod.rs"]
mod support;

mod authz;
mod direct;
mod driver;
mod live;
mod load;
mod observed;
mod question;
mod redis;
mod reload;
mod report;
mod servers;
mod workers;

use std::process::ExitCode;

use load::Load;

/// What the command line says.
struct Options {
    rounds: usize,
    requests: usize,
    changes: usize,
    rate: u64,
    only: Option<String>,
    on: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        arguments.get(position + 1).cloned()
    };
    if let Some(name) = value("--serve") {
        return servers::serve(&name);
    }
    let number = |name: &str, default: usize| value(name).map_or(default, |text| text.parse().expect("a number"));
    let options = Options {
        rounds: number("--rounds", 5),
        requests: number("--requests", 200_000),
        changes: number("--changes", 1_000),
        rate: number("--rate", 0) as u64,
        only: value("--only"),
        on: value("--on"),
    };
    match value("--scenario").as_deref() {
        None => side_by_side(&options),
        Some("workers") => workers::run(&options),
        Some("reload") => reload::run(&options),
        Some("redis") => redis::run(&options),
        Some("live") => live::run(&options),
        Some("million") => live::million(&options),
        Some("authz") => authz::run(&options),
        Some("observed") => observed::run(&options),
        Some(other) => {
            panic!("no scenario {other}; there are workers, reload, redis, live, million, authz and observed")
        }
    }
    ExitCode::SUCCESS
}

fn side_by_side(options: &Options) {
    let names: Vec<&str> = servers::NAMES
        .into_iter()
        .filter(|name| options.only.as_ref().is_none_or(|only| only.split(',').any(|each| each == *name)))
        .collect();
    let mut runs = Vec::new();
    for round in 0..=options.rounds {
        for name in &names {
            let server = servers::Server::start(name, "0", &[]);
            let run = load::run(&server, &Load { requests: options.requests, ..Load::default() });
            // The first round warms the machine up.
            if round > 0 {
                runs.push((*name, run));
            }
        }
    }
    report::print(&names, &runs);
}
