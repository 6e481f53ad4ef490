//! Vectors of features as models see them.
//!
//! Where ratios matter, models get decades. What is far below the floor from which on a feature is strange at all is one
//! and the same to them: who is slow in his own way is not strange. What a client does not do itself is left out.

use crate::anomaly::features::list::{Feature, Judged, Vector};
use crate::anomaly::model::schema::{Feature as Column, FeatureSchema};

/// How many features models see.
pub const WIDTH: usize = 19;
/// Below this part of its floor a feature is as good as nothing.
const OF_FLOOR: f64 = 0.5;

/// A vector, as models see it: 0 is nothing; what is not known is NaN, and as usual.
pub type Row = [f64; WIDTH];

/// The features that models see, in their order: those that are judged.
fn seen() -> impl Iterator<Item = (Feature, Judged)> {
    Feature::ALL.into_iter().filter_map(|feature| Some((feature, feature.judged()?)))
}

/// Which feature each place of a row is.
pub fn features() -> impl Iterator<Item = Feature> {
    seen().map(|(feature, _)| feature)
}

/// The features as models know them. Their names tell how they are scaled, so models on another scale are refused. A
/// difference counts from what makes a value ten times as rare at least.
#[must_use]
pub fn schema() -> FeatureSchema {
    FeatureSchema::new(seen().map(|(feature, judged)| {
        let least = judged.floor * OF_FLOOR;
        let beyond = if judged.logarithmic { "decades" } else { "beyond" };
        let name = format!("{} {beyond} {least}", feature.name());
        Column { name: name.into(), least_spread: judged.least_step }
    }))
}

/// `vector` on the models' scale.
#[must_use]
pub fn row(vector: &Vector) -> Row {
    let mut row = [f64::NAN; WIDTH];
    for ((feature, judged), place) in seen().zip(&mut row) {
        let value = vector.get(feature.index()).copied().unwrap_or(f64::NAN);
        if value.is_nan() {
            continue;
        }
        let nothing = judged.floor * OF_FLOOR;
        let value = value.max(nothing);
        *place = if judged.logarithmic { (value / nothing).log10() } else { value - nothing };
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::features::list::COUNT;

    #[test]
    fn rows_have_the_features_of_the_schema() {
        assert_eq!(schema().width(), WIDTH);
        assert_eq!(features().count(), WIDTH);
        let mut vector = [f64::NAN; COUNT];
        assert!(row(&vector).iter().all(|value| value.is_nan()), "what is not known stays unknown");
        vector[Feature::Rate10s.index()] = 30.0;
        vector[Feature::Writes.index()] = 0.9;
        let place = |wanted| features().position(|feature| feature == wanted).unwrap();
        let of = row(&vector);
        assert!((of[place(Feature::Rate10s)] - 20.0_f64.log10()).abs() < 1e-12, "decades beyond 1.5");
        assert!((of[place(Feature::Writes)] - 0.5).abs() < 1e-12, "what is beyond 0.4");
    }

    #[test]
    fn the_slow_are_all_alike() {
        let with = |rate: f64| {
            let mut vector = [0.0; COUNT];
            vector[Feature::Rate10s.index()] = rate;
            row(&vector)
        };
        assert_eq!(with(0.0), with(1.4));
        assert_ne!(with(1.4), with(1.6));
    }
}
