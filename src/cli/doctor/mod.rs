//! `tidegate doctor`: whether a server with these settings would work, and what to change if not.
//!
//! One file a check. Checks only look: nothing that others use is changed, and what is written to Redis stands under
//! a key of its own that expires. Whatever is asked has a deadline.

mod database;
mod listeners;
mod redis;
mod report;
mod rules;
mod settings;

use std::process::ExitCode;

use self::report::{Level, Report};
use super::settings::SettingsArgs;
use super::{FAILURE, Format, client, print};
use crate::config::{Config, Loaded};

/// Check Redis, the database, rules and ports, and say what to change
///
/// Reads the same settings as `tidegate serve`: give it the same flags, file and environment. The exit code is 0 when
/// nothing fails and 1 when something does; warnings leave it at 0.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate doctor                                  the settings of the environment
  tidegate doctor --config tidegate.yaml
  TIDEGATE_REDIS__URLS=redis:6379 tidegate doctor
  tidegate doctor --format json | jq '.findings[] | select(.level != \"ok\")'

It may be run beside a server that serves. In Redis it reads, and tries scripts on a key of its own.")]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Text, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Checks and prints.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let report = match Config::load(&args.settings.options()?) {
        Ok(loaded) => client::block_on(async { Ok(examine(&loaded).await) })?,
        Err(errors) => Report(vec![settings::wrong(&errors)]),
    };
    match args.format {
        Format::Text => print(&report.text())?,
        Format::Json => print(&format!("{:#}\n", report.document()))?,
    }
    Ok(if report.count(Level::Fail) == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

async fn examine(loaded: &Loaded) -> Report {
    let config = &loaded.config;
    let (listeners, redis, database) =
        tokio::join!(listeners::check(config), redis::check(config), database::check(config));
    let mut sections = vec![settings::check(loaded), listeners];
    // Rules are in one place or the other.
    sections.push(database.unwrap_or_else(|| rules::check(&config.rules)));
    sections.extend(redis);
    Report(sections)
}
