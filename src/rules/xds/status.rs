//! How it stands with the xDS server.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its rules were put in force.
    Accepted,
    /// It has the rules that are in force.
    Unchanged,
    /// It has mistakes.
    Refused,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Unchanged, Self::Refused];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// A set that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The server's name for it.
    pub version: String,
    /// When.
    pub at: Timestamp,
    /// Its mistakes.
    pub reason: String,
}

/// How it stands, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Whether there is a connection.
    pub connected: bool,
    /// Since when there is, or is none.
    pub since: Option<Timestamp>,
    /// Why the last connection ended, or did not come about, until the server is heard again.
    pub trouble: Option<String>,
    /// The server's name for the set in force; `None` before the first.
    pub version: Option<String>,
    /// The set in force is from the copy on disk; the server has not been heard yet.
    pub from_copy: bool,
    /// When the server last said that it is the newest.
    pub taken: Option<Timestamp>,
    /// While the server's newest set is refused.
    pub refusal: Option<Refusal>,
    /// How many pushes had which outcome, in the order of [`Outcome::ALL`].
    pub pushes: [u64; 3],
}

/// Shared with health and metrics.
#[derive(Debug)]
pub struct Status {
    /// Where the server is.
    pub server: String,
    standing: Mutex<Standing>,
    first: watch::Sender<bool>,
}

impl Status {
    /// Before anything has happened.
    #[must_use]
    pub fn new(server: impl Into<String>) -> Self {
        Self { server: server.into(), standing: Mutex::default(), first: watch::Sender::new(false) }
    }

    /// How things stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// Waits until the first rules are in force; `false` when that takes longer than `patience`.
    pub async fn first(&self, patience: Duration) -> bool {
        let mut first = self.first.subscribe();
        matches!(timeout(patience, first.wait_for(|there| *there)).await, Ok(Ok(_)))
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a connection.
    pub(super) fn connected(&self, now: Timestamp) {
        let mut standing = self.lock();
        standing.connected = true;
        standing.since = Some(now);
    }

    /// There is no connection; says whether that, or the reason, is news.
    pub(super) fn away(&self, now: Timestamp, reason: &str) -> bool {
        let mut standing = self.lock();
        if standing.connected || standing.since.is_none() {
            standing.since = Some(now);
        }
        standing.connected = false;
        let before = standing.trouble.replace(reason.to_owned());
        before.as_deref() != Some(reason)
    }

    /// The set in force is the server's newest.
    pub(super) fn took(&self, now: Timestamp, version: &str, outcome: Outcome) {
        let mut standing = self.lock();
        standing.version = Some(version.to_owned());
        standing.from_copy = false;
        standing.taken = Some(now);
        standing.refusal = None;
        standing.trouble = None;
        standing.pushes[outcome as usize] += 1;
        drop(standing);
        self.first.send_replace(true);
    }

    /// The set in force is that of the copy.
    pub(super) fn took_copy(&self, version: &str) {
        let mut standing = self.lock();
        standing.version = Some(version.to_owned());
        standing.from_copy = true;
        drop(standing);
        self.first.send_replace(true);
    }

    /// The server's newest set is refused.
    pub(super) fn refused(&self, refusal: Refusal) {
        let mut standing = self.lock();
        standing.refusal = Some(refusal);
        standing.trouble = None;
        standing.pushes[Outcome::Refused as usize] += 1;
    }
}
