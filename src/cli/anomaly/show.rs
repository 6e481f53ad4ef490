//! `tidegate anomaly show`: one anomaly, and what happened.

use std::fmt::Write as _;
use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::{Which, whom};
use crate::cli::api::{ApiArgs, Call};
use crate::cli::rules::wording::{table, text};
use crate::cli::{Format, print};

/// Show an anomaly, why it is one, and what happened
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate anomaly show 1764104854123456
  tidegate anomaly show 1764104854123456 --format json | jq .history")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let anomaly = args.api.call(Call::new(Method::GET, args.which.path()))?.json()?;
    match args.format {
        Format::Json => print(&format!("{anomaly:#}\n"))?,
        Format::Text => print(&words(&anomaly))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn words(anomaly: &Value) -> String {
    let score = anomaly.get("anomaly_score").and_then(Value::as_f64).unwrap_or_default();
    let mut lines = vec![
        ("whom", format!("{} in {}", whom(anomaly), text(anomaly, "/domain"))),
        ("state", text(anomaly, "/state").into_owned()),
        ("score", format!("{score:.2}, {} requests", text(anomaly, "/request_count"))),
        ("seen", format!("{} to {}", text(anomaly, "/first_seen"), text(anomaly, "/last_seen"))),
        ("action", text(anomaly, "/action").into_owned()),
    ];
    for (name, pointer) in [("effect", "/effect/text"), ("expires", "/expires"), ("held", "/held")] {
        if anomaly.pointer(pointer).is_some_and(|value| !value.is_null()) {
            lines.push((name, text(anomaly, pointer).into_owned()));
        }
    }
    if let Some(review) = anomaly.get("review").filter(|review| !review.is_null()) {
        let said = format!("{} by {} at {}", text(review, "/verdict"), text(review, "/by"), text(review, "/at"));
        lines.push(("review", format!("{said}{}", note(review))));
    }
    for reason in anomaly.get("reasons").and_then(Value::as_array).into_iter().flatten() {
        lines.push(("why", text(reason, "/text").into_owned()));
    }
    let rows: Vec<_> = lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let steps = anomaly.get("history").and_then(Value::as_array).into_iter().flatten();
    let steps: Vec<_> = steps.map(step).collect();
    let mut words = table(&rows);
    // Writing to a String cannot fail.
    let _ = write!(words, "\n{}", table(&steps));
    words
}

fn step(step: &Value) -> Vec<String> {
    let effect = step.pointer("/effect/text").map(|_| text(step, "/effect/text").into_owned());
    let until = step.get("expires").map(|_| format!("until {}", text(step, "/expires")));
    let by = step.get("by").map(|_| format!("by {}{}", text(step, "/by"), note(step)));
    let reason = step.pointer("/reasons/0/text").map(|_| text(step, "/reasons/0/text").into_owned());
    let what: Vec<String> = [effect, until, by, reason].into_iter().flatten().collect();
    vec![text(step, "/at").into_owned(), text(step, "/what").into_owned(), what.join("; ")]
}

fn note(said: &Value) -> String {
    let note = said.get("note").filter(|note| !note.is_null());
    note.map_or_else(String::new, |_| format!(" ({})", text(said, "/note")))
}
