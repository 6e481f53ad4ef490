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
pub mod redis;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::event::{Event, Feedback};
use crate::core::adjustment::Adjustment;
use crate::core::clock::Micros;

/// The most bytes of a batch of observations.
pub const MOST_BATCH_BYTES: usize = 256 << 10;
/// The most bytes of deeds that are told at once, some 10 000 of them; and of one deed.
pub const MOST_TOLD_BYTES: usize = 4 << 20;
/// See [`MOST_TOLD_BYTES`].
pub const MOST_DEED_BYTES: usize = 64 << 10;
/// The most bytes of what is in force: some 100 000 adjustments.
pub const MOST_STANDING_BYTES: usize = 16 << 20;
/// The most bytes of what an engine knows.
pub const MOST_CHECKPOINT_BYTES: usize = 64 << 20;

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
    /// It was not left, as it would have been in the place of what the seat's holder left.
    #[error("another replica has the seat, or nobody")]
    Unseated,
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
    /// Up to where this goes: ask from here next time. It may lie behind the last item, and before what was asked for, when
    /// the bus has lost what it had.
    pub upto: Position,
    /// Something between what was asked for and the first of these is no longer there; there may be none of these.
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

/// What workers share. Every call has a deadline of its own. What was to be sent, told or left may be there or not when a
/// call fails.
pub trait Bus: Send + Sync {
    /// Takes the seat, or keeps it; `false` while another has it. Whoever has it calls this several times in the time that it
    /// lasts without (one second), also while it leaves or tells something.
    fn lead(&self) -> impl Future<Output = Result<bool, BusError>> + Send;

    /// Gives the seat up, if it is ours.
    fn resign(&self) -> impl Future<Output = Result<(), BusError>> + Send;

    /// Sends a batch of observations, of at most [`MOST_BATCH_BYTES`].
    fn send(&self, batch: Bytes) -> impl Future<Output = Result<(), BusError>> + Send;

    /// Batches behind a position, at most a few megabytes of them; waits up to `patience` for the first.
    fn receive(
        &self,
        since: Position,
        patience: Duration,
    ) -> impl Future<Output = Result<Part<Bytes>, BusError>> + Send;

    /// Tells deeds, all or none; returns the position of the last. Several may have the same position, and are read
    /// together then. Of the seat's holder only while it has the seat:
    /// `None` when it has lost it. Feedback comes from anybody.
    fn tell(&self, deeds: Vec<Deed>) -> impl Future<Output = Result<Option<Position>, BusError>> + Send;

    /// Deeds behind a position; waits up to `patience` for the first.
    fn deeds(&self, since: Position, patience: Duration) -> impl Future<Output = Result<Part<Deed>, BusError>> + Send;

    /// Leaves what is in force, if the seat is ours, for replicas that start, or that missed deeds.
    fn leave_standing(&self, standing: &Standing) -> impl Future<Output = Result<(), BusError>> + Send;

    /// What is in force, as it was left last.
    fn standing(&self) -> impl Future<Output = Result<Option<Standing>, BusError>> + Send;

    /// Leaves what an engine knows, if the seat is ours.
    fn leave_checkpoint(&self, checkpoint: &Checkpoint) -> impl Future<Output = Result<(), BusError>> + Send;

    /// What an engine knew, as it was left last.
    fn checkpoint(&self) -> impl Future<Output = Result<Option<Checkpoint>, BusError>> + Send;
}
