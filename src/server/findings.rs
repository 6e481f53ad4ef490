//! Where what the anomaly worker finds is kept: in Postgres where the settings name one, else beside the rules' file, else
//! in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Context;
use crate::anomaly::findings::embedded::{Embedded, MAX_KEPT};
use crate::anomaly::findings::postgres::Postgres;
use crate::anomaly::findings::{FindingStore, Findings as _, FindingsError};
use crate::config::Config;
use crate::core::clock::Micros;
use crate::postgres::{ConnectError, Connector};
use crate::rules::repository::choice::Repository;

/// How often old findings are looked for.
const PRUNED_EVERY: Duration = Duration::from_secs(60);
/// The most that are forgotten in a step, and the most steps at a time.
const STEP: usize = 1_000;
const STEPS: usize = 20;

/// Why findings cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database's settings cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] FindingsError),
}

/// Opens the store that the settings name. Postgres may be away; a file must be there, or must be possible to make. Rules
/// in the same database share its connections.
///
/// # Errors
/// [`OpenError`], with the setting to change.
pub fn open(config: &Config, rules: Option<&Repository>) -> Result<FindingStore, OpenError> {
    if let Some(settings) = &config.database {
        let pool = match rules {
            Some(Repository::Postgres(rules)) => rules.pool(),
            _ => Connector::new(settings)?.pool(settings)?,
        };
        return Ok(FindingStore::Postgres(Postgres::new(pool, settings)));
    }
    let embedded = match (&config.rules.repository_file, rules) {
        // By now the rules' store has made its directory.
        (Some(path), Some(_)) => Embedded::open(&beside(path))?,
        _ => Embedded::in_memory(MAX_KEPT)?,
    };
    Ok(FindingStore::Embedded(embedded))
}

/// `rules.redb` has `rules.findings.redb` beside it.
fn beside(rules: &Path) -> std::path::PathBuf {
    rules.with_extension("findings.redb")
}

/// Forgets what is older than `anomaly.retention`, for ever.
pub async fn keep_house(context: Arc<Context>) {
    let retention = Micros::from(context.config.anomaly.retention);
    let mut away = false;
    loop {
        sleep(PRUNED_EVERY).await;
        let before = context.limiter.wall().saturating_sub(retention);
        for _ in 0..STEPS {
            match context.findings.prune(before, STEP).await {
                Ok(pruned) => {
                    away = false;
                    if pruned < STEP {
                        break;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(%error, "old findings are not forgotten for now");
                    }
                    break;
                }
            }
        }
    }
}
