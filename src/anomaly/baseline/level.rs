//! The usual level of a number that comes once a second, and when it leaves it.
//!
//! Level and spread are the median and the median absolute deviation of the last ten calm minutes: a few seconds of
//! anything move them by nothing. A one-sided CUSUM adds up how far the number is above, so that a small lasting surplus
//! is found as well as a large short one, and tells when it began.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::anomaly::bounded;
use crate::core::clock::Micros;

/// Seconds that are remembered.
const REMEMBERED: usize = 600;
/// Median and deviation are taken anew so often.
const EVERY: u32 = 10;
/// So far above the level, in spreads, is not a surplus.
const SLACK: f64 = 1.0;
/// An alarm, in spreads.
const ALARM: f64 = 12.0;

/// The level of one number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Level {
    #[serde(deserialize_with = "bounded::list::<_, f64, _, REMEMBERED>")]
    seconds: VecDeque<f64>,
    median: f64,
    spread: f64,
    learned: u32,
    sum: f64,
    began: Micros,
}

impl Level {
    /// Learns one calm second.
    pub fn learn(&mut self, value: f64) {
        if self.seconds.len() == REMEMBERED {
            self.seconds.pop_front();
        }
        self.seconds.push_back(value);
        self.learned = self.learned.wrapping_add(1);
        if self.seconds.len() < 30 || self.learned.is_multiple_of(EVERY) {
            let mut sorted: Vec<f64> = self.seconds.iter().copied().collect();
            self.median = median(&mut sorted);
            sorted.iter_mut().for_each(|value| *value = (*value - self.median).abs());
            // Counts have at least the spread of chance.
            self.spread = (1.4826 * median(&mut sorted)).max(self.median.sqrt()).max(0.7);
        }
    }

    /// Takes the number of the second that ends at `now`; when it has been too high, since when. `usual`, when it is
    /// higher, goes for the level.
    pub fn watch(&mut self, now: Micros, value: f64, usual: f64) -> Option<Micros> {
        if self.seconds.len() < 10 {
            return None;
        }
        let surplus = (value - self.median.max(usual)) / self.spread - SLACK;
        if self.sum <= 0.0 {
            self.began = now - Micros::SECOND;
        }
        self.sum = (self.sum + surplus).clamp(0.0, ALARM * 4.0);
        (self.sum >= ALARM).then_some(self.began)
    }

    /// The usual number a second.
    #[must_use]
    pub fn usual(&self) -> f64 {
        self.median
    }

    /// Whether this is what a level can be, after it was read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let told = [self.median, self.sum];
        let spread = self.seconds.is_empty() || self.spread >= 0.7;
        spread && self.spread.is_finite() && self.seconds.iter().chain(&told).all(|value| bounded::is_amount(*value))
    }

    /// Whether a number is not above what is usual by chance alone.
    #[must_use]
    pub fn is_usual(&self, value: f64, usual: f64) -> bool {
        value <= 2.0 * self.median.max(usual) + 3.0 * self.spread
    }
}

/// The median; sorts.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(level: f64, seconds: u64, seed: u64) -> impl Iterator<Item = f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..seconds).map(move |_| {
            (level + level.sqrt() * (random.f64() + random.f64() + random.f64() - 1.5) * 2.0).max(0.0).round()
        })
    }

    fn first_alarm(before: f64, after: f64, seed: u64) -> Option<u64> {
        let mut level = Level::default();
        noisy(before, 300, seed).for_each(|value| level.learn(value));
        noisy(after, 600, seed + 1)
            .enumerate()
            .find_map(|(second, value)| {
                level.watch(Micros::from_secs(1_000 + second as u64), value, 0.0).map(|began| (second as u64, began))
            })
            .map(|(second, began)| {
                assert!(began <= Micros::from_secs(1_000 + second));
                second
            })
    }

    #[test]
    fn calm_is_calm_and_a_step_is_found() {
        for seed in 0..20 {
            assert_eq!(first_alarm(5.0, 5.0, seed), None, "seed {seed}");
            assert!(first_alarm(5.0, 50.0, seed).is_some_and(|second| second <= 1), "seed {seed}");
            assert!(first_alarm(5.0, 12.0, seed).is_some_and(|second| second <= 30), "seed {seed}");
        }
    }

    #[test]
    fn outliers_do_not_move_it() {
        let mut level = Level::default();
        for second in 0..300 {
            level.learn(if second % 4 == 0 { 1e6 } else { 10.0 });
        }
        assert!((level.usual() - 10.0).abs() < 1e-9);
    }
}
