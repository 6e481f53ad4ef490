//! The database that keeps rules: there, of this version, quick, and right.

use std::time::{Duration, Instant};

use super::report::Section;
use crate::config::Config;
use crate::config::database::{Database, TlsMode};
use crate::rules::repository::postgres::newest_version;
use crate::rules::repository::{Filter, Page, Postgres, RuleRepository as _, TokenRepository as _};

/// Slower than this, changes feel slow.
const SLOW: Duration = Duration::from_millis(20);

/// `None` when the settings name no database.
pub async fn check(config: &Config) -> Option<Section> {
    let settings = config.database.as_ref()?;
    let mut section = Section::new(format!("database {:?}", settings.url));
    if let Err(reason) = examine(settings, &mut section).await {
        section.fail("connection", reason, "correct database.url, and see that the database runs and lets us in");
    }
    Some(section)
}

async fn examine(settings: &Database, section: &mut Section) -> Result<(), String> {
    let mut only_look = settings.clone();
    only_look.migrate = false;
    let postgres = Postgres::new(&only_look).map_err(|error| error.to_string())?;
    let version = postgres.schema_version().await.map_err(|error| error.to_string())?;
    section.ok("connection", "stands");
    match settings.tls_mode() {
        Ok(TlsMode::Disable | TlsMode::Prefer) => section.warn(
            "tls",
            "connections may be in plain text",
            "set database.tls, unless the database is on this machine or the network is trusted",
        ),
        Ok(_) => section.ok("tls", "is required"),
        Err(error) => section.fail("tls", error.to_string(), "correct database.url"),
    }
    let newest = newest_version();
    match version.cmp(&newest) {
        std::cmp::Ordering::Equal => section.ok("schema", format!("version {version}")),
        std::cmp::Ordering::Less if settings.migrate => {
            section.ok("schema", format!("version {version}; the server brings it to {newest}"));
            return Ok(());
        }
        std::cmp::Ordering::Less => {
            section.fail("schema", format!("version {version}, not {newest}"), "run `tidegate db migrate`");
            return Ok(());
        }
        std::cmp::Ordering::Greater => {
            section.fail("schema", format!("version {version}, newer than {newest}"), "use a newer tidegate");
            return Ok(());
        }
    }
    let asked = Instant::now();
    let head = postgres.head().await.map_err(|error| error.to_string())?;
    let took = asked.elapsed();
    if took > SLOW {
        section.warn("latency", format!("{took:.1?} for one row"), "bring the database nearer, or ease its load");
    } else {
        section.ok("latency", format!("{took:.1?} for one row"));
    }
    let some = postgres.list(&Filter::default(), Page { after: None, size: 1 }).await;
    if some.map_err(|error| error.to_string())?.is_empty() {
        section.warn("rules", "there are none: every request will pass", "run `tidegate rules apply`");
    } else {
        section.ok("rules", format!("revision {}, epoch {}", head.revision, head.epoch));
    }
    if postgres.tokens().await.map_err(|error| error.to_string())?.is_empty() {
        section.warn("tokens", "there are none, so the API changes nothing", "run `tidegate token create --direct`");
    } else {
        section.ok("tokens", "there are some");
    }
    Ok(())
}
