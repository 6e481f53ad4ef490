//! `tidegate anomaly`: what the anomaly worker found, what it would make of a log, and logs to try it on.

mod evaluate;
mod list;
mod replay;
mod review;
mod show;
mod simulate;
mod source;
mod train;

use std::process::ExitCode;

use serde_json::Value;

use super::rules::wording::text;

/// Subcommands of `anomaly`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List what a server's anomaly worker found
    List(list::Args),
    /// Show an anomaly, why it is one, and what happened
    Show(show::Args),
    /// Say that an anomaly was none: its adjustment is lifted
    Dismiss(review::Dismiss),
    /// Say that an anomaly was an attack
    Confirm(review::Confirm),
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
        Command::List(args) => list::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Dismiss(args) => review::dismiss(&args),
        Command::Confirm(args) => review::confirm(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
    }
}

/// Which anomaly.
#[derive(Debug, clap::Args)]
struct Which {
    /// Its number
    #[arg(value_name = "NUMBER")]
    id: u64,
}

impl Which {
    /// Where the API has it.
    fn path(&self) -> String {
        format!("/ddos/anomaly/{}", self.id)
    }
}

/// Whom an anomaly is about, in words.
fn whom(anomaly: &Value) -> String {
    let is = |name: &str| anomaly.get(name).is_some_and(|value| !value.is_null());
    if is("user_id") {
        return format!("user {}", text(anomaly, "/user_id"));
    }
    if is("ip_address") {
        return format!("address {}", text(anomaly, "/ip_address"));
    }
    let group = anomaly.get("group").and_then(Value::as_object);
    let parts = group.into_iter().flatten().map(|(name, value)| format!("{name} {}", text(value, "")));
    parts.collect::<Vec<_>>().join(", ")
}
