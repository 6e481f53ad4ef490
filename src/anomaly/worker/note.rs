//! Findings on their way to where they are kept.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::line::Line;
use super::status::Status;
use crate::anomaly::event::Event;
use crate::anomaly::findings::{Findings, FindingsError};

/// So many events wait at most; the oldest give way.
pub const MOST_WAITING: usize = 50_000;
/// So many are noted at once.
const AT_ONCE: usize = 1_000;
/// How soon a store that is away is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// A store of findings, whichever.
pub trait Note: Send + Sync {
    /// As [`Findings::note`].
    fn note<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Result<(), FindingsError>>;
}

impl<F: Findings> Note for F {
    fn note<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Result<(), FindingsError>> {
        Box::pin(Findings::note(self, events))
    }
}

/// Who notes findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// All replicas share a store: who computes notes what it found.
    ByWhoComputes,
    /// Every replica has a store of its own, and notes the deeds that it hears of.
    ByAll,
}

/// Events that wait to be noted.
#[derive(Debug)]
pub struct Waiting {
    events: Mutex<VecDeque<Event>>,
    some: Notify,
    status: Arc<Status>,
}

impl Waiting {
    /// None yet.
    #[must_use]
    pub fn new(status: Arc<Status>) -> Self {
        Self { events: Mutex::default(), some: Notify::new(), status }
    }

    /// Adds events.
    pub fn push(&self, new: impl IntoIterator<Item = Event>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.extend(new);
        let beyond = events.len().saturating_sub(MOST_WAITING);
        events.drain(..beyond);
        self.status.findings_waiting.set(events.len() as u64);
        self.status.findings_lost.add(beyond as u64);
        drop(events);
        self.some.notify_one();
    }

    fn take(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let count = events.len().min(AT_ONCE);
        let taken = events.drain(..count).collect();
        self.status.findings_waiting.set(events.len() as u64);
        taken
    }
}

/// Notes what waits, until the end; then once more what there is.
pub async fn run(waiting: Arc<Waiting>, store: Arc<dyn Note>, line: Line) {
    let mut taken = Vec::new();
    let mut retry = RETRY.0;
    loop {
        if taken.is_empty() {
            taken = waiting.take();
        }
        if taken.is_empty() {
            tokio::select! {
                () = waiting.some.notified() => continue,
                () = line.ended() => return,
            }
        }
        match store.note(&taken).await {
            Ok(()) => {
                taken.clear();
                retry = RETRY.0;
                line.status.findings_away.store(false, Ordering::Relaxed);
            }
            Err(FindingsError::Away(reason)) => {
                if !line.status.findings_away.swap(true, Ordering::Relaxed) {
                    tracing::warn!("findings wait: {reason}");
                }
                tokio::select! {
                    () = sleep(retry) => retry = (retry * 2).min(RETRY.1),
                    () = line.ended() => return,
                }
            }
            // Trying again would change nothing.
            Err(error) => {
                tracing::error!("{} events are not kept: {error}", taken.len());
                line.status.findings_lost.add(taken.len() as u64);
                taken.clear();
            }
        }
    }
}
