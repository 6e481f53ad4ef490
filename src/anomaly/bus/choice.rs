//! The bus that the settings choose.

use std::time::Duration;

use bytes::Bytes;

use super::local::LocalBus;
use super::redis::RedisBus;
use super::{Bus, BusError, Checkpoint, Deed, Part, Position, Standing};

/// One of the buses.
#[derive(Debug)]
pub enum AnyBus {
    /// Within this process.
    Local(LocalBus),
    /// In Redis.
    Redis(Box<RedisBus>),
}

impl AnyBus {
    /// Waits until there is a connection, where one is needed; it may not do so for ever.
    pub async fn connected(&self) {
        if let Self::Redis(bus) = self {
            bus.connected().await;
        }
    }
}

/// The same call on whichever it is.
macro_rules! each {
    ($self:ident, $one:ident => $call:expr) => {
        match $self {
            Self::Local($one) => $call,
            Self::Redis($one) => $call,
        }
    };
}

impl Bus for AnyBus {
    async fn lead(&self) -> Result<bool, BusError> {
        each!(self, one => one.lead().await)
    }

    async fn resign(&self) -> Result<(), BusError> {
        each!(self, one => one.resign().await)
    }

    async fn send(&self, batch: Bytes) -> Result<(), BusError> {
        each!(self, one => one.send(batch).await)
    }

    async fn receive(&self, since: Position, patience: Duration) -> Result<Part<Bytes>, BusError> {
        each!(self, one => one.receive(since, patience).await)
    }

    async fn tell(&self, deeds: Vec<Deed>) -> Result<Option<Position>, BusError> {
        each!(self, one => one.tell(deeds).await)
    }

    async fn deeds(&self, since: Position, patience: Duration) -> Result<Part<Deed>, BusError> {
        each!(self, one => one.deeds(since, patience).await)
    }

    async fn leave_standing(&self, standing: &Standing) -> Result<(), BusError> {
        each!(self, one => one.leave_standing(standing).await)
    }

    async fn standing(&self) -> Result<Option<Standing>, BusError> {
        each!(self, one => one.standing().await)
    }

    async fn leave_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), BusError> {
        each!(self, one => one.leave_checkpoint(checkpoint).await)
    }

    async fn checkpoint(&self) -> Result<Option<Checkpoint>, BusError> {
        each!(self, one => one.checkpoint().await)
    }
}
