//! Which bus is used at present: the one that all share, or, while that is away, one of this process' own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::status::Status;
use crate::anomaly::bus::BusError;
use crate::anomaly::bus::choice::AnyBus;
use crate::core::clock::{Clock, Micros};

/// How long the first connection is waited for, before its bus is taken for away.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);

/// What this process is to the computing, and with which bus.
#[derive(Clone, Debug)]
pub enum Place {
    /// It does not compute.
    Follower,
    /// It has the seat.
    Leader,
    /// The shared bus is away: all goes over this one.
    Alone(Arc<AnyBus>),
}

/// What the parts of a worker share.
#[derive(Clone)]
pub struct Line {
    /// The bus that all replicas share.
    pub shared: Arc<AnyBus>,
    /// The present place.
    pub place: watch::Sender<Place>,
    /// The figures.
    pub status: Arc<Status>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Turns true when the end begins.
    pub end: watch::Receiver<bool>,
}

impl Line {
    /// The bus to use now.
    pub fn bus(&self) -> Arc<AnyBus> {
        match &*self.place.borrow() {
            Place::Alone(own) => Arc::clone(own),
            Place::Follower | Place::Leader => Arc::clone(&self.shared),
        }
    }

    /// Waits until the shared bus is connected, but not for long.
    pub async fn connected(&self) {
        tokio::select! {
            _ = timeout(CONNECTED_WITHIN, self.shared.connected()) => {}
            () = self.ended() => {}
        }
    }

    /// The present.
    pub fn now(&self) -> Micros {
        self.clock.wall()
    }

    /// Counts a failure of the bus, and tells of the first.
    pub fn failed(&self, error: &BusError) {
        if self.status.bus_failed(error, self.now()) {
            tracing::warn!("{error}; adjustments in force stay until they end");
        } else if !matches!(error, BusError::Away(_)) {
            tracing::warn!("{error}");
        }
    }

    /// The bus answers.
    pub fn answered(&self) {
        if self.status.bus_answered() {
            tracing::info!("the anomaly worker's bus is back");
        }
    }

    /// Waits until the end begins.
    pub async fn ended(&self) {
        // Without anybody who could say so, it has begun.
        let _ = self.end.clone().wait_for(|ended| *ended).await;
    }

    /// Whether the end has begun.
    pub fn has_ended(&self) -> bool {
        *self.end.borrow() || self.end.has_changed().is_err()
    }
}

// Two buses are the same only when they are one.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Follower, Self::Follower) | (Self::Leader, Self::Leader) => true,
            (Self::Alone(one), Self::Alone(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}
