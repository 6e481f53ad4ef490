//! `tidegate rules list`: the rules that a server keeps.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::wording::{flags, limits, table, text};
use crate::cli::api::{ApiArgs, Call, query};
use crate::cli::{Format, print};

/// List the rules that a server keeps
///
/// One line a rule: domain, path, limits, revision, who changed it last, and what is unusual about it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules list
  tidegate rules list --domain edge --prefix user_id=
  tidegate rules list --tag trial --format json | jq -r '.[].path'")]
pub struct Args {
    /// Only rules of this domain
    #[arg(long)]
    domain: Option<String>,
    /// Only paths that begin so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Only rules with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only rules that are enabled, or that are not
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks page by page, and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let filter = vec![
        ("domain", args.domain.clone()),
        ("path", args.prefix.clone()),
        ("tag", args.tag.clone()),
        ("enabled", args.enabled.map(|enabled| enabled.to_string())),
    ];
    let records = pages(&args.api, "/rate-limit/rules", filter)?;
    match args.format {
        Format::Json => print(&format!("{:#}\n", Value::Array(records)))?,
        Format::Text => print(&table(&records.iter().map(row).collect::<Vec<_>>()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn row(record: &Value) -> Vec<String> {
    vec![
        text(record, "/domain").into_owned(),
        text(record, "/path").into_owned(),
        limits(record),
        format!("revision {}", text(record, "/revision")),
        format!("by {}", text(record, "/updated_by")),
        flags(record),
    ]
}

/// Everything that a list has, page by page.
pub fn pages(api: &ApiArgs, path: &str, filter: Vec<(&str, Option<String>)>) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let limit = ("limit", Some("1000".to_owned()));
        let parameters = filter.iter().cloned().chain([limit, ("cursor", cursor.take())]);
        let mut page = api.call(Call::new(Method::GET, format!("{path}{}", query(parameters))))?.json()?;
        if let Some(Value::Array(items)) = page.get_mut("records").map(Value::take) {
            all.extend(items);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(all),
        }
    }
}
