//! Isolation forests, plain and extended: what few random cuts part from the rest is strange.
//!
//! A tree cuts a sample of the vectors at random until each stands alone or the tree is as high as the average one. A
//! vector is the stranger, the shorter its way through the trees: score = 2^(-E(h) / c(n)), where E(h) is the mean length
//! of its way over all trees and c(n) = 2 H(n - 1) - 2 (n - 1) / n, with H(i) the i-th harmonic number, the mean length of
//! an unsuccessful search in a binary tree of n. A way that ends at a leaf of m training vectors counts c(m) more. (Liu,
//! Ting and Zhou, Isolation Forest, ICDM 2008; Isolation-Based Anomaly Detection, ACM TKDD 6(1), 2012.)
//!
//! A cut of the plain forest is a threshold of one feature, uniform over the range that the node's vectors have. A cut of
//! the extended forest at level l is a plane: its normal has l + 1 components from a standard normal distribution, the
//! others are 0, and it goes through a point uniform in the node's bounding box; so a side may stay empty. (Hariri, Carrasco
//! Kind and Brunner, Extended Isolation Forest, IEEE TKDE 33(4), 2021.) Level 0 is the plain forest. Only features that
//! vary in the node are cut.
//!
//! Every tree is laid out as a full binary tree of its greatest height, so that a way needs no pointers and, always of the
//! same number of steps, no branches either: a leaf further up is a cut with everything on its left.

mod grow;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Model;

/// No more trees than this.
pub const MOST_TREES: usize = 1_000;
/// No larger sample than this.
pub const LARGEST_SAMPLE: usize = 4_096;

/// Settings of a [`Forest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForestSettings {
    /// How many; 1 to [`MOST_TREES`].
    pub trees: usize,
    /// Vectors that each tree is grown on; 2 to [`LARGEST_SAMPLE`].
    pub sample: usize,
    /// How many features a cut has besides the first: 0 for the plain forest, at most one less than there are features.
    pub level: usize,
}

impl Default for ForestSettings {
    fn default() -> Self {
        Self { trees: 100, sample: 256, level: 1 }
    }
}

/// A trained forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    /// Features of a vector.
    width: usize,
    /// Features of a cut.
    terms: usize,
    /// Cuts on each way.
    height: usize,
    /// c(n) of the sample.
    usual_length: f64,
    /// Per tree and cut, `terms` of them: which features ...
    features: Vec<u16>,
    /// ... and the normal's components.
    weights: Vec<f32>,
    /// Per tree and cut: what lies above goes right.
    offsets: Vec<f32>,
    /// Per tree and leaf: the length of a way that ends there.
    lengths: Vec<f32>,
}

impl Forest {
    fn trees(&self) -> usize {
        self.lengths.len() >> self.height
    }

    /// The mean length of the ways of `row` through all trees.
    fn mean_length(&self, row: &[f32]) -> f64 {
        let sum = match self.terms {
            1 => self.walk(|tree, cut| row[usize::from(tree.features[cut])]),
            2 => self.walk(|tree, cut| project::<2>(tree, cut, row)),
            3 => self.walk(|tree, cut| project::<3>(tree, cut, row)),
            terms => self.walk(|tree, cut| {
                let features = &tree.features[cut * terms..][..terms];
                let weights = &tree.weights[cut * terms..][..terms];
                features.iter().zip(weights).map(|(&feature, weight)| weight * row[usize::from(feature)]).sum()
            }),
        };
        sum / self.trees() as f64
    }

    /// The sum of the lengths of all ways on which a vector is where `position` says, along each cut's normal.
    #[inline]
    fn walk(&self, position: impl Fn(&Tree<'_>, usize) -> f32) -> f64 {
        let cuts = (1 << self.height) - 1;
        let mut sum = 0.0;
        for tree in 0..self.trees() {
            let tree = Tree {
                features: &self.features[tree * cuts * self.terms..][..cuts * self.terms],
                weights: &self.weights[tree * cuts * self.terms..][..cuts * self.terms],
                offsets: &self.offsets[tree * cuts..][..cuts],
                lengths: &self.lengths[tree * (cuts + 1)..][..=cuts],
            };
            let mut cut = 0;
            for _ in 0..self.height {
                cut = 2 * cut + 1 + usize::from(position(&tree, cut) > tree.offsets[cut]);
            }
            sum += f64::from(tree.lengths[cut - cuts]);
        }
        sum
    }

    /// Whether no way through it can go wrong: for what was read from elsewhere.
    pub(super) fn is_sound(&self, width: usize) -> bool {
        let leaves = 1_usize.checked_shl(self.height as u32).unwrap_or(usize::MAX);
        let trees = self.lengths.len() / leaves;
        self.width == width
            && leaves <= LARGEST_SAMPLE
            && (1..=MOST_TREES).contains(&trees)
            && (1..=width).contains(&self.terms)
            && self.lengths.len() == trees * leaves
            && self.offsets.len() == trees * (leaves - 1)
            && self.features.len() == self.offsets.len() * self.terms
            && self.weights.len() == self.features.len()
            && self.features.iter().all(|&feature| usize::from(feature) < width)
            && self.weights.iter().all(|weight| weight.is_finite())
            && self.lengths.iter().all(|length| (0.0..1e3).contains(length))
            && self.usual_length.is_finite()
            && self.usual_length > 0.0
    }
}

/// One tree of the forest.
struct Tree<'a> {
    features: &'a [u16],
    weights: &'a [f32],
    offsets: &'a [f32],
    lengths: &'a [f32],
}

#[inline]
fn project<const TERMS: usize>(tree: &Tree<'_>, cut: usize, row: &[f32]) -> f32 {
    let features = &tree.features[cut * TERMS..][..TERMS];
    let weights = &tree.weights[cut * TERMS..][..TERMS];
    (0..TERMS).map(|term| weights[term] * row[usize::from(features[term])]).sum()
}

/// c(n).
fn usual_length(vectors: usize) -> f64 {
    match vectors {
        0 | 1 => 0.0,
        2 => 1.0,
        n => {
            let n = n as f64;
            2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n
        }
    }
}

/// The Euler-Mascheroni constant: H(i) is about ln(i) + this.
const EULER: f64 = 0.577_215_664_901_532_9;

impl Model for Forest {
    fn name(&self) -> &'static str {
        if self.terms == 1 { "isolation forest" } else { "extended isolation forest" }
    }

    /// 0 to 1; 0.5 where a way is as long as the average one.
    fn score(&self, vector: &[f64]) -> f64 {
        let row: SmallVec<[f32; 64]> = vector.iter().map(|&value| value as f32).collect();
        (-self.mean_length(&row) / self.usual_length).exp2()
    }
}
