//! `tidegate worker`: the computing of the anomaly worker, in a process of its own.

use std::process::ExitCode;

use anyhow::Context as _;

use super::settings::SettingsArgs;
use super::{client, print};
use crate::config::Config;
use crate::server::computing;
use crate::server::shutdown::Signals;
use crate::telemetry::logs;

/// Compute for the anomaly worker of other processes, over Redis
///
/// It reads what servers with `anomaly.enabled: true` observe, and tells them whom to limit. It decides nothing itself.
/// With `anomaly.compute: false` those servers leave the computing to it; otherwise it is one more whose turn it may be.
/// Several may run; one computes, another takes over within two seconds.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate worker --config tidegate.yaml       the same file as the servers'
  REDIS_TYPE=single REDIS_URL=redis:6379 tidegate worker

It needs Redis (redis.urls), and listens for nothing but metrics and health, on admin.address:
  curl localhost:6070/readyz")]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print the settings with their sources, and do not run
    #[arg(long)]
    print_config: bool,
}

/// Computes until SIGTERM or SIGINT.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let loaded = Config::load(&args.settings.options()?)?;
    if args.print_config {
        print(&loaded.print())?;
        return Ok(ExitCode::SUCCESS);
    }
    logs::init(&loaded.config.telemetry.logs)?;
    for note in &loaded.notes {
        note.log();
    }
    client::block_on(async {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let running = computing::start(loaded.config)?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), admin = %running.admin_address, "the worker runs");
        signals.next().await;
        running.shutdown();
        tokio::select! {
            () = running.wait() => {}
            // A second signal leaves out the last checkpoint.
            () = signals.next() => {}
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
