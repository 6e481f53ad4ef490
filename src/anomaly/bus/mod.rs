//! What the workers of several replicas share.
//!
//! Every replica sends what its decisions left, in batches, and reads deeds: what was found and done, and what people said
//! of it. One of them has the seat: it reads all batches, runs the engine, and tells its deeds. What it knows it leaves
//! now and then as a checkpoint, from which the next one goes on.
//!
//! Batches and deeds have positions, which grow. What is older than is kept is gone: whoever asks from further back gets
//! a gap told, and begins with what stands.

pub mod choice;
pub mod local;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::event::{Event, Feedback};
use crate::core::adjustment::Adjustment;
use crate::core::clock::Micros;

/// Why a bus did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It does not answer.
    #[error("the anomaly worker's Redis: {0}")]
    Away(String),
    /// What is there is not what was written.
    #[error("the anomaly worker's Redis holds something else under {key}: {reason}")]
    Damaged {
        /// Where.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More than may be sent at once.
    #[error("{bytes} bytes are more than the {most} that may be sent at once")]
    TooLarge {
        /// So many.
        bytes: usize,
        /// At most.
        most: usize,
    },
}

/// A place in the order of batches, or of deeds. They compare as they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Milliseconds of the bus' own clock.
    pub millis: u64,
    /// Within these.
    pub number: u64,
}

impl Position {
    /// Before everything that is kept.
    pub const START: Self = Self { millis: 0, number: 0 };
}

/// What all replicas learn of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Deed {
    /// Something was found or done.
    Event(Event),
    /// A person said something about it.
    Feedback(Feedback),
}

/// Some of an order of things.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<T> {
    /// What there is, in order, each with its position.
    pub items: Vec<(Position, T)>,
    /// Something between what was asked for and the first of these is no longer there.
    pub gap: bool,
}

/// All that is in force at a position of the deeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Up to and with this deed.
    pub position: Position,
    /// When it was put together: wall time.
    pub at: Micros,
    /// What is in force.
    pub adjustments: Vec<Adjustment>,
}

/// What an engine knew.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The last batch that it had seen.
    pub observations: Position,
    /// The last deed that it had seen or done.
    pub deeds: Position,
    /// The engine's own bytes.
    pub engine: Bytes,
}

/// What workers share. Every call has a deadline of its own.
pub trait Bus: Send + Sync {
    /// Takes the seat, or keeps it; `false` while another has it. Whoever has it calls this several times in the time that it
    /// lasts without (one second).
    fn lead(&self) -> impl Future<Output = Result<bool, BusError>> + Send;

    /// Gives the seat up, if it is ours.
    fn resign(&self) -> impl Future<Output = Result<(), BusError>> + Send;

    /// Sends a batch of observations.
    fn send(&self, batch: Bytes) -> impl Future<Output = Result<(), BusError>> + Send;

    /// Batches behind a position, at most a few megabytes of them; waits up to `patience` for the first.
    fn receive(
        &self,
        since: Position,
        patience: Duration,
    ) -> impl Future<Output = Result<Part<Bytes>, BusError>> + Send;

    /// Tells deeds, all or none; returns the position of the last. Of the seat's holder only while it has the seat:
    /// `None` when it has lost it. Feedback comes from anybody.
    fn tell(&self, deeds: Vec<Deed>) -> impl Future<Output = Result<Option<Position>, BusError>> + Send;

    /// Deeds behind a position; waits up to `patience` for the first.
    fn deeds(&self, since: Position, patience: Duration) -> impl Future<Output = Result<Part<Deed>, BusError>> + Send;

    /// Leaves what is in force, for replicas that start, or that missed deeds.
    fn leave_standing(&self, standing: &Standing) -> impl Future<Output = Result<(), BusError>> + Send;

    /// What is in force, as it was left last.
    fn standing(&self) -> impl Future<Output = Result<Option<Standing>, BusError>> + Send;

    /// Leaves what an engine knows.
    fn leave_checkpoint(&self, checkpoint: &Checkpoint) -> impl Future<Output = Result<(), BusError>> + Send;

    /// What an engine knew, as it was left last.
    fn checkpoint(&self) -> impl Future<Output = Result<Option<Checkpoint>, BusError>> + Send;
}
