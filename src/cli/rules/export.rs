//! `tidegate rules export`: the rules that a server keeps, as YAML.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use http::Method;

use crate::cli::api::{ApiArgs, Call, query};
use crate::cli::print;

/// Write the rules that a server keeps as YAML, which `apply` and `serve --rules` read
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules export > rules.yaml
  tidegate rules export --domain edge --output edge.yaml")]
pub struct Args {
    /// Only this domain
    #[arg(long)]
    domain: Option<String>,
    /// Where to write, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Asks and writes.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = format!("/rate-limit/rules:export{}", query([("domain", args.domain.clone())]));
    let answer = args.api.call(Call::new(Method::GET, path))?;
    match &args.output {
        Some(path) => {
            std::fs::write(path, &answer.body).with_context(|| format!("{}: cannot be written", path.display()))?;
        }
        None => print(&String::from_utf8_lossy(&answer.body))?,
    }
    Ok(ExitCode::SUCCESS)
}
