//! `tidegate anomaly list`: what a server's anomaly worker found.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::whom;
use crate::cli::api::{ApiArgs, Call, query};
use crate::cli::rules::wording::{table, text};
use crate::cli::{Format, print};

/// List what the anomaly worker found, the newest first
///
/// One line an anomaly: number, when it was flagged, its state, what was done, the score, whom it is about, and why. It
/// needs a token with the scope read-anomalies once there is a token.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate anomaly list --state open
  tidegate anomaly list --since 1h --min-score 0.7
  tidegate anomaly list --ip 203.0.113.7 --format json | jq -r '.[].reasons[].text'")]
pub struct Args {
    /// Only of this user
    #[arg(long)]
    user: Option<String>,
    /// Only of this address; of IPv6, of its /64
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<std::net::IpAddr>,
    /// Only in this domain
    #[arg(long)]
    domain: Option<String>,
    /// Only in this state: open, ended, confirmed, dismissed
    #[arg(long)]
    state: Option<String>,
    /// Only with this action: none, flag, tighten, block
    #[arg(long)]
    action: Option<String>,
    /// Only with at least this score, 0 to 1
    #[arg(long, value_name = "SCORE")]
    min_score: Option<f64>,
    /// Only flagged then or later: a time (2030-01-31T03:00:00Z), or how long ago (1h)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only flagged before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Only those with lower numbers
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let filter = query([
        ("user_id", args.user.clone()),
        ("ip_address", args.ip.map(|address| address.to_string())),
        ("domain", args.domain.clone()),
        ("state", args.state.clone()),
        ("action", args.action.clone()),
        ("min_score", args.min_score.map(|score| score.to_string())),
        ("since", args.since.clone()),
        ("until", args.until.clone()),
        ("limit", Some(args.limit.to_string())),
        ("after", args.after.map(|id| id.to_string())),
    ]);
    let mut answer = args.api.call(Call::new(Method::GET, format!("/ddos/anomaly{filter}")))?.json()?;
    let Some(Value::Array(anomalies)) = answer.get_mut("anomalies").map(Value::take) else {
        anyhow::bail!("the server's answer has no anomalies");
    };
    match args.format {
        Format::Json => print(&format!("{:#}\n", Value::Array(anomalies)))?,
        Format::Text => {
            print(&table(&anomalies.iter().map(row).collect::<Vec<_>>()))?;
            if let Some(next) = answer.get("next").and_then(Value::as_str) {
                eprintln!("there are more: --after {next}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(anomaly: &Value) -> Vec<String> {
    let shadow = anomaly.get("shadow").and_then(Value::as_bool) == Some(true);
    let score = anomaly.get("anomaly_score").and_then(Value::as_f64).unwrap_or_default();
    vec![
        text(anomaly, "/id").into_owned(),
        text(anomaly, "/timestamp").into_owned(),
        text(anomaly, "/state").into_owned(),
        format!("{}{}", text(anomaly, "/action"), if shadow { " (shadow)" } else { "" }),
        format!("{score:.2}"),
        whom(anomaly),
        text(anomaly, "/reasons/0/text").into_owned(),
    ]
}
