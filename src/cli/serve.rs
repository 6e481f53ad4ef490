//! `tidegate serve`: the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::{client, print};
use crate::config::{Config, Flag, LoadOptions};
use crate::server::shutdown::terminated;
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
    /// A YAML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// YAML files with rules, and directories of them
    #[arg(long, value_name = "PATH", num_args = 1..)]
    rules: Vec<PathBuf>,
    /// Refuse rules that raise warnings
    #[arg(long)]
    strict: bool,
    /// Merge rule files that name the same domain
    #[arg(long)]
    merge_domains: bool,
    /// Answer OK to every request; statuses and metrics still tell what would have been
    #[arg(long)]
    shadow_mode: bool,
    /// Where Envoy asks
    #[arg(long, value_name = "IP:PORT")]
    grpc_address: Option<SocketAddr>,
    /// Where everybody else asks
    #[arg(long, value_name = "IP:PORT")]
    http_address: Option<SocketAddr>,
    /// Metrics and administration; asks for no password
    #[arg(long, value_name = "IP:PORT")]
    admin_address: Option<SocketAddr>,
    /// Worker threads; 0 follows the CPUs
    #[arg(long, value_name = "COUNT")]
    workers: Option<usize>,
    /// error, warn, info, debug, trace, or per module
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How logs are written
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    log_format: Option<String>,
    /// Print the settings with their sources, and do not serve
    #[arg(long)]
    print_config: bool,
}

impl Args {
    /// The flags as settings.
    fn flags(&self) -> anyhow::Result<Vec<Flag>> {
        let mut flags = Vec::new();
        if !self.rules.is_empty() {
            let paths =
                self.rules.iter().map(|path| path.to_str().with_context(|| format!("--rules {path:?}: not UTF-8")));
            let paths = paths.collect::<anyhow::Result<Vec<_>>>()?;
            flags.push(Flag::new("--rules", "rules.paths", paths.join(",")));
        }
        let switches = [
            (self.strict, "--strict", "rules.strict"),
            (self.merge_domains, "--merge-domains", "rules.merge_domains"),
            (self.shadow_mode, "--shadow-mode", "limiter.shadow_mode"),
        ];
        flags.extend(switches.into_iter().filter(|(on, ..)| *on).map(|(_, name, field)| Flag::new(name, field, true)));
        let values = [
            ("--grpc-address", "grpc.address", self.grpc_address.map(|address| address.to_string())),
            ("--http-address", "http.address", self.http_address.map(|address| address.to_string())),
            ("--admin-address", "admin.address", self.admin_address.map(|address| address.to_string())),
            ("--workers", "grpc.workers", self.workers.map(|workers| workers.to_string())),
            ("--log-level", "telemetry.logs.level", self.log_level.clone()),
            ("--log-format", "telemetry.logs.format", self.log_format.clone()),
        ];
        flags.extend(values.into_iter().filter_map(|(name, field, value)| Some(Flag::new(name, field, value?))));
        Ok(flags)
    }
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let options = LoadOptions { file: args.config.clone(), flags: args.flags()?, ..LoadOptions::from_process() };
    let loaded = Config::load(&options)?;
    if args.print_config {
        print(&loaded.print())?;
        return Ok(ExitCode::SUCCESS);
    }
    logs::init(&loaded.config.telemetry.logs)?;
    for note in &loaded.notes {
        note.log();
    }
    let running = server::start(loaded.config)?;
    banner(&running);
    // The server has threads of its own; this one only waits.
    client::block_on(async {
        terminated().await.context("cannot listen for signals")?;
        running.shutdown();
        tokio::select! {
            () = running.wait() => {}
            // A second signal cuts the drain period short.
            _ = terminated() => {
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
