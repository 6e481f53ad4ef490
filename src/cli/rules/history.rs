//! `tidegate rules history`: who changed what, when and why.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::wording::{limits, table, text};
use crate::cli::api::{ApiArgs, Call, query, segment};
use crate::cli::{Format, print};
use crate::core::path::DescriptorPath;

/// Show who changed what, when and why, the newest first
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules history                       the newest changes of all rules
  tidegate rules history edge user_id=123      those of one rule
  tidegate rules history --limit 5 --format json")]
pub struct Args {
    /// The rule's domain
    #[arg(requires = "path")]
    domain: Option<String>,
    /// Its path
    path: Option<DescriptorPath>,
    /// How many
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = match (&args.domain, &args.path) {
        (Some(domain), Some(path)) => {
            format!("/rate-limit/rules/{}/{}/history", segment(domain), segment(path.as_str()))
        }
        _ => "/rate-limit/history".to_owned(),
    };
    let path = format!("{path}{}", query([("limit", Some(args.limit.to_string()))]));
    let answer = args.api.call(Call::new(Method::GET, path))?.json()?;
    let versions = answer.get("versions").and_then(Value::as_array).cloned().unwrap_or_default();
    match args.format {
        Format::Json => print(&format!("{:#}\n", Value::Array(versions)))?,
        Format::Text => print(&table(&versions.iter().map(row).collect::<Vec<_>>()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn row(version: &Value) -> Vec<String> {
    let side = |name: &str| version.get(name).filter(|side| !side.is_null());
    let settings = text(version, "/kind") == "domain";
    let what = match (side("before"), side("after")) {
        (_, None) => "deleted".to_owned(),
        (None, Some(_)) if settings => "made".to_owned(),
        (None, Some(after)) => format!("made: {}", limits(after)),
        (Some(before), Some(after)) if limits(before) != limits(after) => {
            format!("changed: {} -> {}", limits(before), limits(after))
        }
        _ => "changed".to_owned(),
    };
    let reason = text(version, "/reason");
    vec![
        text(version, "/revision").into_owned(),
        text(version, "/at").into_owned(),
        text(version, "/by").into_owned(),
        text(version, "/kind").into_owned(),
        format!("{} {}", text(version, "/domain"), text(version, "/path")),
        what,
        if reason == "-" { String::new() } else { format!("({reason})") },
    ]
}
