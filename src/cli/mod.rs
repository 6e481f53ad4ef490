//! The command line: one file a subcommand, each with the same shape, arguments and `run`.

mod anomaly;
mod api;
mod check;
mod client;
mod counters;
mod db;
mod demo;
mod descriptor;
mod doctor;
mod explain;
mod health;
mod rules;
mod serve;
mod settings;
mod token;
mod worker;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code of a command that could not do its work.
const FAILURE: u8 = 1;

/// Rate limits for Envoy and Istio, over gRPC, and for everything else over HTTP.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true, max_term_width = 100, after_long_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
First steps:
  tidegate demo                       see it catch an attack, nothing else needed
  tidegate serve                      start it with the example rules built in
  tidegate serve --rules rules/       start it with your rules
  tidegate rules validate rules/      check rules before they go live
  tidegate check --domain edge remote_address=203.0.113.9
                                      ask the running server, as Envoy would
  curl -i localhost:8080/rate-limit -H 'content-type: application/json' -d '{\"user_id\": \"alice\"}'
                                      the same over HTTP

Ports, unless configured otherwise:
  8081  gRPC, for Envoy's rate limit filter (envoy.service.ratelimit.v3)
  8080  HTTP: POST /rate-limit, POST /json, /healthcheck, /livez, /readyz
  6070  administration, on loopback only: /metrics, /rlconfig, /stats, and what `tidegate explain` asks

`tidegate help COMMAND` tells more about each command.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Compute for the anomaly worker of other processes, over Redis
    Worker(worker::Args),
    /// Show a running server under lively traffic, in this terminal
    Demo(demo::Args),
    /// Work with rules: check, list, change, take back
    #[command(subcommand)]
    Rules(rules::Command),
    /// Work with the database that keeps rules
    #[command(subcommand)]
    Db(db::Command),
    /// Work with the tokens of a server's API
    #[command(subcommand)]
    Token(token::Command),
    /// Ask a running server for a decision, as Envoy would
    Check(check::Args),
    /// Tell which rule of a running server applies to a descriptor, and why
    Explain(explain::Args),
    /// Look at the counters of a descriptor, or reset them
    #[command(subcommand)]
    Counters(counters::Command),
    /// See what the anomaly worker found, say what it was, or try it on a log of requests
    #[command(subcommand)]
    Anomaly(anomaly::Command),
    /// Check Redis, rules and ports, and say what to change
    Doctor(doctor::Args),
    /// Ask whether a running server wants traffic, as a container's health check
    Health(health::Args),
}

/// The name under which the program stands in for envoyproxy/ratelimit's, which takes no arguments and serves.
const STAND_IN: &str = "ratelimit";

/// Parses the command line and runs what it says.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse_from(as_called(std::env::args_os().collect())).command {
        Command::Serve(args) => serve::run(args),
        Command::Worker(args) => worker::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Rules(command) => rules::run(command),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Db(command) => db::run(command),
        Command::Token(command) => token::run(command),
        Command::Counters(command) => counters::run(command),
        Command::Anomaly(command) => anomaly::run(command),
        Command::Doctor(args) => doctor::run(args),
        Command::Health(args) => health::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("tidegate: {error:#}");
        ExitCode::from(FAILURE)
    })
}

/// The arguments, with the subcommand that the program's name stands for: a deployment of envoyproxy/ratelimit runs
/// `/bin/ratelimit`, and goes on doing so with the image changed.
fn as_called(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let stands_in =
        arguments.first().is_some_and(|name| Path::new(name).file_name().is_some_and(|name| name == STAND_IN));
    if stands_in && arguments.len() == 1 {
        arguments.push("serve".into());
    }
    arguments
}

/// Output of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Writes to standard output, which may be a pipe that nobody reads any more; that is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_name_of_envoyproxy_ratelimit_serves() {
        let called = |arguments: &[&str]| as_called(arguments.iter().map(OsString::from).collect());
        assert_eq!(called(&["/bin/ratelimit"]), ["/bin/ratelimit", "serve"]);
        assert_eq!(called(&["ratelimit", "doctor"]), ["ratelimit", "doctor"], "what is asked for goes before");
        assert_eq!(called(&["/bin/tidegate"]), ["/bin/tidegate"]);
        assert_eq!(called(&["/opt/ratelimit/tidegate"]), ["/opt/ratelimit/tidegate"]);
        assert!(called(&[]).is_empty());
    }
}
