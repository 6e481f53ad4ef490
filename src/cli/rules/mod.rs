//! `tidegate rules`: work with rules, one file a subcommand.
//!
//! `validate` reads files and needs no server; `describe` asks for what is in force, whatever it comes from; all others
//! work on the rules that a server keeps in its repository, through its HTTP API.

mod accept;
mod apply;
mod delete;
mod describe;
mod export;
mod get;
mod history;
mod import;
mod list;
mod overrides;
mod rollback;
mod set;
mod validate;
pub mod wording;

use std::process::ExitCode;

/// Work with rules
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check rule files, and report every mistake in them
    Validate(validate::Args),
    /// Turn the rules of another rate limiter into rule files
    Import(import::Args),
    /// List the rules in force in a running server
    Describe(describe::Args),
    /// List the rules that a server keeps
    List(list::Args),
    /// Show one rule that a server keeps
    Get(get::Args),
    /// Make a rule, or change it
    Set(set::Args),
    /// Delete a rule
    Delete(delete::Args),
    /// Raise, lower or lift a limit for a time
    #[command(subcommand)]
    Override(overrides::Command),
    /// Show who changed what
    History(history::Args),
    /// Take changes back
    Rollback(rollback::Args),
    /// Make a server's domains what files say
    Apply(apply::Args),
    /// Show what `apply` would change
    Diff(apply::DiffArgs),
    /// Write the rules that a server keeps as YAML
    Export(export::Args),
    /// Say that a replaced, restored or emptied repository is right
    Accept(accept::Args),
}

/// Runs the subcommand.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Validate(args) => validate::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Describe(args) => describe::run(&args),
        Command::List(args) => list::run(&args),
        Command::Get(args) => get::run(&args),
        Command::Set(args) => set::run(args),
        Command::Delete(args) => delete::run(&args),
        Command::Override(command) => overrides::run(command),
        Command::History(args) => history::run(&args),
        Command::Rollback(args) => rollback::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Diff(args) => apply::diff(&args),
        Command::Export(args) => export::run(&args),
        Command::Accept(args) => accept::run(&args),
    }
}
