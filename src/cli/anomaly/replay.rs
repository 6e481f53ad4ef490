//! `tidegate anomaly replay`: what the anomaly worker would have made of a log.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::anomaly::engine::{Engine, models};
use crate::anomaly::geo::Databases;
use crate::cli::descriptor::plain;
use crate::cli::print;
use crate::config::anomaly::Geo;
use crate::config::{self, Config, LoadOptions};
use crate::core::spec::DomainSpec;
use crate::replay::enforcement::{Enforcement, site};
use crate::replay::html;
use crate::replay::log::{Ahead, Format, Reader, TOLERANCE};
use crate::replay::run::{Replayed, run as replay};
use crate::rules::files::{self, Sources};

/// Run a log of requests through the anomaly worker, in virtual time
///
/// Observations, models and policy are those of a running server, with the log's clock; what the worker decides is
/// enforced on the lines that follow. Nothing of a running server is touched. Without rules, those of a plain site are
/// enforced: 300 requests a minute of each user, 1200 of each address, and 30 tries to log in.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate anomaly replay --input /var/log/nginx/access.log --html report.html
  tidegate anomaly replay --input access.log.gz --rules rules/ --domain edge --report report.json
  tidegate anomaly simulate --scenario distributed_flood | tidegate anomaly replay --input -")]
pub struct Args {
    /// The log; - is standard input; may be packed by gzip
    #[arg(long, short, value_name = "FILE")]
    input: PathBuf,
    /// How its lines are written; auto looks at the first good one
    #[arg(long, value_enum, default_value_t)]
    format: Lines,
    /// A YAML file with settings, as of `tidegate serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// YAML files with rules, and directories of them [default: those of the settings, else of a plain site]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    rules: Vec<PathBuf>,
    /// The domain of the rules; needed when they have several
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// A database of countries, GeoLite2-Country.mmdb or the like [default: that of the settings]
    #[arg(long, value_name = "FILE")]
    country_database: Option<PathBuf>,
    /// A database of autonomous systems, GeoLite2-ASN.mmdb or the like [default: that of the settings]
    #[arg(long, value_name = "FILE")]
    asn_database: Option<PathBuf>,
    /// Write what was found as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write what was found as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Lines {
    /// What the first good line looks like
    #[default]
    Auto,
    /// A JSON object a line
    Jsonl,
    /// As nginx and Apache write it
    Combined,
}

/// Replays, tells, and writes what is asked for.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = LoadOptions { file: args.config.clone(), ..LoadOptions::from_process() };
    let config = Config::load(&options)?.config;
    let mut rules =
        Enforcement::new(domain(args, &config)?, config.anomaly.identities()).map_err(|errors| {
            match errors.into_iter().next() {
                Some(error) => anyhow::anyhow!("--rules: {error}"),
                None => anyhow::anyhow!("--rules: they do not compile"),
            }
        })?;
    if rules.asks_nothing() {
        bail!(
            "--rules: no line of a log can meet any of these rules; their keys are {}, and a log tells user_id, \
             ip_address, path, method, user_agent and country",
            rules.unknown_keys().join(", ")
        );
    }
    let format = match args.format {
        Lines::Auto => None,
        Lines::Jsonl => Some(Format::Jsonl),
        Lines::Combined => Some(Format::Combined),
    };
    let geo = Geo {
        country_database: args.country_database.clone().or_else(|| config.anomaly.geo.country_database.clone()),
        asn_database: args.asn_database.clone().or_else(|| config.anomaly.geo.asn_database.clone()),
    };
    let databases = Databases::load(&geo)?;
    let name = args.input.display().to_string();
    let reader = Reader::open(&args.input, format).with_context(|| format!("--input {name}"))?;
    let reader = reader.with_locate(databases);
    // Who replays wants to see what would have been.
    let models_file = config.anomaly.models_file.clone();
    let mut engine = Engine::new(&config::anomaly::Anomaly { shadow: false, ..config.anomaly });
    if let Some(path) = models_file {
        models::file::load(&mut engine, &path).context("anomaly.models_file")?;
    }
    let bar = progress_bar(reader.progress().size());
    let started = Instant::now();
    let show = |log: &Ahead| {
        bar.set_position(log.progress().position());
        bar.set_message(format!("{} lines", log.lines()));
    };
    let replayed = replay(reader, &mut engine, &mut rules, show);
    bar.finish_and_clear();
    let mut replayed = replayed.with_context(|| format!("--input {name}"))?;
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&replayed.report)?;
        write("--report", path, &json)?;
    }
    if let Some(path) = &args.html {
        write("--html", path, html::page(&name, &replayed).as_bytes())?;
    }
    print(&summary(&replayed, rules.unknown_keys(), started.elapsed()))?;
    if let Some(error) = replayed.broken.take() {
        return Err(error).with_context(|| format!("--input {name}: only what comes before was replayed"));
    }
    Ok(ExitCode::SUCCESS)
}

fn write(flag: &str, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("{flag}: cannot write {}", path.display()))
}

/// The rules to enforce.
fn domain(args: &Args, config: &Config) -> anyhow::Result<DomainSpec> {
    let configured = args.rules.is_empty() && args.config.is_some();
    let paths = if configured { config.rules.paths.clone() } else { args.rules.clone() };
    let mut domains = if paths.is_empty() {
        site().into_iter().collect()
    } else {
        let mut sources = Sources::paths(paths);
        sources.merge_domains = config.rules.merge_domains;
        files::describe(&sources)?.domains
    };
    let names = domains.iter().map(|domain| plain(&domain.name)).collect::<Vec<_>>().join(", ");
    let at = match &args.domain {
        Some(wanted) => domains.iter().position(|domain| domain.name == *wanted),
        None => (domains.len() == 1).then_some(0),
    };
    match (at, &args.domain) {
        (Some(at), _) => Ok(domains.swap_remove(at)),
        (None, Some(wanted)) => bail!("--domain {}: there is no such domain; there are {names}", plain(wanted)),
        (None, None) => bail!("--domain: say which domain of the rules is meant; there are {names}"),
    }
}

/// Drawn only on a terminal.
fn progress_bar(size: Option<u64>) -> ProgressBar {
    let Some(size) = size else {
        return ProgressBar::new_spinner();
    };
    let bar = ProgressBar::new(size);
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {eta} left");
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

// Writing to a String cannot fail, so its results are dropped below.

fn summary(replayed: &Replayed, unknown: &[String], elapsed: Duration) -> String {
    let (report, lost) = (&replayed.report, &replayed.lost);
    let speed = report.lines as f64 / elapsed.as_secs_f64().max(1e-9);
    let mut text = format!(
        "{} lines, {:.0} s of traffic, replayed in {:.1} s ({speed:.0} lines/s)\n",
        report.lines,
        report.span_s,
        elapsed.as_secs_f64()
    );
    if lost.bad > 0 {
        let _ = writeln!(text, "lines that cannot be read: {}; the first:", lost.bad);
        lost.told.iter().for_each(|bad| _ = writeln!(text, "  {}", plain(&bad.to_string())));
    }
    if lost.late > 0 {
        let _ = writeln!(
            text,
            "lines left out, more than {} s out of order: {}; sort the log by time",
            TOLERANCE.0 / 1_000_000,
            lost.late
        );
    }
    if !unknown.is_empty() {
        let keys = unknown.iter().map(|key| plain(key)).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "rules with these keys were not asked, a log does not tell their values: {keys}");
    }
    let count = |kind: &str| report.actions.iter().filter(|action| action.kind == kind).count();
    let (flags, tightened, blocked) = (report.flags.len(), count("tighten"), count("block"));
    let _ = writeln!(text, "{flags} flags, {tightened} tightened, {blocked} blocked, {} released", count("release"));
    if replayed.events_left_out > 0 {
        let _ = writeln!(text, "{} further events had their effect and are not listed", replayed.events_left_out);
    }
    if !report.labels.is_empty() {
        let _ = writeln!(
            text,
            "\n{:22}{:>10}{:>10}{:>16}{:>12}{:>14}",
            "label", "requests", "limited", "by adjustment", "first flag", "first action"
        );
    }
    for (name, label) in &report.labels {
        let after = |ts: Option<f64>| match (ts, label.first_request_ts) {
            (Some(ts), Some(first)) => format!("{:.1} s", ts - first),
            _ => "never".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:22}{:>10}{:>10}{:>16}{:>12}{:>14}",
            plain(name),
            label.requests,
            label.limited,
            label.limited_by_adjustment,
            after(label.first_flag_ts),
            after(label.first_action_ts)
        );
    }
    text
}
