//! Draws from the distributions that traffic is made of.

use std::f64::consts::TAU;

use fastrand::Rng;

use crate::core::clock::Micros;

/// A generator for the part `part` of what `seed` tells, number `number` of its kind; independent of all others.
pub(super) fn generator(seed: u64, part: u64, number: u64) -> Rng {
    // Spread, because generators whose seeds are close begin alike.
    let mut state = seed;
    for word in [part, number] {
        state = Rng::with_seed(state.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ word.rotate_left(32)).u64(..) ^ word;
    }
    Rng::with_seed(state)
}

/// What is drawn.
pub(super) trait Draw {
    /// True with this probability.
    fn chance(&mut self, probability: f64) -> bool;
    /// Exponential.
    fn exponential(&mut self, mean: f64) -> f64;
    /// Log-normal, by the median and the deviation of its logarithm.
    fn log_normal(&mut self, median: f64, sigma: f64) -> f64;
    /// Uniform.
    fn between(&mut self, low: f64, high: f64) -> f64;
    /// Poisson; of large means a normal approximation.
    fn poisson(&mut self, mean: f64) -> u64;
}

impl Draw for Rng {
    fn chance(&mut self, probability: f64) -> bool {
        self.f64() < probability
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.f64()).ln()
    }

    fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * normal(self)).exp()
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.f64()
    }

    fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * normal(self)).round().max(0.0) as u64;
        }
        let (mut count, mut left) = (0, self.exponential(1.0));
        while left < mean {
            count += 1;
            left += self.exponential(1.0);
        }
        count
    }
}

/// Standard normal.
fn normal(random: &mut Rng) -> f64 {
    (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (TAU * random.f64()).cos()
}

/// A length of time from seconds; never zero, so that time passes.
pub(super) fn span(seconds: f64) -> Micros {
    Micros(((seconds * 1e6) as u64).max(1))
}

/// Seconds of a length of time.
pub(super) fn seconds(span: Micros) -> f64 {
    span.0 as f64 / 1e6
}

/// Things of which some are drawn more often than others.
#[derive(Clone, Debug)]
pub(super) struct Weighted<T> {
    things: Vec<T>,
    /// The sum of the weights up to each.
    sums: Vec<f64>,
}

impl<T> Weighted<T> {
    /// Never empty.
    pub(super) fn new(things: impl IntoIterator<Item = (T, f64)>) -> Self {
        let mut sum = 0.0;
        let (things, sums) = things
            .into_iter()
            .map(|(thing, weight)| {
                (thing, {
                    sum += weight;
                    sum
                })
            })
            .unzip();
        Self { things, sums }
    }

    pub(super) fn draw(&self, random: &mut Rng) -> &T {
        let point = random.f64() * self.sums.last().copied().unwrap_or_default();
        let at = self.sums.partition_point(|&sum| sum <= point);
        &self.things[at.min(self.things.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(draws: impl Fn(&mut Rng) -> f64) -> f64 {
        let mut random = generator(3, 0, 0);
        (0..40_000).map(|_| draws(&mut random)).sum::<f64>() / 40_000.0
    }

    #[test]
    fn means_are_as_told() {
        let near = |got: f64, wanted: f64| assert!((got / wanted - 1.0).abs() < 0.04, "{got}, not {wanted}");
        near(mean(|random| random.exponential(3.0)), 3.0);
        // The mean of a log-normal is its median times exp(sigma^2 / 2).
        near(mean(|random| random.log_normal(6.0, 1.0)), 6.0 * 0.5_f64.exp());
        near(mean(|random| random.poisson(2.5) as f64), 2.5);
        near(mean(|random| random.poisson(400.0) as f64), 400.0);
        near(mean(|random| f64::from(random.chance(0.3))), 0.3);
    }

    #[test]
    fn weights_decide() {
        let things = Weighted::new([("seldom", 1.0), ("often", 3.0), ("never", 0.0)]);
        let mut random = generator(1, 0, 0);
        let often = (0..10_000).filter(|_| *things.draw(&mut random) == "often").count();
        assert!((7_300..7_700).contains(&often), "{often}");
    }

    #[test]
    fn generators_do_not_follow_each_other() {
        let first = |seed, part, number| generator(seed, part, number).u64(..);
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
        let all: std::collections::HashSet<u64> = (0..10)
            .flat_map(|seed| (0..10).flat_map(move |part| (0..10).map(move |number| first(seed, part, number))))
            .collect();
        assert_eq!(all.len(), 1000);
    }
}
