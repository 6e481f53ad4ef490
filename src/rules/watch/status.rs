//! How loading went so far.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::rules::report::Report;

/// How loading went so far; shared with health and metrics.
#[derive(Debug, Default)]
pub struct Status {
    successes: AtomicU64,
    failures: AtomicU64,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    success: Option<SystemTime>,
    failure: Option<(SystemTime, Arc<Report>)>,
    waiting_for: Option<PathBuf>,
}

impl Status {
    /// Counts a load.
    pub fn record<T>(&self, result: &Result<T, Report>, now: SystemTime) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => {
                self.successes.fetch_add(1, Ordering::Relaxed);
                latest.success = Some(now);
                latest.failure = None;
            }
            Err(report) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                latest.failure = Some((now, Arc::new(report.clone())));
            }
        }
    }

    /// Rule sets that could be used (`config_load_success`).
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Rule sets that could not (`config_load_error`).
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// When a rule set last could be used.
    #[must_use]
    pub fn last_success(&self) -> Option<SystemTime> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).success
    }

    /// While the newest rule set cannot be used: since when, and why.
    #[must_use]
    pub fn failure(&self) -> Option<(SystemTime, Arc<Report>)> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    /// While a change waits for a file that somebody still has open for writing: that file.
    #[must_use]
    pub fn waiting_for(&self) -> Option<PathBuf> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).waiting_for.clone()
    }

    pub(super) fn wait_for(&self, file: Option<PathBuf>) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).waiting_for = file;
    }
}
