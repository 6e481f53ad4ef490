//! `tidegate rules delete`: a rule taken away.

use std::process::ExitCode;

use http::Method;
use http::header::IF_MATCH;

use super::get::Which;
use super::set::Why;
use crate::cli::api::{ApiArgs, Call};
use crate::cli::print;

/// Delete a rule; rules below its path stay
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules delete edge user_id=123 --reason 'left us'
  tidegate rules delete edge user_id=123 --if-revision 17
  tidegate rules rollback edge user_id=123 --to 17          takes it back")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Only if the rule is as this revision left it
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    api: ApiArgs,
}

/// Deletes, and says so.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let call = Call::new(Method::DELETE, args.which.below("rules"));
    let call = call.maybe(IF_MATCH, args.if_revision.map(|revision| format!("\"{revision}\"")));
    args.api.call(args.why.said_in(call))?;
    print(&format!("deleted {} of {}\n", args.which.path, args.which.domain))?;
    Ok(ExitCode::SUCCESS)
}
