//! `tidegate rules apply` and `diff`: a server's domains, as files say.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use http::Method;
use http::header::IF_MATCH;
use serde_json::Value;

use super::set::{Why, read};
use super::wording::text;
use crate::cli::api::{ApiArgs, Call, query};
use crate::cli::{FAILURE, print};
use crate::rules::files::{self, Sources};

/// Make a server's domains what files say
///
/// Each domain that the files name becomes what they say: rules that are not there any more are deleted. Other domains
/// and overrides stay. All of it happens in one revision, or nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules diff rules/                                  what would change
  tidegate rules apply rules/ --reason 'release 42'
  tidegate rules export | tidegate rules apply -              changes nothing")]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Only if no rule has changed since this revision
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    /// Also when most rules of the server would be gone
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    why: Why,
}

/// Show what `apply` would change, and change nothing; the exit code is 1 when there is a difference
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    what: What,
}

#[derive(Debug, clap::Args)]
struct What {
    /// YAML files, and directories of them, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Applies, and tells what changed.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let accept = args.accept_loss.then(|| "true".to_owned());
    let call = args.what.call(&[("accept_loss", accept)])?;
    let call = call.maybe(IF_MATCH, args.if_revision.map(|revision| format!("\"{revision}\"")));
    let answer = args.what.api.call(args.why.said_in(call))?.json()?;
    print(&told(&answer))?;
    print(&format!("revision {}\n", text(&answer, "/revision")))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks what would change.
pub fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let answer = args.what.api.call(args.what.call(&[("dry_run", Some("true".to_owned()))])?)?.json()?;
    print(&told(&answer))?;
    let changes = answer.get("changes").and_then(Value::as_array).is_some_and(|changes| !changes.is_empty());
    Ok(if changes { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}

impl What {
    fn call(&self, parameters: &[(&str, Option<String>)]) -> anyhow::Result<Call> {
        let path = format!("/rate-limit/rules:apply{}", query(parameters.iter().cloned()));
        Ok(Call::new(Method::POST, path).text("application/yaml", self.text()?))
    }

    /// All files as one stream of documents, after they were checked here: their mistakes then have file names.
    fn text(&self) -> anyhow::Result<String> {
        if let [only] = &self.files[..]
            && only.as_os_str() == "-"
        {
            return read(only);
        }
        let loaded = match files::load(&Sources::paths(&self.files)) {
            Ok(loaded) => loaded,
            Err(report) => bail!("{report}"),
        };
        let texts = loaded.files.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(texts.iter().map(|text| format!("---\n{text}\n")).collect())
    }
}

/// Changes and warnings, a line each.
fn told(answer: &Value) -> String {
    let mut told = String::new();
    let list = |name: &str| answer.get(name).and_then(Value::as_array).into_iter().flatten();
    for warning in list("warnings") {
        told.push_str(&format!("warning: {}\n", warning.as_str().map_or_else(|| warning.to_string(), str::to_owned)));
    }
    match answer.get("diff").and_then(Value::as_str) {
        Some("") | None => told.push_str("no difference\n"),
        Some(diff) => told.push_str(diff),
    }
    if !told.ends_with('\n') {
        told.push('\n');
    }
    told
}
