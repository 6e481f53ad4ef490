//! Reconstruction error: features of calm traffic go together, and what breaks their usual relations is strange, even
//! when each of its values is usual.
//!
//! Principal component analysis finds the directions v along which the training vectors vary, and by how much: their
//! variance w there. From its position t = x v along each, a vector x is reconstructed as the sum of v t w / (w + 1): as far
//! as it strays where calm traffic strays much, hardly at all where that is still. (1 is the square of one usual spread, less
//! than which counts for nothing.) What is left over, x (x - reconstruction) = sum of t^2 / (w + 1), is the error. Keeping
//! some directions whole and dropping the others, as is common, hangs on where the line is drawn: of a few features that
//! vary alike, it hides the one whose direction is kept. (Shyu et al., A Novel Anomaly Detection Scheme Based on Principal
//! Component Classifier, 2003, for the use of all directions; Hoerl and Kennard, Ridge Regression, Technometrics 12(1),
//! 1970, for the shrinking.)

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use smartcore::decomposition::pca::{PCA, PCAParameters};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;

use super::vectors::Vectors;
use super::{FitError, Model};

/// In training, no value is further from the usual: a few extreme ones must not turn the directions towards themselves.
const FURTHEST: f64 = 5.0;

/// Vectors that are enough to train on.
const ENOUGH: usize = 4_096;

/// What is common to the training vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconstruction {
    centre: Vec<f64>,
    /// The directions, one a row, each v / sqrt(w + 1) long.
    directions: Vectors,
}

impl Reconstruction {
    /// Of `vectors`, of which all values are numbers; the first thousands are enough.
    ///
    /// # Errors
    /// With less than two vectors, and when the decomposition does not converge.
    pub fn fit(vectors: &Vectors) -> Result<Self, FitError> {
        if vectors.len() < 2 {
            return Err(FitError::TooFew { found: vectors.len(), least: 2 });
        }
        let (rows, width) = (vectors.len().min(ENOUGH), vectors.width());
        let values: Vec<f64> = vectors.values()[..rows * width].iter().map(|v| v.clamp(-FURTHEST, FURTHEST)).collect();
        let mean = |feature| values[feature..].iter().step_by(width).sum::<f64>() / rows as f64;
        let centre: Vec<f64> = (0..width).map(mean).collect();

        let data = DenseMatrix::new(rows, width, values, false)?;
        let pca = PCA::fit(&data, PCAParameters::default().with_n_components(width))?;
        let projected = pca.transform(&data)?;
        let mut directions = Vectors::new(width);
        for direction in 0..width {
            let variance = (0..rows).map(|row| projected.get((row, direction)).powi(2)).sum::<f64>() / rows as f64;
            let length = (variance + 1.0).sqrt().recip();
            let row: Vec<f64> = (0..width).map(|feature| pca.components().get((feature, direction)) * length).collect();
            directions.push(&row)?;
        }
        let fitted = Self { centre, directions };
        if fitted.is_sound(width) { Ok(fitted) } else { Err(FitError::Library("the directions are no numbers".into())) }
    }

    /// What each feature adds to the error; together 0 or more.
    fn errors(&self, vector: &[f64]) -> SmallVec<[f64; 32]> {
        let away: SmallVec<[f64; 32]> = vector.iter().zip(&self.centre).map(|(value, centre)| value - centre).collect();
        let mut left_over: SmallVec<[f64; 32]> = SmallVec::from_elem(0.0, away.len());
        for direction in self.directions.rows() {
            let along: f64 = away.iter().zip(direction).map(|(value, component)| value * component).sum();
            left_over.iter_mut().zip(direction).for_each(|(value, component)| *value += along * component);
        }
        left_over.iter_mut().zip(&away).for_each(|(value, away)| *value *= away);
        left_over
    }

    /// For what was read from elsewhere.
    pub(super) fn is_sound(&self, width: usize) -> bool {
        self.centre.len() == width
            && self.centre.iter().all(|value| value.is_finite())
            && self.directions.is_sound(width, width)
    }
}

impl Model for Reconstruction {
    fn name(&self) -> &'static str {
        "reconstruction error"
    }

    /// ln(1 + d), d the square root of the error.
    fn score(&self, vector: &[f64]) -> f64 {
        self.errors(vector).iter().sum::<f64>().max(0.0).sqrt().ln_1p()
    }

    /// By what each feature adds to the error.
    fn explain(&self, vector: &[f64], shares: &mut [f64]) {
        shares.fill(0.0);
        shares.iter_mut().zip(self.errors(vector)).for_each(|(share, error)| *share = error.max(0.0));
        super::to_shares(shares);
    }
}
