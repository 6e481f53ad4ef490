//! `tidegate rules validate`: rule files, before they go live.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::{FAILURE, Format, print};
use crate::rules::files::{self, Loaded, Sources};
use crate::rules::report::Report;

/// Check rule files, and report every mistake in them
///
/// All files together make the rule set, as `tidegate serve --rules` would load them. The exit code is 0 when they
/// can be loaded and 1 when not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules validate edge.yaml payments.yaml
  tidegate rules validate --strict rules/                warnings count as errors
  tidegate rules validate --format json rules/ | jq '.diagnostics[].message'")]
pub struct Args {
    /// YAML files, and directories of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// Merge files that name the same domain, instead of refusing them
    #[arg(long)]
    merge_domains: bool,
    /// Text, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Checks, and tells.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut sources = Sources::paths(&args.files);
    sources.strict = args.strict;
    sources.merge_domains = args.merge_domains;
    let result = files::load(&sources);
    let elapsed = started.elapsed();
    let text = match args.format {
        Format::Text => text(&result, elapsed),
        Format::Json => format!("{:#}\n", document(&result, elapsed)),
    };
    print(&text)?;
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

fn text(result: &Result<Loaded, Report>, elapsed: Duration) -> String {
    match result {
        Ok(loaded) => {
            let mut text: String = loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect();
            let counts = [
                count(loaded.files.len(), "file"),
                count(loaded.rules.domains().len(), "domain"),
                count(loaded.rules.rule_count(), "rule"),
                count(loaded.warnings.len(), "warning"),
            ];
            text.push_str(&format!("OK: {} ({elapsed:.1?})\n", counts.join(", ")));
            text
        }
        Err(report) => format!("{report} ({elapsed:.1?}); these rules cannot be loaded\n"),
    }
}

fn document(result: &Result<Loaded, Report>, elapsed: Duration) -> Value {
    let mut document = match result {
        Ok(loaded) => json!({
            "valid": true,
            "files": loaded.files.len(),
            "domains": loaded.rules.domains().len(),
            "rules": loaded.rules.rule_count(),
            "errors": 0,
            "warnings": loaded.warnings.len(),
            "diagnostics": loaded.warnings,
        }),
        Err(report) => json!({
            "valid": false,
            "errors": report.errors(),
            "warnings": report.warnings(),
            "diagnostics": report.diagnostics,
        }),
    };
    document["milliseconds"] = json!(elapsed.as_secs_f64() * 1e3);
    document
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
