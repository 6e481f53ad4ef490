//! Models of calm traffic: what is unlike all that was seen gets a high score.
//!
//! [`ensemble`] is what the rest of the worker uses: it trains on calm vectors ([`vectors`]) of known features ([`schema`]),
//! brings them onto one scale ([`scaling`]), asks its models ([`forest`], [`neighbours`], [`reconstruction`], and [`labels`]
//! once people gave some), makes what they say comparable ([`calibration`]) and explains it. [`saved`] keeps it. All of it
//! is pure and repeats exactly with the same seed.

pub mod calibration;
pub mod ensemble;
pub mod forest;
pub mod labels;
pub mod neighbours;
pub mod quality;
pub mod reconstruction;
pub mod saved;
pub mod scaling;
pub mod schema;
pub mod vectors;

#[cfg(test)]
mod tests;

use thiserror::Error;

use self::scaling::Scaled;
use self::vectors::WidthError;

/// One way to tell strange vectors from usual ones. Vectors are on the common scale, on which 0 is usual.
pub trait Model {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// How strange `vector` is: higher is stranger, in the model's own measure. As wide as the training vectors, all
    /// numbers.
    fn score(&self, vector: &[f64]) -> f64;

    /// Into `shares`, as long as `vector`: which share of the strangeness each feature has; together 1.
    ///
    /// As it stands, it asks how much less strange the vector were with the feature's usual value, and how much stranger the
    /// usual vector were with the feature's present value; the mean of both is the Shapley value where features add up or
    /// act in pairs.
    fn explain(&self, vector: &[f64], shares: &mut [f64]) {
        let mut without = Scaled::from_slice(vector);
        let mut alone = Scaled::from_elem(0.0, vector.len());
        let (whole, nothing) = (self.score(vector), self.score(&alone));
        for (feature, share) in shares.iter_mut().enumerate().take(vector.len()) {
            without[feature] = 0.0;
            alone[feature] = vector[feature];
            *share = (whole - self.score(&without) + self.score(&alone) - nothing).max(0.0);
            without[feature] = vector[feature];
            alone[feature] = 0.0;
        }
        to_shares(shares);
    }
}

/// Makes what features add, each 0 or more, sum up to 1; to equal shares, if none adds anything.
fn to_shares(parts: &mut [f64]) {
    let equal = 1.0 / parts.len().max(1) as f64;
    let sum: f64 = parts.iter().sum();
    parts.iter_mut().for_each(|part| *part = if sum.is_normal() { *part / sum } else { equal });
}

/// Why no model came of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FitError {
    /// Not enough to learn from.
    #[error("{found} training vectors, at least {least} are needed")]
    TooFew {
        /// What came.
        found: usize,
        /// What is needed.
        least: usize,
    },
    /// More features than a model takes.
    #[error("vectors of {width} features, at most {most} are possible")]
    TooWide {
        /// What came.
        width: usize,
        /// What is possible.
        most: usize,
    },
    /// Labels of one kind only, or nearly.
    #[error("{found} labels of one kind, at least {least} are needed")]
    TooFewLabels {
        /// Of the rarer kind.
        found: usize,
        /// What is needed.
        least: usize,
    },
    /// Not one label for each vector.
    #[error("{labels} labels for {vectors} vectors")]
    Unlabelled {
        /// Vectors that came.
        vectors: usize,
        /// Labels that came.
        labels: usize,
    },
    /// A vector of another length.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// The library that fits it says why.
    #[error("fitting failed: {0}")]
    Library(String),
}

impl From<smartcore::error::Failed> for FitError {
    fn from(failed: smartcore::error::Failed) -> Self {
        Self::Library(failed.to_string())
    }
}
