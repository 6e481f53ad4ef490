//! What the features are that vectors are made of.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// One feature, as models know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its name.
    pub name: Cow<'static, str>,
    /// The least difference from the usual value that counts for something, in the feature's unit; 0 or more. Where calm
    /// traffic hardly varies, it keeps models from calling every small departure strange.
    pub least_spread: f64,
}

/// The features of a vector, in their order. Models serve only vectors of the schema that they were trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureSchema {
    features: Vec<Feature>,
}

impl FeatureSchema {
    /// A schema of these features.
    #[must_use]
    pub fn new(features: impl IntoIterator<Item = Feature>) -> Self {
        Self { features: features.into_iter().collect() }
    }

    /// The features.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// How many features a vector has.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.features.len()
    }

    /// Tells schemas apart: other names, another order or another least spread give another number.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        for feature in &self.features {
            hash.update((feature.name.len() as u64).to_le_bytes());
            hash.update(feature.name.as_bytes());
            hash.update(feature.least_spread.to_le_bytes());
        }
        let digest = hash.finalize();
        digest.iter().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte))
    }
}
