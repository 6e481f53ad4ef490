//! What calm clients' features are, and how strange a client's are against them.
//!
//! Of each feature the sorted values of calm clients are kept. A value that some of them reach is as rare as they are; a
//! value beyond all of them is rarer by a power of ten for each step, where a step is what lies between the values of
//! one client in ten and one in a hundred (an exponential tail). The two strangest clients of each feature are left out,
//! and a client gives few vectors, so that nobody can make its own behaviour usual: see `a_mimic_moves_little`.

#![expect(clippy::cast_precision_loss, reason = "counts of clients, far below what a double holds")]

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use std::collections::HashMap;

use crate::anomaly::bounded;
use crate::anomaly::features::list::{COUNT, Feature, Judged, Vector};
use crate::core::clock::Micros;

/// So many vectors are kept.
const KEPT: usize = 4_096;
/// Of one client at most.
const PER_CLIENT: u32 = 8;
/// So many of the strangest clients of a feature do not count.
const LEFT_OUT: usize = 2;
/// With fewer vectors nothing is strange.
pub const LEAST: usize = 30;
/// Features are looked at together, so the strangest of them is less strange: so many are independent.
const INDEPENDENT: f64 = 8.0;
/// What the strangeness of further features adds.
const FURTHER: f64 = 0.3;

/// Vectors of calm clients.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Population {
    #[serde(deserialize_with = "bounded::list::<_, (Micros, u64, Vector), _, KEPT>")]
    vectors: VecDeque<(Micros, u64, Vector)>,
    /// How many of each client.
    #[serde(skip)]
    given: HashMap<u64, u32, FixedState>,
    learned: u64,
}

impl Population {
    /// Takes a calm client's vector, unless it has given its share; forgets what is older than `since`. Whether it
    /// was taken.
    pub fn learn(&mut self, now: Micros, client: u64, vector: Vector, since: Micros) -> bool {
        while self.vectors.len() >= KEPT || self.vectors.front().is_some_and(|(at, ..)| *at < since) {
            let Some((_, client, _)) = self.vectors.pop_front() else { break };
            if let Some(given) = self.given.get_mut(&client) {
                *given -= 1;
                if *given == 0 {
                    self.given.remove(&client);
                }
            }
        }
        let given = self.given.entry(client).or_default();
        let takes = *given < PER_CLIENT;
        if takes {
            *given += 1;
            self.learned += 1;
            self.vectors.push_back((now, client, vector));
        }
        takes
    }

    /// Counts anew how many vectors each client gave, after they were read; whether this is what a population can be.
    pub fn recount(&mut self) -> bool {
        self.given.clear();
        for (_, client, _) in &self.vectors {
            *self.given.entry(*client).or_default() += 1;
        }
        self.given.values().all(|given| *given <= PER_CLIENT)
            && self.vectors.iter().all(|(.., vector)| vector.iter().all(|value| !value.is_infinite()))
    }

    /// How many vectors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// How many were ever learned.
    #[must_use]
    pub const fn learned(&self) -> u64 {
        self.learned
    }

    /// The vectors of the clients that are `wanted`, by their keys.
    #[must_use]
    pub fn vectors(&self, wanted: impl Fn(u64) -> bool) -> Vec<Vector> {
        self.vectors.iter().filter(|(_, client, _)| wanted(*client)).map(|(.., vector)| *vector).collect()
    }

    /// What is usual, to judge by until it is taken anew.
    #[must_use]
    pub fn usual(&self) -> Usual {
        self.usual_of(Micros(u64::MAX))
    }

    /// The same as it was at a point of time.
    #[must_use]
    pub fn usual_of(&self, until: Micros) -> Usual {
        let mut usual = Usual { columns: Default::default() };
        let length = self.vectors.partition_point(|(at, ..)| *at <= until);
        if length < LEAST {
            return usual;
        }
        for (feature, column) in Feature::ALL.into_iter().zip(&mut usual.columns) {
            let known = self.vectors.iter().take(length).filter_map(|(_, client, vector)| {
                let value = vector.get(feature.index()).copied()?;
                value.is_finite().then_some((*client, value))
            });
            let mut known: Vec<(u64, f64)> = known.collect();
            known.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
            let mut left_out: Vec<u64> = Vec::new();
            for (client, _) in &known {
                if left_out.len() == LEFT_OUT {
                    break;
                }
                if !left_out.contains(client) {
                    left_out.push(*client);
                }
            }
            known.retain(|(client, _)| !left_out.contains(client));
            column.extend(known.into_iter().rev().map(|(_, value)| value));
        }
        usual
    }
}

/// Sorted values of each feature.
#[derive(Debug, Default)]
pub struct Usual {
    columns: [Vec<f64>; COUNT],
}

/// How strange a client is.
#[derive(Clone, Copy, Debug)]
pub struct Strangeness {
    /// One in `10^r` calm clients is as strange.
    pub r: f64,
    /// The same for each feature by itself.
    pub of: [f64; COUNT],
}

impl Strangeness {
    /// `r / (r + 3)`.
    #[must_use]
    pub fn score(&self) -> f64 {
        score(self.r)
    }

    /// The strangest features, each above one in a hundred, at most `most`.
    #[must_use]
    pub fn strangest(&self, most: usize) -> Vec<Feature> {
        let r = |feature: &Feature| self.of.get(feature.index()).copied().unwrap_or_default();
        let mut features: Vec<Feature> = Feature::ALL.into_iter().filter(|feature| r(feature) >= 2.0).collect();
        features.sort_by(|a, b| r(b).total_cmp(&r(a)));
        features.truncate(most);
        features
    }
}

/// The score of a strangeness.
#[must_use]
pub fn score(r: f64) -> f64 {
    let r = r.max(0.0);
    r / (r + 3.0)
}

impl Usual {
    /// Whether there is enough to judge by.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.columns.iter().any(|column| !column.is_empty())
    }

    /// How strange a vector is.
    #[must_use]
    pub fn strangeness(&self, vector: &Vector) -> Strangeness {
        let mut of = [0.0; COUNT];
        for ((feature, column), (value, of)) in
            Feature::ALL.into_iter().zip(&self.columns).zip(vector.iter().zip(&mut of))
        {
            if let Some(judged) = feature.judged()
                && *value >= judged.floor
                && !column.is_empty()
            {
                *of = rarity(column, *value, &judged).min(judged.most);
            }
        }
        let most = of.iter().copied().fold(0.0, f64::max);
        let mut others: Vec<f64> = of.iter().map(|r| (r - 1.5).max(0.0)).collect();
        others.sort_unstable_by(|a, b| b.total_cmp(a));
        let further: f64 = others.iter().skip(1).take(2).sum();
        let r = if most > 0.0 { (most + FURTHER * further.min(most) - INDEPENDENT.log10()).max(0.0) } else { 0.0 };
        Strangeness { r, of }
    }

    /// The usual value of a feature: the median.
    #[must_use]
    pub fn median(&self, feature: Feature) -> f64 {
        self.columns.get(feature.index()).and_then(|column| column.get(column.len() / 2)).copied().unwrap_or_default()
    }

    /// What the share `share` of calm clients is below.
    #[must_use]
    pub fn quantile(&self, feature: Feature, share: f64) -> f64 {
        self.columns.get(feature.index()).map_or(0.0, |column| quantile(column, share))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
fn quantile(column: &[f64], share: f64) -> f64 {
    let index = (column.len() as f64 * share) as usize;
    column.get(index.min(column.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// How rare a value is: `r` where one in `10^r` reaches it.
fn rarity(column: &[f64], value: f64, judged: &Judged) -> f64 {
    let total = column.len() as f64 + 1.0;
    let reached = column.len() - column.partition_point(|calm| *calm < value);
    if reached > 0 {
        return (total / (reached as f64 + 1.0)).log10();
    }
    // Far below the floor, ratios mean nothing.
    let scaled = |value: f64| if judged.logarithmic { value.max(judged.floor / 4.0).log10() } else { value };
    let step = (scaled(quantile(column, 0.99)) - scaled(quantile(column, 0.9))).max(judged.least_step);
    // Nothing below the floor is strange, so the tail begins there at the earliest.
    let most = scaled(column.last().copied().unwrap_or_default().max(judged.floor));
    total.log10() + ((scaled(value) - most) / step).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(rate: f64) -> Vector {
        let mut vector = [f64::NAN; COUNT];
        vector[Feature::Rate10s.index()] = rate;
        vector
    }

    fn people(seed: u64) -> (Population, fastrand::Rng) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut population = Population::default();
        for client in 0..1_000 {
            population.learn(Micros::from_secs(client), client, vector(rate(&mut random)), Micros::ZERO);
        }
        (population, random)
    }

    /// Log-normal, half of them below one a second.
    fn rate(random: &mut fastrand::Rng) -> f64 {
        let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        (normal * 0.8).exp()
    }

    #[test]
    fn calm_clients_are_calm_and_floods_are_not() {
        for seed in 0..10 {
            let (population, mut random) = people(seed);
            let usual = population.usual();
            let strange = (0..1_000).filter(|_| usual.strangeness(&vector(rate(&mut random))).score() > 0.6).count();
            assert!(strange <= 1, "seed {seed}: {strange}");
            let flood = usual.strangeness(&vector(3_000.0));
            assert!(flood.score() > 0.7, "seed {seed}: {}", flood.r);
            assert_eq!(flood.strangest(3), [Feature::Rate10s]);
        }
    }

    #[test]
    fn a_score_rises_with_the_value() {
        let usual = people(3).0.usual();
        let mut last = 0.0;
        for step in 0..2_000 {
            let r = usual.strangeness(&vector(f64::from(step) * 0.5)).r;
            assert!(r >= last - 1e-9, "at {step}");
            last = r;
        }
    }

    #[test]
    fn a_mimic_moves_little() {
        let (mut population, _) = people(4);
        let before = population.usual().strangeness(&vector(100.0)).r;
        // Two clients that give as much as they can, ever more.
        for step in 0..1_000_u64 {
            let pushed = vector(1.0 + step as f64 / 5.0);
            population.learn(Micros::from_secs(2_000 + step), 1_000_000 + step % 2, pushed, Micros::ZERO);
        }
        let after = population.usual().strangeness(&vector(100.0)).r;
        // They take the places of the two honest clients that are left out otherwise; more is not to be had.
        assert!((before - after).abs() < 1.0, "{before} {after}");
    }

    #[test]
    fn what_is_missing_is_not_strange() {
        let usual = people(5).0.usual();
        assert!(usual.strangeness(&[f64::NAN; COUNT]).r < 1e-9);
        assert!(usual.strangeness(&vector(f64::INFINITY)).r.is_finite());
    }
}
