//! `tidegate db`: the database that keeps rules.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::{FAILURE, client, print};
use crate::config::{Config, LoadOptions};
use crate::rules::repository::postgres::newest_version;
use crate::rules::repository::{Postgres, RuleRepository as _};

/// Work with the database that keeps rules
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Bring the schema to this version's
    #[command(after_long_help = EXAMPLES)]
    Migrate(Args),
    /// Tell whether the database is there and what it holds; the exit code is 1 when it has to be migrated
    #[command(after_long_help = EXAMPLES)]
    Status(Args),
}

const EXAMPLES: &str = "\
Examples:
  DATABASE_URL=postgres://migrate@db.example/tidegate tidegate db migrate
  tidegate db status --config tidegate.yaml

docs/postgres.md tells which rights each role needs.";

/// Which database.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A YAML file with the server's settings; DATABASE_URL goes before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    let (args, migrate) = match command {
        Command::Migrate(args) => (args, true),
        Command::Status(args) => (args, false),
    };
    let config = Config::load(&LoadOptions { file: args.config, ..LoadOptions::from_process() })?.config;
    let mut settings = config.database.context("the settings name no database; set DATABASE_URL, or database.url")?;
    // Nothing is done to it but what was asked for.
    settings.migrate = false;
    client::block_on(async {
        let postgres = Postgres::new(&settings)?;
        let (before, newest) = (postgres.schema_version().await?, newest_version());
        if migrate {
            postgres.migrate().await?;
            print(&format!("schema version {newest} (was {before})\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        if before != newest {
            let help = if before < newest { "run `tidegate db migrate`" } else { "use a newer tidegate" };
            print(&format!("schema version {before}, this tidegate works with {newest}: {help}\n"))?;
            return Ok(ExitCode::from(FAILURE));
        }
        let head = postgres.head().await?;
        let accepted = head.accepted.map_or_else(String::new, |at| format!(", accepted {at}"));
        print(&format!("schema version {before}\nepoch {}{accepted}\nrevision {}\n", head.epoch, head.revision))?;
        Ok(ExitCode::SUCCESS)
    })
}
