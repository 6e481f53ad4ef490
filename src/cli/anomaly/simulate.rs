//! `tidegate anomaly simulate`: a log of traffic that never was.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use crate::anomaly::simulate::{Options, Record, START, Scenario, Simulation, Window};
use crate::cli::{client, print};
use crate::core::clock::Micros;

/// Write a log of simulated traffic
///
/// One JSON object a line, as `tidegate anomaly replay` reads it, each with a label: "legit", or the name of the attack.
/// The same options write the same log, byte by byte.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate anomaly simulate --list
  tidegate anomaly simulate --scenario distributed_flood --output flood.jsonl
  tidegate anomaly simulate --scenario slow_scraper --overlap 0.9 --nat --seed 7 --output - | head
  tidegate anomaly simulate --scenario calm --duration 24h --rate 20 --output day.jsonl")]
pub struct Args {
    /// List the scenarios, and do nothing else
    #[arg(long)]
    list: bool,
    /// What happens besides calm traffic
    #[arg(long, value_name = "NAME", value_parser = scenario, required_unless_present = "list")]
    scenario: Option<Scenario>,
    /// Tells another story of the same kind
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// How long the log is
    #[arg(long, default_value = "30m", value_parser = client::duration, value_name = "TIME")]
    duration: Duration,
    /// Calm requests a second, at the start
    #[arg(long, default_value_t = 100.0, value_name = "RATE")]
    rate: f64,
    /// How alike attackers are to calm traffic in user agent, country, path and timing, 0 to 1
    #[arg(long, default_value_t = 0.5, value_name = "SHARE")]
    overlap: f64,
    /// Let legitimate people share addresses and looks with attackers
    #[arg(long)]
    nat: bool,
    /// When the log begins [default: 2026-01-05T10:00:00Z]
    #[arg(long, value_name = "TIMESTAMP")]
    start: Option<jiff::Timestamp>,
    /// When the attack or the crowd begins, since the start of the log [default: after a third of it]
    #[arg(long, value_name = "TIME", value_parser = client::duration, requires = "attack_until")]
    attack_from: Option<Duration>,
    /// When it ends, since the start of the log [default: after two thirds of it]
    #[arg(long, value_name = "TIME", value_parser = client::duration, requires = "attack_from")]
    attack_until: Option<Duration>,
    /// The file to write; - is standard output
    #[arg(long, short, default_value = "-", value_name = "FILE")]
    output: PathBuf,
}

fn scenario(name: &str) -> Result<Scenario, String> {
    Scenario::parse(name).ok_or_else(|| {
        let names = Scenario::ALL.map(Scenario::name).join(", ");
        format!("there is no such scenario; there are {names}")
    })
}

/// Lists, or writes.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(options) = options(args)? else {
        print(&list())?;
        return Ok(ExitCode::SUCCESS);
    };
    let simulation = Simulation::new(&options).map_err(|error| anyhow::anyhow!("--{error}"))?;
    if args.output == Path::new("-") {
        match write(simulation, io::stdout().lock()) {
            // Nobody reads any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result?,
        }
    } else {
        let path = args.output.display();
        let file = File::create(&args.output).with_context(|| format!("cannot write {path}"))?;
        write(simulation, file).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What to simulate; nothing when the scenarios are to be listed.
fn options(args: &Args) -> anyhow::Result<Option<Options>> {
    let (Some(scenario), false) = (args.scenario, args.list) else { return Ok(None) };
    let start = match args.start {
        None => START,
        Some(start) => Micros(u64::try_from(start.as_microsecond()).context("--start: must not be before 1970")?),
    };
    let attack = args.attack_from.zip(args.attack_until);
    Ok(Some(Options {
        scenario,
        seed: args.seed,
        start,
        duration: args.duration.into(),
        rate: args.rate,
        overlap: args.overlap,
        nat: args.nat,
        attack: attack.map(|(from, until)| Window { from: from.into(), until: until.into() }),
    }))
}

fn write(mut records: impl Iterator<Item = Record>, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(256 * 1024, out);
    records.try_for_each(|record| record.write(&mut out))?;
    out.flush()
}

fn list() -> String {
    let mut text = String::new();
    for scenario in Scenario::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:21}{}", scenario.name(), scenario.summary());
    }
    text
}
