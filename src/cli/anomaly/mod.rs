//! `tidegate anomaly`: what the anomaly worker would make of a log, and logs to try it on.

mod evaluate;
mod replay;
mod simulate;
mod source;
mod train;

use std::process::ExitCode;

/// Subcommands of `anomaly`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run a log of requests through the anomaly worker, in virtual time
    Replay(replay::Args),
    /// Write a log of simulated traffic
    Simulate(simulate::Args),
    /// Train models on a log of calm traffic
    Train(train::Args),
    /// Score the clients of a log by saved models
    Evaluate(evaluate::Args),
}

/// Runs the subcommand.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Replay(args) => replay::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
    }
}
