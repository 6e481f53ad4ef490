//! Counts that fade: a hit weighs `exp(-age / tau)`.

use serde::{Deserialize, Serialize};

use crate::anomaly::bounded;
use crate::core::clock::Micros;

/// Fading counts of the same hits at several time scales.
#[derive(Clone, Copy, Debug)]
pub struct Fading<const N: usize>([f32; N]);

impl<const N: usize> Default for Fading<N> {
    fn default() -> Self {
        Self([0.0; N])
    }
}

impl<const N: usize> Fading<N> {
    /// Lets `elapsed` pass.
    pub fn pass(&mut self, elapsed: Micros, scales: &[f32; N]) {
        if elapsed > Micros::ZERO {
            let seconds = seconds(elapsed);
            for (count, scale) in self.0.iter_mut().zip(scales) {
                *count *= (-seconds / scale).exp();
            }
        }
    }

    /// Adds to all of them.
    pub fn add(&mut self, hits: f32) {
        for count in &mut self.0 {
            *count += hits;
        }
    }

    /// The counts, as of the last [`Self::pass`].
    #[must_use]
    pub const fn counts(&self) -> [f32; N] {
        self.0
    }

    /// Counts as they were.
    #[must_use]
    pub const fn of(counts: [f32; N]) -> Self {
        Self(counts)
    }

    /// The count at one scale, as of the last [`Self::pass`].
    #[must_use]
    pub fn count(&self, scale: usize) -> f64 {
        self.0.get(scale).copied().map_or(0.0, f64::from)
    }
}

/// A fading count of one time scale that remembers when it was.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Count {
    value: f32,
    at: Micros,
}

impl Count {
    /// Adds `hits` at `now`.
    pub fn add(&mut self, now: Micros, hits: f32, scale: f32) {
        self.value = self.at(now, scale) + hits;
        self.at = now;
    }

    /// Whether this is what a count can be at `now`, after it was read.
    #[must_use]
    pub fn is_sound(&self, now: Micros) -> bool {
        bounded::is_amount(f64::from(self.value)) && self.at <= now
    }

    /// What is left of it at `now`.
    #[must_use]
    pub fn at(&self, now: Micros, scale: f32) -> f32 {
        if self.value > 0.0 { self.value * (-seconds(now - self.at) / scale).exp() } else { 0.0 }
    }
}

/// As a fraction.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a length of time to some microseconds in a minute is exact enough")]
pub fn seconds(length: Micros) -> f32 {
    length.0 as f32 / 1e6
}
