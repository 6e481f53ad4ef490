//! `tidegate rules set`: a rule made or changed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use http::Method;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use serde_json::{Map, Value, json};

use super::get::Which;
use super::wording::limits;
use crate::cli::api::{Answer, ApiArgs, Call};
use crate::cli::print;

/// Says why, in the history.
pub const REASON: HeaderName = HeaderName::from_static("x-change-reason");

/// Make a rule, or change it
///
/// The rule becomes what is said here; what is not said has its default, also when the rule said otherwise before. Use
/// --file for everything that has no flag here; docs/rules.md tells the fields.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules set edge user_id=123 --limit 5/minute
  tidegate rules set edge user_id=123 --limit 10/second --limit 1000/hour --algorithm token_bucket
  tidegate rules set edge 'path=/health' --unlimited --reason 'probes are free'
  tidegate rules set edge user_id=123 --file rule.json --if-revision 17")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    limits: Limits,
    /// The rule in JSON, a file, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["limit", "unlimited", "shadow", "tag", "algorithm", "disabled"])]
    file: Option<PathBuf>,
    /// Count, but never deny
    #[arg(long)]
    shadow: bool,
    /// Keep the rule, but as if it were not there
    #[arg(long)]
    disabled: bool,
    /// For listing and filtering; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// Only if the rule is as this revision left it; 0: only if there is none
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    api: ApiArgs,
}

/// What may be done, as flags.
#[derive(Debug, clap::Args)]
pub struct Limits {
    /// So many hits per second, minute, hour, day, week, month, year, or any time: 100/90s; several must all hold
    #[arg(long, value_name = "AMOUNT/WINDOW")]
    limit: Vec<String>,
    /// No limit at all
    #[arg(long, conflicts_with = "limit")]
    unlimited: bool,
    /// fixed_window, sliding_window_log, sliding_window_counter, token_bucket or leaky_bucket
    #[arg(long)]
    algorithm: Option<String>,
    /// The size of a bucket
    #[arg(long, value_name = "HITS")]
    burst: Option<u64>,
}

impl Limits {
    /// The fields of a rule; `None` when no limit is said.
    pub fn fields(&self) -> anyhow::Result<Option<Map<String, Value>>> {
        if self.unlimited {
            return Ok(Some(Map::from_iter([("rate_limit".to_owned(), json!({ "unlimited": true }))])));
        }
        let limits = self.limit.iter().map(|text| self.one(text)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(match &limits[..] {
            [] => None,
            [one] => Some(Map::from_iter([("rate_limit".to_owned(), one.clone())])),
            _ => Some(Map::from_iter([("rate_limits".to_owned(), Value::Array(limits))])),
        })
    }

    fn one(&self, text: &str) -> anyhow::Result<Value> {
        const UNITS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];
        let wrong = || anyhow!("--limit {text}: write for example 5/minute, 1000/hour or 100/90s");
        let (amount, window) = text.split_once('/').ok_or_else(wrong)?;
        let amount: u64 = amount.trim().parse().map_err(|_| wrong())?;
        let window = window.trim();
        let mut limit = Map::from_iter([("requests_per_unit".to_owned(), json!(amount))]);
        let name = if UNITS.contains(&window) { "unit" } else { "window" };
        limit.insert(name.to_owned(), json!(window));
        limit.extend(self.algorithm.as_ref().map(|algorithm| ("algorithm".to_owned(), json!(algorithm))));
        limit.extend(self.burst.map(|burst| ("burst".to_owned(), json!(burst))));
        Ok(Value::Object(limit))
    }
}

/// The reason for a change.
#[derive(Clone, Debug, clap::Args)]
pub struct Why {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Why {
    /// Says it in a call.
    pub fn said_in(&self, call: Call) -> Call {
        call.maybe(REASON, self.reason.clone())
    }
}

/// Sends it, and tells what is there now.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let body = match &args.file {
        Some(path) => serde_json::from_str(&read(path)?).with_context(|| format!("{}: no JSON", path.display()))?,
        None => Value::Object(args.fields()?),
    };
    let mut call = Call::new(Method::PUT, args.which.below("rules")).json(&body);
    call = match args.if_revision {
        Some(0) => call.header(IF_NONE_MATCH, "*"),
        Some(revision) => call.header(IF_MATCH, format!("\"{revision}\"")),
        None => call,
    };
    tell(&args.api.call(args.why.said_in(call))?)
}

impl Args {
    fn fields(&self) -> anyhow::Result<Map<String, Value>> {
        let Some(mut fields) = self.limits.fields()? else {
            bail!("what is the rule to be? write --limit 5/minute, --unlimited or --file rule.json");
        };
        if self.shadow {
            fields.insert("shadow_mode".to_owned(), json!(true));
        }
        if self.disabled {
            fields.insert("enabled".to_owned(), json!(false));
        }
        if !self.tag.is_empty() {
            fields.insert("tags".to_owned(), json!(self.tag));
        }
        Ok(fields)
    }
}

/// Tells a record that was made or changed.
pub fn tell(answer: &Answer) -> anyhow::Result<ExitCode> {
    let record = answer.json()?;
    let word = |pointer| super::wording::text(&record, pointer);
    let made = if answer.status == http::StatusCode::CREATED { "made" } else { "set" };
    let force = if record.get("in_force").and_then(Value::as_bool) == Some(false) { ", not yet in force" } else { "" };
    let (domain, path, revision) = (word("/domain"), word("/path"), word("/revision"));
    print(&format!("{made} {path} of {domain}: {} (revision {revision}{force})\n", limits(&record)))?;
    Ok(ExitCode::SUCCESS)
}

/// A file's text; `-` is standard input.
pub fn read(path: &std::path::Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        return std::io::read_to_string(std::io::stdin()).context("standard input cannot be read");
    }
    std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(texts: &[&str]) -> anyhow::Result<Value> {
        let limit = texts.iter().map(|text| (*text).to_owned()).collect();
        let limits = Limits { limit, unlimited: false, algorithm: Some("token_bucket".to_owned()), burst: None };
        Ok(limits.fields()?.map_or(Value::Null, Value::Object))
    }

    #[test]
    fn limits_are_units_or_times() {
        let one = json!({ "rate_limit": { "requests_per_unit": 5, "unit": "minute", "algorithm": "token_bucket" } });
        assert_eq!(limits(&["5/minute"]).unwrap(), one);
        let two = limits(&["5/minute", "7/90s"]).unwrap();
        assert_eq!(
            two["rate_limits"][1],
            json!({ "requests_per_unit": 7, "window": "90s", "algorithm": "token_bucket" })
        );
        assert_eq!(limits(&[]).unwrap(), Value::Null);
        assert!(limits(&["five"]).unwrap_err().to_string().starts_with("--limit five: write for example"));
    }
}
