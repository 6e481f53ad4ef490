//! How a forest grows.

use std::f64::consts::TAU;

use fastrand::Rng;

use super::{Forest, ForestSettings, LARGEST_SAMPLE, MOST_TREES, usual_length};
use crate::anomaly::model::FitError;
use crate::anomaly::model::vectors::Vectors;

impl Forest {
    /// Grows a forest on `vectors`, of which all values are numbers. The same seed grows the same forest. Settings beyond
    /// their range count as the nearest within.
    ///
    /// # Errors
    /// With less than two vectors, or so wide ones that no feature could be told from another.
    pub fn fit(vectors: &Vectors, settings: ForestSettings, seed: u64) -> Result<Self, FitError> {
        if vectors.len() < 2 {
            return Err(FitError::TooFew { found: vectors.len(), least: 2 });
        }
        let width = vectors.width();
        if width > usize::from(u16::MAX) {
            return Err(FitError::TooWide { width, most: u16::MAX.into() });
        }
        let sample = settings.sample.clamp(2, LARGEST_SAMPLE).min(vectors.len());
        let trees = settings.trees.clamp(1, MOST_TREES);
        let height = sample.next_power_of_two().ilog2() as usize;
        let terms = settings.level.min(width - 1) + 1;
        let cuts = (1 << height) - 1;
        let mut forest = Self {
            width,
            terms,
            height,
            usual_length: usual_length(sample),
            features: vec![0; trees * cuts * terms],
            weights: vec![0.0; trees * cuts * terms],
            offsets: vec![f32::INFINITY; trees * cuts],
            lengths: vec![0.0; trees * (cuts + 1)],
        };
        let mut rng = Rng::with_seed(seed);
        for tree in 0..trees {
            let rows = draw(&mut rng, vectors.len(), sample);
            let values = rows.iter().flat_map(|&row| vectors.row(row)).map(|&value| value as f32).collect();
            let mut grower = Grower {
                values,
                width,
                height,
                terms,
                rng: &mut rng,
                features: &mut forest.features[tree * cuts * terms..][..cuts * terms],
                weights: &mut forest.weights[tree * cuts * terms..][..cuts * terms],
                offsets: &mut forest.offsets[tree * cuts..][..cuts],
                lengths: &mut forest.lengths[tree * (cuts + 1)..][..=cuts],
                varying: Vec::with_capacity(width),
            };
            let mut rows: Vec<u32> = (0..sample as u32).collect();
            grower.grow(&mut rows, 0, 0);
        }
        Ok(forest)
    }
}

/// `count` different numbers below `from`. (Floyd's way, which takes no longer for more to choose from: Bentley and Floyd,
/// Programming Pearls: A Sample of Brilliance, CACM 30(9), 1987.)
fn draw(rng: &mut Rng, from: usize, count: usize) -> Vec<usize> {
    let mut drawn = Vec::with_capacity(count);
    for last in from - count..from {
        let candidate = rng.usize(..=last);
        drawn.push(if drawn.contains(&candidate) { last } else { candidate });
    }
    drawn
}

/// One tree as it grows.
struct Grower<'a> {
    values: Vec<f32>,
    width: usize,
    height: usize,
    terms: usize,
    rng: &'a mut Rng,
    features: &'a mut [u16],
    weights: &'a mut [f32],
    offsets: &'a mut [f32],
    lengths: &'a mut [f32],
    /// Features that vary in the node, with the range that they have there.
    varying: Vec<(u16, f32, f32)>,
}

impl Grower<'_> {
    fn value(&self, row: u32, feature: u16) -> f32 {
        self.values[row as usize * self.width + usize::from(feature)]
    }

    fn grow(&mut self, rows: &mut [u32], cut: usize, depth: usize) {
        if depth == self.height || rows.len() < 2 || !self.cut(rows, cut) {
            // An offset of infinity on all levels below leads to the leftmost leaf.
            let leaf = ((cut + 1) << (self.height - depth)) - 1 - self.offsets.len();
            self.lengths[leaf] = (depth as f64 + usual_length(rows.len())) as f32;
            return;
        }
        let mut left = 0;
        for place in 0..rows.len() {
            if self.projection(rows[place], cut) <= self.offsets[cut] {
                rows.swap(left, place);
                left += 1;
            }
        }
        let (left, right) = rows.split_at_mut(left);
        self.grow(left, 2 * cut + 1, depth + 1);
        self.grow(right, 2 * cut + 2, depth + 1);
    }

    /// The very sum that scoring makes, in its order.
    fn projection(&self, row: u32, cut: usize) -> f32 {
        if self.terms == 1 {
            return self.value(row, self.features[cut]);
        }
        let terms = cut * self.terms..(cut + 1) * self.terms;
        terms.map(|term| self.weights[term] * self.value(row, self.features[term])).sum()
    }

    /// Chooses a cut of `rows`; none, if they are all the same.
    fn cut(&mut self, rows: &[u32], cut: usize) -> bool {
        self.varying.clear();
        for feature in 0..self.width as u16 {
            let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
            for &row in rows {
                let value = self.value(row, feature);
                low = low.min(value);
                high = high.max(value);
            }
            if high > low {
                self.varying.push((feature, low, high));
            }
        }
        if self.varying.is_empty() {
            return false;
        }
        if self.terms == 1 {
            let (feature, low, high) = self.varying[self.rng.usize(..self.varying.len())];
            let threshold = low + self.rng.f32() * (high - low);
            self.features[cut] = feature;
            self.weights[cut] = 1.0;
            // Rounded up to the highest, it would part nothing.
            self.offsets[cut] = if threshold < high { threshold } else { low };
            return true;
        }
        let mut offset = 0.0;
        for term in 0..self.terms.min(self.varying.len()) {
            let chosen = self.rng.usize(term..self.varying.len());
            self.varying.swap(term, chosen);
            let (feature, low, high) = self.varying[term];
            let weight = normal(self.rng) as f32;
            self.features[cut * self.terms + term] = feature;
            self.weights[cut * self.terms + term] = weight;
            offset += weight * (low + self.rng.f32() * (high - low));
        }
        self.offsets[cut] = offset;
        true
    }
}

/// From the standard normal distribution. (Box and Muller, 1958.)
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (TAU * rng.f64()).cos()
}
