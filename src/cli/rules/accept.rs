//! `tidegate rules accept`: an operator's word that a repository is right.

use std::process::ExitCode;

use http::Method;

use super::set::Why;
use super::wording::text;
use crate::cli::api::{ApiArgs, Call};
use crate::cli::print;

/// Say that a replaced, restored or emptied repository is right
///
/// Replicas do not follow a repository whose revision went back, that is another one than before, or from which most
/// rules are gone: they keep what is in force, and `/readyz?verbose` shows the alarm. This puts the repository in force
/// on all of them. It needs a token with the scope operate.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  curl -s 'localhost:8080/readyz?verbose' | jq .rules       what is in force, and the alarm
  tidegate rules accept --reason 'restored from last night'")]
pub struct Args {
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    api: ApiArgs,
}

/// Says so.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let call = Call::new(Method::POST, "/rate-limit/rules:accept");
    let answer = args.api.call(args.why.said_in(call))?.json()?;
    print(&format!("accepted: epoch {}, revision {}\n", text(&answer, "/epoch"), text(&answer, "/revision")))?;
    Ok(ExitCode::SUCCESS)
}
