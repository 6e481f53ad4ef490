//! The databases of countries and autonomous systems, now and whenever their files change.
//!
//! Both are read anew beside the ones in force, and take their place at once. A mistake in either, and the ones in force
//! stay.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::anomaly::geo::{Databases, Geo, GeoError};
use crate::config::anomaly::Geo as Settings;
use crate::rules::files::{Fingerprint, Sources};
use crate::rules::report::{Diagnostic, Report};
use crate::rules::watch::{Followed, Options, Status, Watcher, follow_binary};
use crate::telemetry::metrics::Metrics;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A database cannot be used.
    #[error(transparent)]
    Database(#[from] GeoError),
    /// There is no thread to follow files with.
    #[error("the files of anomaly.geo cannot be followed: {0}")]
    Thread(#[from] io::Error),
}

/// The databases, how loading them goes, and what follows their files as long as it is kept.
#[derive(Debug, Default)]
pub struct Opened {
    /// The databases in force.
    pub databases: Arc<Geo>,
    /// How loading goes, the first included.
    pub status: Arc<Status>,
    /// Follows the files, if there are any.
    pub watcher: Option<Watcher>,
}

impl Opened {
    /// Adds what is measured of them, if there are any.
    pub fn register(&self, metrics: &Metrics) {
        if self.status.successes() == 0 {
            return;
        }
        let status = Arc::clone(&self.status);
        metrics.counters(
            "geo_reloads",
            "Databases of countries and autonomous systems put in force and refused, the first included",
            "outcome",
            move || vec![("success".to_owned(), status.successes()), ("error".to_owned(), status.failures())],
        );
    }
}

/// Loads the databases and follows their files.
///
/// # Errors
/// What is wrong with a database.
pub fn open(settings: &Settings, options: Options) -> Result<Opened, OpenError> {
    let files: Vec<_> = settings.country_database.iter().chain(&settings.asn_database).collect();
    if files.is_empty() {
        return Ok(Opened::default());
    }
    let sources = Sources::files(files);
    // Before reading, so that no change is missed.
    let known = Some(Fingerprint::of(&sources));
    let databases = Databases::load(settings)?;
    tell(&databases);
    let status = Arc::new(Status::default());
    status.record(&Ok(()), SystemTime::now());
    let geo = Arc::new(Geo::new(databases));
    let followed = Followed { name: "geo", sources, options, known, status: Arc::clone(&status) };
    let (served, settings) = (Arc::clone(&geo), settings.clone());
    let watcher = follow_binary(
        followed,
        move || Databases::load(&settings).map_err(report),
        move |loaded| match loaded {
            Ok(databases) => {
                tell(&databases);
                served.replace(databases);
            }
            Err(report) => tracing::error!("changed databases do not load; the ones in force stay:\n{report}"),
        },
    )?;
    Ok(Opened { databases: geo, status, watcher: Some(watcher) })
}

fn tell(databases: &Databases) {
    databases.describe().for_each(|database| tracing::info!(database, "a database of addresses is in force"));
}

fn report(error: GeoError) -> Report {
    let mut report = Report::default();
    report.push(Diagnostic::file_error("", error.to_string(), None));
    report
}
