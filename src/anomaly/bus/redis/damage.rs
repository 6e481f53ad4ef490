//! What was found that is not what was written: counted, and told now and then.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long no more is told.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Damage {
    found: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Damage {
    /// How often something was found.
    pub(super) fn count(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    pub(super) fn found(&self, key: &str, reason: &dyn Display) {
        let found = self.found.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= QUIET) {
            *told = Some(Instant::now());
            tracing::warn!(key, %reason, found, "left out what is not the anomaly worker's, or is damaged, in Redis");
        }
    }
}
