//! The schema's version.
//!
//! Migrations are in the binary. Whoever migrates holds an advisory lock meanwhile, so that replicas which start
//! together do it one after the other, and all but the first find nothing to do.

use tokio_postgres::Client;

use super::failure::unavailable;
use crate::postgres::failure::sentence;
use crate::rules::repository::RepositoryError;

#[allow(missing_docs, reason = "generated")]
mod embedded {
    refinery::embed_migrations!("src/rules/repository/postgres/migrations");
}

/// The table of migrations that were made.
const TABLE: &str = "tidegate_schema_history";
/// Names the advisory lock: "tidegate" in ASCII.
const LOCK: i64 = 0x7469_6465_6761_7465;

/// The schema's version that this program works with.
#[must_use]
pub fn newest_version() -> i32 {
    let versions = embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    versions.unwrap_or_default()
}

/// The schema's version in the database; 0 for none.
pub(super) async fn version(client: &Client) -> Result<i32, RepositoryError> {
    let there = client.query_one("SELECT to_regclass('public.tidegate_schema_history') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client.query_one("SELECT coalesce(max(version), 0) FROM public.tidegate_schema_history", &[]).await?;
    Ok(row.get(0))
}

/// Makes the migrations that are missing. The caller ends the connection, and with it the lock, and bounds the time.
pub(super) async fn migrate(client: &mut Client) -> Result<(), RepositoryError> {
    // What takes time here is waiting for others, and tables that are large.
    client.batch_execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0").await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(RepositoryError::Unusable(format!("the database's encoding is {encoding}; create it with UTF8")));
    }
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name(TABLE);
    match runner.run_async(client).await {
        Ok(report) => {
            for migration in report.applied_migrations() {
                tracing::info!("migrated the database: {migration}");
            }
            Ok(())
        }
        Err(error) => Err(match error.kind() {
            refinery::error::Kind::Connection(text, cause) => match cause.downcast_ref::<tokio_postgres::Error>() {
                Some(cause) if cause.code().is_some_and(|code| code.code() == "42501") => RepositoryError::Unusable(
                    format!("the database's role may not migrate it ({}); see docs/postgres.md", sentence(cause)),
                ),
                Some(cause) => unavailable(format!("{text}: {}", sentence(cause))),
                None => unavailable(format!("{text}: {cause}")),
            },
            kind => RepositoryError::Unusable(format!("the database was migrated by something else: {kind}")),
        }),
    }
}

/// Whether a schema of this version can be worked with, or has to be migrated first.
pub(super) fn judge(found: i32) -> Result<bool, RepositoryError> {
    let newest = newest_version();
    if found > newest {
        return Err(RepositoryError::Unusable(format!(
            "the database's schema has version {found}, this program works with {newest}; use a newer one"
        )));
    }
    Ok(found == newest)
}
