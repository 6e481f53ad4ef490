//! `tidegate rules import`: the rules of another rate limiter as rule files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::cli::{FAILURE, print};
use crate::core::spec::DomainSpec;
use crate::rules::import::{self, Format, Imported, Outcome, SentDescriptor};
use crate::rules::yaml;

/// Turn the rules of another rate limiter into rule files
///
/// Standard error tells line by line what came over as it was, what changed, and what has no equivalent and was left
/// out; then what Envoy must send. When a file is wrong, nothing is written and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules import --from limitador limits.yaml --output rules/
  tidegate rules import --from limitador limits.yaml 2>report.txt | less
  tidegate rules import --from envoy /srv/runtime_data/current/ratelimit/config --output rules/")]
pub struct Args {
    /// Whose rules they are
    #[arg(long, value_enum)]
    from: From,
    /// Their files, and directories of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where to write: a file, a directory for one file a domain, or - for standard output
    #[arg(long, short, value_name = "PATH", default_value = "-")]
    output: PathBuf,
    /// Merge files of envoyproxy/ratelimit that name the same domain, as MERGE_DOMAIN_CONFIG does
    #[arg(long)]
    merge_domains: bool,
}

/// Rate limiters whose rules are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// YAML directories of envoyproxy/ratelimit
    Envoy,
    /// Limits files of Kuadrant limitador 2
    Limitador,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let format = match args.from {
        From::Envoy => Format::Envoy,
        From::Limitador => Format::Limitador,
    };
    let imported = match import::import(format, &args.paths, args.merge_domains) {
        Ok(imported) => imported,
        Err(report) => {
            eprintln!("{report}; nothing was written");
            return Ok(ExitCode::from(FAILURE));
        }
    };
    tell(&imported);
    if imported.domains.is_empty() {
        bail!("nothing is left to be written");
    }
    write(&imported.domains, &args.output)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(imported: &Imported) {
    for warning in &imported.warnings {
        eprintln!("{warning}");
    }
    for finding in &imported.findings {
        eprintln!("{finding}");
    }
    if !imported.descriptors.is_empty() {
        eprintln!("Envoy must send these descriptors, each of exactly these entries in this order:");
        for SentDescriptor { domain, from, entries } in &imported.descriptors {
            let entry = |(key, value): &(String, Option<String>)| match value {
                Some(value) => format!("{key}={value}"),
                None => key.clone(),
            };
            let entries: Vec<String> = entries.iter().map(entry).collect();
            let from = from.map_or_else(String::new, |index| format!(", of the entries of descriptors[{index}]"));
            eprintln!("  domain {domain}: ({}){from}", entries.join(", "));
        }
    }
    for note in &imported.notes {
        eprintln!("note: {note}");
    }
    let count = |outcome| format!("{} {outcome}", imported.count(outcome));
    let counts = [Outcome::Kept, Outcome::Changed, Outcome::NoEquivalent].map(count);
    eprintln!("{}", counts.join(", "));
}

fn write(domains: &[DomainSpec], output: &Path) -> anyhow::Result<()> {
    let is_directory = output.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !is_directory && let [_, _, ..] = domains {
        bail!(
            "these are the rules of {} domains, and a rule file holds one; name a directory: --output rules/",
            domains.len()
        );
    }
    if output == "-" {
        return domains.iter().try_for_each(|domain| print(&yaml::write(domain)));
    }
    let mut files: Vec<PathBuf> = Vec::with_capacity(domains.len());
    if is_directory {
        fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
        for domain in domains {
            files.push(output.join(free_name(&domain.name, output, &files)));
        }
    } else {
        files.push(output.to_owned());
    }
    // All are written before the first gets its name, so that a full disk leaves what was there.
    let written = |file: &Path| file.with_extension("yaml.new");
    for (file, domain) in files.iter().zip(domains) {
        let new = written(file);
        fs::write(&new, yaml::write(domain)).with_context(|| format!("cannot write {}", new.display()))?;
    }
    for file in &files {
        fs::rename(written(file), file).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("written: {}", file.display());
    }
    Ok(())
}

/// The name of a domain's file: as much of the domain's name as a file's name may have, and a number where that is
/// the same for two of them.
fn free_name(domain: &str, directory: &Path, files: &[PathBuf]) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let stem: String = domain.chars().take(80).map(|c| if is_plain(c) { c } else { '_' }).collect();
    let stem = stem.trim_start_matches('.');
    let stem = if stem.is_empty() { "domain" } else { stem };
    let mut name = format!("{stem}.yaml");
    let mut number = 2;
    while files.contains(&directory.join(&name)) {
        name = format!("{stem}-{number}.yaml");
        number += 1;
    }
    name
}
