//! Distance to the nearest neighbours: what is near nothing that was seen is strange, however far out it lies.
//!
//! The neighbours are looked for in a small sample of the training vectors, which finds strange vectors about as well as
//! all of them do, and better where these come in clusters of their own. (Sugiyama and Borgwardt, Rapid Distance-Based
//! Outlier Detection via Sampling, NIPS 2013.) In a few hundred points of two dozen dimensions a search tree leaves out
//! next to nothing: plainly looking at each, feature by feature, took a tenth of the time of smartcore's cover tree.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Model;
use super::vectors::Vectors;

/// No more reference vectors than this.
pub const MOST_REFERENCES: usize = 16_384;

/// Settings of [`Neighbours`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourSettings {
    /// Vectors among which neighbours are looked for; 1 to [`MOST_REFERENCES`].
    pub references: usize,
    /// How many neighbours count; at least 1. The share of the references that they are is the share of the training
    /// vectors from which on a cluster far from the others is usual.
    pub count: usize,
}

impl Default for NeighbourSettings {
    fn default() -> Self {
        Self { references: 512, count: 10 }
    }
}

/// Vectors that were seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    width: usize,
    count: usize,
    /// Feature by feature: the first of all vectors, the second of all ...
    columns: Vec<f32>,
}

impl Neighbours {
    /// Of the first `settings.references` of `vectors`, of which all values are numbers.
    #[must_use]
    pub fn fit(vectors: &Vectors, settings: NeighbourSettings) -> Self {
        let references = settings.references.clamp(1, MOST_REFERENCES).min(vectors.len());
        let column = |feature| vectors.rows().take(references).map(move |row| row[feature] as f32);
        Self {
            width: vectors.width(),
            count: settings.count.clamp(1, references.max(1)),
            columns: (0..vectors.width()).flat_map(column).collect(),
        }
    }

    fn references(&self) -> usize {
        self.columns.len() / self.width
    }

    /// The squared distance of `vector` to each reference.
    fn squares(&self, vector: &[f64]) -> SmallVec<[f32; 1024]> {
        let mut squares = SmallVec::from_elem(0.0, self.references());
        for (column, &value) in self.columns.chunks_exact(self.references().max(1)).zip(vector) {
            let value = value as f32;
            for (square, reference) in squares.iter_mut().zip(column) {
                *square += (value - reference) * (value - reference);
            }
        }
        squares
    }

    /// For what was read from elsewhere.
    pub(super) fn is_sound(&self, width: usize) -> bool {
        self.width == width
            && self.columns.len().is_multiple_of(width)
            && (1..=MOST_REFERENCES).contains(&self.references())
            && (1..=self.references()).contains(&self.count)
            && self.columns.iter().all(|value| value.is_finite())
    }
}

impl Model for Neighbours {
    fn name(&self) -> &'static str {
        "nearest neighbours"
    }

    /// ln(1 + d), d the mean distance to the nearest of them: far out, traffic thins out slower than exponentially.
    fn score(&self, vector: &[f64]) -> f64 {
        let mut squares = self.squares(vector);
        if squares.len() < self.count {
            return 0.0;
        }
        squares.select_nth_unstable_by(self.count - 1, by_number);
        let sum: f64 = squares.iter().take(self.count).map(|&square| f64::from(square).sqrt()).sum();
        (sum / self.count as f64).ln_1p()
    }

    /// By what each feature adds to the squared distances.
    fn explain(&self, vector: &[f64], shares: &mut [f64]) {
        shares.fill(0.0);
        let squares = self.squares(vector);
        let mut order: Vec<usize> = (0..squares.len()).collect();
        order.sort_by(|&a, &b| by_number(&squares[a], &squares[b]));
        for (feature, share) in shares.iter_mut().enumerate().take(self.width.min(vector.len())) {
            let column = &self.columns[feature * squares.len()..];
            *share =
                order.iter().take(self.count).map(|&near| (vector[feature] - f64::from(column[near])).powi(2)).sum();
        }
        super::to_shares(shares);
    }
}

fn by_number(a: &f32, b: &f32) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}
