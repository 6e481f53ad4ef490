//! From observations to events.

use super::event::Event;
use super::observation::Observation;
use crate::core::clock::Micros;

/// Sees requests, and says once an interval what it makes of them. It has no clock and does no I/O.
#[derive(Debug, Default)]
pub struct Engine {}

impl Engine {
    /// How often [`Engine::tick`] wants to be called.
    #[must_use]
    pub const fn interval(&self) -> Micros {
        Micros::SECOND
    }

    /// One request. Cheap: what is expensive waits for the interval's end.
    pub fn observe(&mut self, _observation: &Observation<'_>) {}

    /// The end of an interval: what was found and done in it.
    pub fn tick(&mut self, _now: Micros) -> Vec<Event> {
        Vec::new()
    }
}
