//! `tidegate demo`: a server in this process, lively traffic to it, and a live table. Needs nothing else installed.

mod board;
mod clients;
mod envoy;
mod plain;
mod screen;
mod traffic;

use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::client::{self, Listener};
use super::print;
use crate::config::Config;
use crate::server::{self, Running};
use board::Board;
use clients::{Clients, Target};
use screen::Screen;
use traffic::Traffic;

/// The domain of the example rules.
const DOMAIN: &str = "edge";
/// How often visits are made and keys are read.
const STEP: Duration = Duration::from_millis(20);
/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// The longest for the server, or Envoy, to answer at the start.
const START: Duration = Duration::from_secs(15);

/// Show a running server under lively traffic, in this terminal
///
/// Starts a server in this process, with the example rules built in and on free ports of the loopback interface, and
/// sends it traffic through its own gRPC port: people who browse, a noisy neighbour, somebody who guesses passwords,
/// a job whose limit is tried out in shadow mode. The table shows what each rule does about it. q or Ctrl-C ends it.
/// Without a terminal it prints plain lines.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate demo
  tidegate demo --for 20s --rate 1000
  tidegate demo --envoy /usr/local/bin/envoy     the same through a real Envoy, as HTTP requests
  tidegate demo --grpc-address 127.0.0.1:8081    on a port of your choice; ask it with `tidegate check`")]
pub struct Args {
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = client::duration)]
    duration: Option<Duration>,
    /// Requests a second, on the average
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=20_000), value_name = "COUNT")]
    rate: u32,
    /// Tells another story
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Print lines even in a terminal
    #[arg(long)]
    plain: bool,
    /// Send the traffic through this Envoy binary
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Where Envoy asks [default: a free port]
    #[arg(long, value_name = "IP:PORT", hide_default_value = true, default_value_t = loopback())]
    grpc_address: SocketAddr,
    /// Where everybody else asks [default: a free port]
    #[arg(long, value_name = "IP:PORT", hide_default_value = true, default_value_t = loopback())]
    http_address: SocketAddr,
    /// Metrics and administration [default: a free port]
    #[arg(long, value_name = "IP:PORT", hide_default_value = true, default_value_t = loopback())]
    admin_address: SocketAddr,
}

/// Any free port.
fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}
