//! One meaning for the scores of all models: how rare so strange a vector is in calm traffic.
//!
//! With p the share of calm vectors at least that strange, the rarity is r = -log10(p), and the score r / (r + 3): 0 is
//! usual, 0.5 one in a thousand, 0.67 one in a million. Where calm vectors get few, p follows from an exponential tail
//! fitted to the strangest of them, as excesses over a high threshold have in a wide class of distributions. (Balkema and
//! de Haan, 1974; Pickands, 1975: the generalized Pareto distribution at shape 0.) Its mean is taken from the median excess,
//! m / ln 2, which a few extreme training vectors do not move. The vectors of a calibration are others than the model was
//! fitted on, or it would think them more usual than they are. (Split conformal prediction: Vovk, Gammerman and Shafer,
//! Algorithmic Learning in a Random World, 2005.)

use std::f64::consts::{LN_2, LN_10};

use serde::{Deserialize, Serialize};

/// The share of the calm vectors that the tail is fitted to ...
const TAIL: f64 = 0.005;
/// ... but at least so many ...
const LEAST_TAIL: usize = 30;
/// Points of the curve below the tail.
const POINTS: usize = 128;
/// No rarity is above this, about the reciprocal of the least number.
const RAREST: f64 = 300.0;

/// No measure is beyond this, so that differences are numbers.
const FURTHEST: f64 = 1e100;

/// The score of a rarity: 0 for 0, 0.5 for 3, 1 for infinity.
#[must_use]
pub fn score(rarity: f64) -> f64 {
    rarity / (rarity + 3.0)
}

/// What a model's measure means.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Measures, ascending, each with its rarity. The tail begins at the last.
    points: Vec<(f64, f64)>,
    /// Rarity for each unit of measure in the tail.
    slope: f64,
}

impl Calibration {
    /// From what the model says of calm vectors that it was not fitted on; numbers, at least one.
    #[must_use]
    pub fn fit(mut calm: Vec<f64>) -> Self {
        calm.retain(|measure| !measure.is_nan());
        calm.iter_mut().for_each(|measure| *measure = measure.clamp(-FURTHEST, FURTHEST));
        calm.sort_by(f64::total_cmp);
        let count = calm.len();
        let tail = ((count as f64 * TAIL) as usize).max(LEAST_TAIL).min(count / 2).max(1);
        let body = count.saturating_sub(tail);
        // Of equal measures the first counts: all of them are at least that strange.
        let mut points: Vec<(f64, f64)> = Vec::new();
        for point in 0..=POINTS {
            let Some(&measure) = calm.get(body * point / POINTS) else { break };
            let at_least = count - calm.partition_point(|&other| other < measure);
            let rarity = -(at_least as f64 / count as f64).log10();
            if points.last().is_none_or(|last| last.0 < measure) {
                points.push((measure, rarity));
            }
        }
        let (threshold, _) = points.last().copied().unwrap_or_default();
        let mut excesses: Vec<f64> =
            calm.iter().map(|measure| measure - threshold).filter(|&excess| excess > 0.0).collect();
        let middle = excesses.len() / 2;
        // Without any excess, whatever is above was never seen.
        let slope = if excesses.is_empty() {
            f64::MAX
        } else {
            let median = *excesses.select_nth_unstable_by(middle, f64::total_cmp).1;
            (median / LN_2 * LN_10).recip().min(f64::MAX)
        };
        Self { points, slope }
    }

    /// How rare `measure` or a stranger one is in calm traffic, in powers of ten; 0 to 300. Never less for more.
    #[must_use]
    pub fn rarity(&self, measure: f64) -> f64 {
        let measure = measure.clamp(-FURTHEST, FURTHEST);
        let above = self.points.partition_point(|point| point.0 <= measure);
        let rarity = match (above.checked_sub(1).and_then(|below| self.points.get(below)), self.points.get(above)) {
            (None, _) => 0.0,
            (Some(&(from, rarity)), Some(&(to, next))) => {
                (rarity + (next - rarity) * (measure - from) / (to - from)).min(next)
            }
            (Some(&(from, rarity)), None) => rarity + (measure - from) * self.slope,
        };
        rarity.clamp(0.0, RAREST)
    }

    /// For what was read from elsewhere.
    pub(super) fn is_sound(&self) -> bool {
        self.points.len() <= POINTS + 1
            && self.points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
            && self.points.iter().all(|point| point.0.is_finite() && (0.0..=RAREST).contains(&point.1))
            && self.slope >= 0.0
    }
}
