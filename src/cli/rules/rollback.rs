//! `tidegate rules rollback`: changes taken back.

use std::process::ExitCode;

use http::Method;
use serde_json::json;

use super::set::Why;
use super::wording::text;
use crate::cli::api::{ApiArgs, Call, segment};
use crate::cli::print;
use crate::core::path::DescriptorPath;

/// Take changes back: one rule, or all rules, become what they were at a revision
///
/// This is a change like any other: it has a revision of its own, and can be taken back.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules rollback edge user_id=123 --to 17
  tidegate rules rollback --to 17 --reason 'the import was wrong'    every rule")]
pub struct Args {
    /// The rule's domain
    #[arg(requires = "path")]
    domain: Option<String>,
    /// Its path
    path: Option<DescriptorPath>,
    /// The revision to go back to; `tidegate rules history` shows them
    #[arg(long, value_name = "REVISION")]
    to: u64,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks, and tells the new revision.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = match (&args.domain, &args.path) {
        (Some(domain), Some(path)) => {
            format!("/rate-limit/rules/{}/{}/rollback", segment(domain), segment(path.as_str()))
        }
        _ => "/rate-limit/rules:rollback".to_owned(),
    };
    let call = Call::new(Method::POST, path).json(&json!({ "revision": args.to }));
    let answer = args.api.call(args.why.said_in(call))?.json()?;
    print(&format!("back to revision {}, as revision {}\n", args.to, text(&answer, "/revision")))?;
    Ok(ExitCode::SUCCESS)
}
