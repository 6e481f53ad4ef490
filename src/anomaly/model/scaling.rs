//! Features of any unit onto one scale, by medians: a few extreme values in the training data move nothing.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::schema::FeatureSchema;
use super::vectors::Vectors;

/// No scaled value is further from the usual. Infinity ends here too.
const FURTHEST: f64 = 1e6;

/// One vector on the common scale. As long as those that models were trained on.
pub type Scaled = SmallVec<[f64; 32]>;

/// Where each feature usually is, and how far it usually strays: 0 is the median, 1 about a standard deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    centres: Vec<f64>,
    spreads: Vec<f64>,
}

impl Scaling {
    /// Of the values that are known. The spread is 1.4826 times the median absolute deviation, which equals the standard
    /// deviation where values are normally distributed. (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993.)
    /// Where more than half of the values are the same, that is 0, and the root mean square deviation stands in, of which
    /// the largest thousandth is cut: what is seldom anything but 0 is not strange each time that it is.
    #[must_use]
    pub fn fit(vectors: &Vectors, schema: &FeatureSchema) -> Self {
        let (mut centres, mut spreads) = (Vec::new(), Vec::new());
        for (column, feature) in schema.features().iter().enumerate() {
            let mut values: Vec<f64> = vectors.rows().filter_map(|row| row.get(column).copied()).collect();
            values.retain(|value| value.is_finite());
            let centre = median(&mut values).unwrap_or(0.0);
            values.iter_mut().for_each(|value| *value = (*value - centre).abs());
            let by_median = 1.4826 * median(&mut values).unwrap_or(0.0);
            let spread = if by_median > 0.0 { by_median } else { root_mean_square(&mut values) };
            let spread = spread.max(feature.least_spread);
            centres.push(centre);
            spreads.push(if spread.is_normal() && spread > 0.0 { spread } else { 1.0 });
        }
        Self { centres, spreads }
    }

    /// Features of a vector.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.centres.len()
    }

    /// `vector` on the common scale. What is not known counts as usual; what is missing too, what is too much is left off.
    #[must_use]
    pub fn scale(&self, vector: &[f64]) -> Scaled {
        let mut scaled = Scaled::from_elem(0.0, self.width());
        for (place, (value, (centre, spread))) in
            scaled.iter_mut().zip(vector.iter().zip(self.centres.iter().zip(&self.spreads)))
        {
            let deviation = (value - centre) / spread;
            if !deviation.is_nan() {
                *place = deviation.clamp(-FURTHEST, FURTHEST);
            }
        }
        scaled
    }

    /// All of `vectors`, which are as wide, on the common scale.
    #[must_use]
    pub fn scale_all(&self, vectors: Vectors) -> Vectors {
        vectors.map(|row| {
            let scaled = self.scale(row);
            row.copy_from_slice(&scaled);
        })
    }

    /// For what was read from elsewhere.
    pub(super) fn is_sound(&self, width: usize) -> bool {
        self.centres.len() == width
            && self.spreads.len() == width
            && self.centres.iter().all(|centre| centre.is_finite())
            && self.spreads.iter().all(|&spread| spread.is_normal() && spread > 0.0)
    }
}

/// Of all but the largest thousandth, which count as what is next below them; changes the order.
fn root_mean_square(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let last = values.len() - 1 - values.len() / 1_000;
    let largest = *values.select_nth_unstable_by(last, f64::total_cmp).1;
    (values.iter().map(|value| value.min(largest).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// The middle value (of an even number, the upper one); changes the order.
fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}
