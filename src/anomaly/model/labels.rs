//! What people said of earlier findings: confirmed or dismissed.
//!
//! A random forest of regression trees on 1 and 0 tells how much a vector looks like those that were confirmed. What it says
//! of each label is taken from the trees that did not see it, and a logistic curve through these makes it a probability.
//! (Platt, Probabilistic Outputs for Support Vector Machines, 1999, with his smoothed targets.)

use serde::{Deserialize, Serialize};
use smartcore::ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;

use super::vectors::Vectors;
use super::{FitError, Model};

/// Fewer labels of either kind teach nothing.
pub const LEAST_OF_A_KIND: usize = 20;
/// No more labels than this; the last ones count.
pub const MOST_LABELS: usize = 4_096;
/// A label moves a finding by so many powers of ten at most.
const STRONGEST: f64 = 2.0;
const TREES: usize = 100;
const DEEPEST: u16 = 12;

/// Labelled vectors, on the common scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Labelled {
    pub(super) vectors: Vectors,
    pub(super) confirmed: Vec<bool>,
    pub(super) seed: u64,
}

/// A forest that was grown on labels.
#[derive(Debug)]
pub struct Labels {
    /// What it was grown on, and can be grown on again.
    labelled: Labelled,
    forest: RandomForestRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>,
    curve: Curve,
}

impl Labels {
    /// Grows a forest; the same labels and seed, the same forest.
    pub(super) fn fit(labelled: Labelled) -> Result<Self, FitError> {
        let confirmed = labelled.confirmed.iter().filter(|&&confirmed| confirmed).count();
        let fewer = confirmed.min(labelled.confirmed.len() - confirmed);
        if fewer < LEAST_OF_A_KIND {
            return Err(FitError::TooFewLabels { found: fewer, least: LEAST_OF_A_KIND });
        }
        let vectors = &labelled.vectors;
        let data = DenseMatrix::new(vectors.len(), vectors.width(), vectors.values().to_vec(), false)?;
        let targets: Vec<f64> = labelled.confirmed.iter().map(|&confirmed| f64::from(u8::from(confirmed))).collect();
        let parameters = RandomForestRegressorParameters::default()
            .with_n_trees(TREES)
            .with_max_depth(DEEPEST)
            .with_min_samples_leaf(2)
            .with_keep_samples(true)
            .with_seed(labelled.seed);
        let forest = RandomForestRegressor::fit(&data, &targets, parameters)?;
        let curve = Curve::fit(&forest.predict_oob(&data)?, &labelled.confirmed);
        Ok(Self { labelled, forest, curve })
    }

    pub(super) const fn labelled(&self) -> &Labelled {
        &self.labelled
    }

    /// How much more often vectors like `vector` were confirmed than vectors in general, in powers of ten of the odds; no
    /// more than 2 either way.
    pub(super) fn evidence(&self, probability: f64) -> f64 {
        let confirmed = self.labelled.confirmed.iter().filter(|&&confirmed| confirmed).count() as f64;
        let general = confirmed / (self.labelled.confirmed.len() as f64 - confirmed);
        let odds = probability / (1.0 - probability).max(f64::MIN_POSITIVE);
        (odds / general).log10().clamp(-STRONGEST, STRONGEST)
    }
}

impl Model for Labels {
    fn name(&self) -> &'static str {
        "labels"
    }

    /// The probability that a person would confirm `vector`; 0 to 1.
    fn score(&self, vector: &[f64]) -> f64 {
        let row = DenseMatrix::new(1, vector.len(), vector.to_vec(), false);
        let predicted = row.and_then(|row| self.forest.predict(&row));
        predicted.ok().and_then(|values| values.first().copied()).map_or(0.5, |value| self.curve.probability(value))
    }
}

/// p(x) = 1 / (1 + exp(-(slope x + offset))).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Curve {
    slope: f64,
    offset: f64,
}

impl Curve {
    /// The likeliest curve, by Newton's method.
    fn fit(values: &[f64], confirmed: &[bool]) -> Self {
        let positive = confirmed.iter().filter(|&&confirmed| confirmed).count() as f64;
        let negative = confirmed.len() as f64 - positive;
        let (high, low) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
        let mut curve = Self { slope: 0.0, offset: ((positive + 1.0) / (negative + 1.0)).ln() };
        for _ in 0..50 {
            // Gradient and curvature of the log likelihood; the small ridge keeps the latter invertible.
            let (mut slope, mut offset, mut a, mut b, mut c) = (-1e-3 * curve.slope, 0.0, 1e-3, 0.0, 1e-9);
            for (&value, &confirmed) in values.iter().zip(confirmed).filter(|(value, _)| value.is_finite()) {
                let probability = curve.probability(value);
                let error = if confirmed { high } else { low } - probability;
                let weight = probability * (1.0 - probability);
                slope += error * value;
                offset += error;
                a += weight * value * value;
                b += weight * value;
                c += weight;
            }
            let determinant = a * c - b * b;
            let (by_slope, by_offset) =
                ((c * slope - b * offset) / determinant, (a * offset - b * slope) / determinant);
            if !(by_slope.is_finite() && by_offset.is_finite()) {
                break;
            }
            // In steps that a bad start cannot turn into an overshoot.
            curve.slope += by_slope.clamp(-4.0, 4.0);
            curve.offset += by_offset.clamp(-4.0, 4.0);
        }
        // Labels that contradict what was learned of them teach nothing.
        if curve.slope >= 0.0 { curve } else { Self { slope: 0.0, offset: (positive / negative).ln() } }
    }

    fn probability(self, value: f64) -> f64 {
        1.0 / (1.0 + (-(self.slope * value + self.offset)).exp())
    }
}
