//! `tidegate anomaly dismiss` and `confirm`: a person's word on an anomaly.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::{Which, whom};
use crate::cli::api::{ApiArgs, Call};
use crate::cli::print;

/// Say that an anomaly was none: its adjustment is lifted everywhere at once
///
/// The anomaly worker learns from it. It needs a token with the scope review-anomalies.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate anomaly dismiss 1764104854123456 --note 'their load test'")]
pub struct Dismiss {
    #[command(flatten)]
    said: Said,
}

/// Say that an anomaly was an attack
///
/// The anomaly worker learns from it; adjustments stay, and end by themselves. It needs a token with the scope
/// review-anomalies.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate anomaly confirm 1764104854123456")]
pub struct Confirm {
    #[command(flatten)]
    said: Said,
}

/// What is said of which.
#[derive(Debug, clap::Args)]
struct Said {
    #[command(flatten)]
    which: Which,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Says that it was none.
pub fn dismiss(args: &Dismiss) -> anyhow::Result<ExitCode> {
    args.said.say("dismiss", "dismissed")
}

/// Says that it was an attack.
pub fn confirm(args: &Confirm) -> anyhow::Result<ExitCode> {
    args.said.say("confirm", "confirmed")
}

impl Said {
    fn say(&self, verb: &str, done: &str) -> anyhow::Result<ExitCode> {
        let mut call = Call::new(Method::POST, format!("{}/{verb}", self.which.path()));
        if let Some(note) = &self.note {
            call = call.json(&json!({ "note": note }));
        }
        let answer = self.api.call(call)?.json()?;
        let told = answer.get("told").and_then(Value::as_bool) == Some(true);
        let rest = if told { "" } else { "; no anomaly worker runs there, so nobody was told" };
        print(&format!("{done} {} ({}){rest}\n", self.which.id, whom(&answer)))?;
        Ok(ExitCode::SUCCESS)
    }
}
