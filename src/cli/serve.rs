//! `tidegate serve`: the server.

use std::process::ExitCode;

use anyhow::Context as _;

use super::settings::SettingsArgs;
use super::{client, print};
use crate::config::Config;
use crate::server::shutdown::Signals;
use crate::server::{self, Running};
use crate::telemetry::logs;

/// Run the server
///
/// Without any flag it serves the example rules built in, with counters in memory. Settings come from, each over the
/// ones before: defaults, the file of --config, the environment names of envoyproxy/ratelimit (GRPC_PORT,
/// RUNTIME_ROOT, LOG_LEVEL, ...), TIDEGATE_SECTION__FIELD, and these flags.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate serve
  tidegate serve --rules rules/                            all YAML files in a directory, reloaded on change
  tidegate serve --grpc-address 127.0.0.1:9081 --workers 2
  tidegate serve --config tidegate.yaml --print-config     show the settings and where each comes from
  TIDEGATE_LIMITER__SHADOW_MODE=true tidegate serve        any setting by its name

A first request, once it runs:
  tidegate check --domain edge remote_address=203.0.113.9
  curl -i localhost:8080/rate-limit -H 'content-type: application/json' -d '{\"user_id\": \"alice\"}'

Ports: 8081 gRPC for Envoy, 8080 HTTP, 6070 administration (loopback only). SIGTERM drains and exits with 0.")]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print the settings with their sources, and do not serve
    #[arg(long)]
    print_config: bool,
}

/// Serves until SIGTERM or SIGINT.
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
    // The server has threads of its own; this one only waits.
    client::block_on(async {
        // Before anybody is told that it listens.
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let running = server::start(loaded.config)?;
        banner(&running);
        signals.next().await;
        running.shutdown();
        tokio::select! {
            () = running.wait() => {}
            // A second signal cuts the drain period short.
            () = signals.next() => {
                running.shutdown();
                running.wait().await;
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn banner(running: &Running) {
    let context = &running.context;
    let active = context.limiter.active();
    let grpc = match (&context.config.grpc.unix_socket, running.grpc_address) {
        (Some(path), _) => path.display().to_string(),
        (None, address) => address.map(|address| address.to_string()).unwrap_or_default(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %grpc,
        http = %running.http_address,
        admin = %running.admin_address,
        rules = active.rules.rule_count(),
        domains = active.rules.domains().len(),
        counters = context.limiter.store().name(),
        "listening"
    );
}
