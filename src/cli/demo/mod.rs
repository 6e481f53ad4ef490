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

use anyhow::{Context as _, bail};

use super::client::{self, Listener};
use super::print;
use crate::config::Config;
use crate::server::shutdown::Signals;
use crate::server::{self, Running};
use board::Board;
use clients::{Clients, Target};
use envoy::Envoy;
use screen::Screen;
use traffic::Traffic;

/// The domain of the example rules.
const DOMAIN: &str = "edge";
/// How often visits are made and keys are read.
const STEP: Duration = Duration::from_millis(20);
/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);
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

/// Runs until somebody or the time ends it, then prints a summary.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = server::start(config(&args))?;
    let summary = client::block_on(show(&args, &running));
    running.shutdown();
    print(&summary?)?;
    Ok(ExitCode::SUCCESS)
}

fn config(args: &Args) -> Config {
    let mut config = Config::default();
    config.grpc.address = args.grpc_address;
    config.grpc.workers = 1;
    config.http.address = args.http_address;
    config.admin.address = args.admin_address;
    config.shutdown.drain_period = Duration::ZERO;
    config
}

async fn show(args: &Args, running: &Running) -> anyhow::Result<String> {
    let grpc = running.grpc_address.context("the demo needs a port for gRPC")?;
    let mut envoy = match &args.envoy {
        Some(binary) => Some(Envoy::start(binary, DOMAIN, grpc, START).await?),
        None => None,
    };
    let target = match &envoy {
        Some(envoy) => Target::Envoy(envoy.address),
        None => Target::Grpc(client::connect(&grpc.to_string(), Listener::Grpc, START).await?),
    };
    let headline = headline(running, grpc, envoy.as_ref());
    let mut screen = if args.plain || !std::io::stdout().is_terminal() { None } else { Some(Screen::open()?) };
    if screen.is_none() {
        print(&(headline.join("\n") + "\n\n"))?;
    }

    let metrics = running.context.metrics.decisions();
    let mut clients = Clients::start(&target, DOMAIN);
    let mut traffic = Traffic::new(args.rate, args.seed);
    let mut board = Board::default();
    let mut steps = tokio::time::interval(STEP);
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut signal = std::pin::pin!(ended());
    let started = Instant::now();
    let (mut last, mut next_second, mut next_frame) = (Duration::ZERO, SECOND, Duration::ZERO);
    loop {
        tokio::select! {
            _ = steps.tick() => {}
            result = &mut signal => {
                result.context("cannot listen for signals")?;
                break;
            }
        }
        let elapsed = started.elapsed();
        if args.duration.is_some_and(|duration| elapsed >= duration) {
            break;
        }
        // After a pause of the machine, do not make up for all of it at once.
        for visit in traffic.step(elapsed, (elapsed - last).min(SECOND)) {
            clients.make(visit);
        }
        last = elapsed;
        if elapsed >= next_second {
            next_second = elapsed + SECOND;
            board.tick(metrics);
            if envoy.as_mut().is_some_and(|envoy| !envoy.running()) {
                bail!("Envoy has ended");
            }
            if screen.is_none() {
                print(&plain::second(elapsed, &board))?;
            }
        }
        if let Some(screen) = &mut screen {
            if screen.quit_pressed()? {
                break;
            }
            if elapsed >= next_frame {
                next_frame = elapsed + FRAME;
                let mut lines = headline.clone();
                lines.push(format!("So far: {} s, {}", elapsed.as_secs(), clients.tally().describe()));
                screen.draw(&lines, &board)?;
            }
        }
    }
    drop(screen);
    board.tick(metrics);
    Ok(format!("{}\n{}\n", plain::summary(started.elapsed(), &board), clients.tally().describe()))
}

/// Waits for any signal that would end the process and leave the terminal as it is.
async fn ended() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut signals = Signals::listen()?;
    let (mut hangup, mut quit) = (signal(SignalKind::hangup())?, signal(SignalKind::quit())?);
    tokio::select! {
        () = signals.next() => Ok(()),
        _ = hangup.recv() => Ok(()),
        _ = quit.recv() => Ok(()),
    }
}

fn headline(running: &Running, grpc: SocketAddr, envoy: Option<&Envoy>) -> Vec<String> {
    let (http, admin) = (running.http_address, running.admin_address);
    let traffic = match envoy {
        Some(envoy) => format!("Traffic: HTTP through Envoy on {}", envoy.address),
        None => match envoy::on_path() {
            Some(path) => {
                format!("Traffic: gRPC, as Envoy asks; --envoy {} sends it through a real one", path.display())
            }
            None => "Traffic: gRPC, as Envoy asks".to_owned(),
        },
    };
    vec![
        format!("Tidegate demo: gRPC {grpc}, HTTP {http}, administration http://{admin}/"),
        traffic,
        format!("Try: tidegate check --server {grpc} --domain {DOMAIN} user_id=you"),
        format!("Try: tidegate explain --server {admin} --domain {DOMAIN} path=/api/orders"),
    ]
}
