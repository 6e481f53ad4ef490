//! `tidegate demo`: a server in this process, lively traffic to it, an attack, and a live table. Needs nothing else
//! installed.

mod attacks;
mod board;
mod clients;
mod envoy;
mod fate;
mod history;
mod plain;
mod scratch;
mod screen;
mod story;
mod traffic;

use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::client::{self, Listener};
use super::print;
use crate::anomaly::bus::{Deed, Position};
use crate::anomaly::simulate::{Options, Simulation};
use crate::anomaly::worker::Handle;
use crate::config::Config;
use crate::core::clock::{Clock as _, SystemClock};
use crate::server::shutdown::Signals;
use crate::server::{self, Running};
use attacks::Attacks;
use board::Board;
use clients::{Clients, Target};
use envoy::Envoy;
use fate::Figures;
use scratch::Scratch;
use screen::Screen;
use story::Story;
use traffic::Traffic;

/// The domain of the rules.
const DOMAIN: &str = "edge";
const RULES: &str = include_str!("rules.yaml");
/// How often visits are made and keys are read.
const STEP: Duration = Duration::from_millis(20);
/// How often the anomaly worker is listened to.
const LISTEN: Duration = Duration::from_millis(200);
/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);
/// The longest for the server, or Envoy, to answer at the start.
const START: Duration = Duration::from_secs(15);

/// Show a running server that catches an attack, in this terminal
///
/// Starts a server in this process, on free ports of the loopback interface, and sends it traffic through its own gRPC
/// port: people, offices, programs and crawlers, and after three seconds an attack of twenty. The anomaly worker has seen
/// ten minutes of that calm traffic before, simulated as well. It flags the attackers, lowers their limits, blocks those
/// who go on, and releases them when they stop; whoever means no harm is counted, too. The next attack follows after a
/// pause. q or Ctrl-C ends it. Without a terminal it prints plain lines.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate demo
  tidegate demo --for 50s --plain                one attack, from its start to the release, as lines
  tidegate demo --attack distributed_flood       10 000 addresses instead of one
  tidegate demo --envoy /usr/local/bin/envoy     the same through a real Envoy, as HTTP requests
  tidegate demo --grpc-address 127.0.0.1:8081    on a port of your choice; ask it with `tidegate check`")]
pub struct Args {
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = client::duration)]
    duration: Option<Duration>,
    /// Requests a second of calm traffic, on the average
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(20..=2_000), value_name = "COUNT")]
    rate: u32,
    /// What attacks [default: single_source_flood and distributed_flood in turn]
    ///
    /// none, single_source_flood (one address, three times all calm traffic), distributed_flood (10 000 addresses, each
    /// slow, together ten times as much) or pulsing_attack (50 addresses, five times as much).
    #[arg(long, value_name = "NAME", value_parser = attacks::parse, hide_default_value = true, default_value = "both")]
    attack: Attacks,
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
    let files = Scratch::new()?;
    let config = config(&args, files.write("rules.yaml", RULES)?);
    let options = Options { seed: args.seed, rate: f64::from(args.rate), ..Options::default() };
    let (known, calm) = history::learn(&config.anomaly, DOMAIN, &options, &SystemClock::new())?;
    let running = server::start_from(config, known)?;
    let summary = client::block_on(show(&args, &running, calm, options));
    running.shutdown();
    print(&summary?)?;
    Ok(ExitCode::SUCCESS)
}

fn config(args: &Args, rules: PathBuf) -> Config {
    let mut config = Config::default();
    config.grpc.address = args.grpc_address;
    config.grpc.workers = 1;
    config.http.address = args.http_address;
    config.admin.address = args.admin_address;
    config.shutdown.drain_period = Duration::ZERO;
    config.rules.paths = vec![rules];
    let anomaly = &mut config.anomaly;
    (anomaly.enabled, anomaly.shadow) = (true, false);
    anomaly.warm_up = SECOND * 10;
    // So that a release is not long in coming.
    (anomaly.policy.duration, anomaly.policy.calm_for) = (SECOND * 20, SECOND * 10);
    config
}

async fn show(args: &Args, running: &Running, calm: Simulation, options: Options) -> anyhow::Result<String> {
    let grpc = running.grpc_address.context("the demo needs a port for gRPC")?;
    let worker = running.context.anomaly.as_ref().context("the demo needs the anomaly worker")?;
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

    let clock = SystemClock::new();
    let start = clock.wall();
    let metrics = running.context.metrics.decisions();
    let mut clients = Clients::start(&target, DOMAIN);
    let mut traffic = Traffic::new(calm, args.attack.0.clone(), options, start);
    let (mut board, mut story) = (Board::default(), Story::new(start));
    let mut heard = Position::START;
    let (mut legitimate, mut attack) = (Figures::default(), (0, Figures::default()));
    let mut steps = tokio::time::interval(STEP);
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut signal = std::pin::pin!(ended());
    let started = Instant::now();
    let (mut next_second, mut next_frame, mut next_word) = (SECOND, Duration::ZERO, Duration::ZERO);
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
        for visit in traffic.due(clock.wall())? {
            clients.make(visit);
        }
        if elapsed >= next_word.min(next_second) {
            next_word = elapsed + LISTEN;
            let mut lines = story.look(clock.wall(), &traffic);
            lines.extend(listen(worker, &mut heard, &mut story, &traffic).await?);
            if screen.is_none() && !lines.is_empty() {
                print(&(lines.join("\n") + "\n"))?;
            }
        }
        if elapsed >= next_second {
            next_second = elapsed + SECOND;
            board.tick(metrics);
            if envoy.as_mut().is_some_and(|envoy| !envoy.running()) {
                bail!("Envoy has ended");
            }
            if screen.is_none() {
                let calm = traffic.legitimate().figures();
                let (number, harm) = traffic.attack().map_or((0, Figures::default()), |a| (a.number, a.fate.figures()));
                let before = if attack.0 == number { attack.1 } else { Figures::default() };
                print(&plain::second(elapsed, calm.since(legitimate), harm.since(before)))?;
                (legitimate, attack) = (calm, (number, harm));
            }
        }
        if let Some(screen) = &mut screen {
            if screen.quit_pressed()? {
                break;
            }
            if elapsed >= next_frame {
                next_frame = elapsed + FRAME;
                let mut lines = headline.clone();
                lines.extend(so_far(elapsed, &story, &traffic, &clients));
                screen.draw(&lines, &story.lines, &board)?;
            }
        }
    }
    drop(screen);
    board.tick(metrics);
    story.look(clock.wall(), &traffic);
    let elapsed = started.elapsed();
    let ends = so_far(elapsed, &story, &traffic, &clients).join("\n");
    Ok(format!("{}{ends}\n", plain::rules(elapsed, &board)))
}

/// Hears what the anomaly worker did.
async fn listen(
    worker: &Handle,
    heard: &mut Position,
    story: &mut Story,
    traffic: &Traffic,
) -> anyhow::Result<Vec<String>> {
    let part = worker.deeds(*heard).await?;
    *heard = part.upto;
    let event = |(_, deed)| match deed {
        Deed::Event(event) => Some(event),
        Deed::Feedback(_) => None,
    };
    let events: Vec<_> = part.items.into_iter().filter_map(event).collect();
    Ok(story.hear(&events, traffic))
}

/// What became of everybody.
fn so_far(elapsed: Duration, story: &Story, traffic: &Traffic, clients: &Clients) -> Vec<String> {
    let mut lines = vec![story.legitimate(traffic.legitimate().figures())];
    lines.extend(story.attacks());
    if lines.len() == 1 && traffic.has_attacks() {
        lines.push(format!(
            "Attack: comes {} s after the start, {} s passed",
            traffic::FIRST.as_secs_ceil(),
            elapsed.as_secs()
        ));
    }
    lines.extend(clients.lost().describe().map(|lost| format!("Lost: {lost}")));
    lines
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
        format!("Try: tidegate anomaly list --api http://{http}"),
        format!(
            "History: {} min of simulated calm traffic, which the anomaly worker has seen before",
            history::HISTORY.as_secs() / 60
        ),
    ]
}
