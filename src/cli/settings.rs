//! The flags that are settings, of every command that reads the settings of a server.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::config::{Flag, LoadOptions};

/// Where settings come from, and some of them.
#[derive(Debug, clap::Args)]
pub struct SettingsArgs {
    /// A YAML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// YAML files with rules, and directories of them
    #[arg(long, value_name = "PATH", num_args = 1..)]
    rules: Vec<PathBuf>,
    /// Keep rules in this file and change them through the API, without files and without Postgres
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    repository: Option<PathBuf>,
    /// Refuse rules that raise warnings
    #[arg(long)]
    strict: bool,
    /// Merge rule files that name the same domain
    #[arg(long)]
    merge_domains: bool,
    /// Answer OK to every request; statuses and metrics still tell what would have been
    #[arg(long)]
    shadow_mode: bool,
    /// Let everybody change rules and reset counters without a token; for trying out
    #[arg(long)]
    allow_unauthenticated: bool,
    /// Where Envoy asks
    #[arg(long, value_name = "IP:PORT")]
    grpc_address: Option<SocketAddr>,
    /// Where everybody else asks
    #[arg(long, value_name = "IP:PORT")]
    http_address: Option<SocketAddr>,
    /// Metrics and administration
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
}

impl SettingsArgs {
    /// Where to look for settings.
    ///
    /// # Errors
    /// When a flag is not UTF-8.
    pub fn options(&self) -> anyhow::Result<LoadOptions> {
        Ok(LoadOptions { file: self.config.clone(), flags: self.flags()?, ..LoadOptions::from_process() })
    }

    /// The flags as settings.
    fn flags(&self) -> anyhow::Result<Vec<Flag>> {
        let mut flags = Vec::new();
        if !self.rules.is_empty() {
            let paths =
                self.rules.iter().map(|path| path.to_str().with_context(|| format!("--rules {path:?}: not UTF-8")));
            let paths = paths.collect::<anyhow::Result<Vec<_>>>()?;
            flags.push(Flag::new("--rules", "rules.paths", paths.join(",")));
        }
        if let Some(path) = &self.repository {
            let path = path.to_str().with_context(|| format!("--repository {path:?}: not UTF-8"))?;
            flags.push(Flag::new("--repository", "rules.repository_file", path));
        }
        let switches = [
            (self.strict, "--strict", "rules.strict"),
            (self.merge_domains, "--merge-domains", "rules.merge_domains"),
            (self.shadow_mode, "--shadow-mode", "limiter.shadow_mode"),
            (self.allow_unauthenticated, "--allow-unauthenticated", "http.allow_unauthenticated"),
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
