//! `tidegate rules override`: what holds for a time.

use std::process::ExitCode;

use anyhow::bail;
use http::Method;
use serde_json::{Value, json};

use super::get::Which;
use super::list::pages;
use super::set::{Limits, Why, tell};
use super::wording::{limits, table, text};
use crate::cli::api::{ApiArgs, Call};
use crate::cli::{Format, print};

/// Raise, lower or lift a limit for a time
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Override what holds at a path, until a time
    Set(Set),
    /// End an override now
    Delete(Delete),
    /// List overrides
    List(List),
}

/// Override what holds at a path, until a time; the rule below comes back by itself
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules override set edge user_id=123 --unlimited --for 2h --reason 'migration tonight'
  tidegate rules override set edge user_id=123 --limit 500/minute --until 2030-01-31T04:00:00Z")]
pub struct Set {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    limits: Limits,
    /// For how long: 30m, 2h, 1day
    #[arg(long = "for", value_name = "TIME", conflicts_with = "until", required_unless_present = "until")]
    period: Option<String>,
    /// Until when, as RFC 3339 has it
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    api: ApiArgs,
}

/// End an override now
#[derive(Debug, clap::Args)]
pub struct Delete {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    api: ApiArgs,
}

/// List overrides
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those of this domain
    #[arg(long)]
    domain: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs the subcommand.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Set(args) => set(&args),
        Command::Delete(args) => {
            let call = Call::new(Method::DELETE, args.which.below("overrides"));
            args.api.call(args.why.said_in(call))?;
            print(&format!("ended the override of {} of {}\n", args.which.path, args.which.domain))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::List(args) => list(&args),
    }
}

fn set(args: &Set) -> anyhow::Result<ExitCode> {
    let Some(mut fields) = args.limits.fields()? else {
        bail!("what is to hold until then? write --unlimited or --limit 500/minute");
    };
    fields.extend(args.period.as_ref().map(|period| ("for".to_owned(), json!(period))));
    fields.extend(args.until.as_ref().map(|until| ("until".to_owned(), json!(until))));
    let call = Call::new(Method::PUT, args.which.below("overrides")).json(&Value::Object(fields));
    tell(&args.api.call(args.why.said_in(call))?)
}

fn list(args: &List) -> anyhow::Result<ExitCode> {
    let records = pages(&args.api, "/rate-limit/overrides", vec![("domain", args.domain.clone())])?;
    match args.format {
        Format::Json => print(&format!("{:#}\n", Value::Array(records)))?,
        Format::Text => {
            let row = |record: &Value| {
                let until = format!("until {}", text(record, "/until"));
                let by = format!("by {}", text(record, "/updated_by"));
                vec![
                    text(record, "/domain").into_owned(),
                    text(record, "/path").into_owned(),
                    limits(record),
                    until,
                    by,
                ]
            };
            print(&table(&records.iter().map(row).collect::<Vec<_>>()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
