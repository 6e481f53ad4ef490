//! `tidegate anomaly`: what the anomaly worker would make of a log, and logs to try it on.

mod replay;
mod simulate;

use std::process::ExitCode;

/// Subcommands of `anomaly`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run a log of requests through the anomaly worker, in virtual time
    Replay(replay::Args),
    /// Write a log of simulated traffic
    Simulate(simulate::Args),
}

/// Runs the subcommand.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Replay(args) => replay::run(&args),
        Command::Simulate(args) => simulate::run(&args),
    }
}
