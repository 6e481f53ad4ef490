//! How loading rules went.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Counts of rule set loads, and what is in force.
#[derive(Debug, Default)]
pub struct RuleLoads {
    successes: AtomicU64,
    errors: AtomicU64,
    revision: AtomicU64,
    rules: AtomicU64,
    last_success: AtomicU64,
}

impl RuleLoads {
    /// A rule set of `rules` rules was put in force, as `revision`.
    pub fn loaded(&self, revision: u64, rules: usize) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.revision.store(revision, Ordering::Relaxed);
        self.rules.store(rules as u64, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_success.store(now.as_secs(), Ordering::Relaxed);
    }

    /// A rule set was refused; the one before stays in force.
    pub fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Rule sets put in force.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Rule sets refused.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// The revision in force; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Rules in force.
    #[must_use]
    pub fn rules(&self) -> u64 {
        self.rules.load(Ordering::Relaxed)
    }

    /// When the last rule set was put in force, seconds since 1970; 0 before the first.
    #[must_use]
    pub fn last_success(&self) -> u64 {
        self.last_success.load(Ordering::Relaxed)
    }
}
