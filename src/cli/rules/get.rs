//! `tidegate rules get`: one rule.

use std::process::ExitCode;

use http::Method;

use crate::cli::api::{ApiArgs, Call, segment};
use crate::cli::print;
use crate::core::path::DescriptorPath;

/// Which rule.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// The rule's domain
    pub domain: String,
    /// Its path: key=value,key2 (`,` and `=` of a value as %2C and %3D)
    pub path: DescriptorPath,
}

impl Which {
    /// Where the API has it, below `collection`.
    pub fn below(&self, collection: &str) -> String {
        format!("/rate-limit/{collection}/{}/{}", segment(&self.domain), segment(self.path.as_str()))
    }
}

/// Show one rule that a server keeps, as JSON
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules get edge user_id=123
  tidegate rules get edge 'remote_address,path=/login'")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let record = args.api.call(Call::new(Method::GET, args.which.below("rules")))?.json()?;
    print(&format!("{record:#}\n"))?;
    Ok(ExitCode::SUCCESS)
}
