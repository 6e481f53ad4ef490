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
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod load;
mod report;
mod servers;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(position) = arguments.iter().position(|argument| argument == "--serve") {
        return servers::serve(&arguments[position + 1]);
    }
    let value = |name: &str| {
        let position = arguments.iter().position(|argument| argument == name)?;
        arguments.get(position + 1).cloned()
    };
    let number = |name: &str, default: usize| value(name).map_or(default, |text| text.parse().expect("a number"));
    let only = value("--only");
    let names: Vec<&str> = servers::NAMES
        .into_iter()
        .filter(|name| only.as_ref().is_none_or(|only| only.split(',').any(|each| each == *name)))
        .collect();
    let rounds = number("--rounds", 5);
    let requests = number("--requests", 200_000);
    let mut runs = Vec::new();
    for round in 0..=rounds {
        for name in &names {
            let server = servers::Server::start(name);
            let run = load::run(&server, requests);
            // The first round warms the machine up.
            if round > 0 {
                runs.push((*name, run));
            }
        }
    }
    report::print(&names, &runs);
    ExitCode::SUCCESS
}
