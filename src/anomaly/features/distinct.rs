//! How many different things were seen, in 16 bytes: linear counting (Whang, Vander-Zanden, Taylor, 1990).

use serde::{Deserialize, Serialize};

/// A bitmap of 128 bits. Exact to a few percent up to about 100 things, and saturated at about 620.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Distinct(u128);

impl Distinct {
    /// Takes one more; whether it was surely not there before.
    pub fn insert(&mut self, hash: u64) -> bool {
        let bit = 1_u128 << (hash >> 57);
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new
    }

    /// The estimate.
    #[must_use]
    pub fn count(self) -> f64 {
        let zeros = f64::from(self.0.count_zeros()).max(1.0);
        128.0 * (128.0 / zeros).ln()
    }
}

/// The same over a sliding time: two halves, of which the older is forgotten.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Recent {
    present: Distinct,
    past: Distinct,
    /// In which half we are.
    half: u32,
}

impl Recent {
    /// Takes one more, in the half of that number.
    pub fn insert(&mut self, half: u32, hash: u64) {
        if half != self.half {
            self.past = if half == self.half.wrapping_add(1) { self.present } else { Distinct::default() };
            self.present = Distinct::default();
            self.half = half;
        }
        self.present.insert(hash);
    }

    /// The estimate: of this half and the one before.
    #[must_use]
    pub fn count(&self) -> f64 {
        Distinct(self.present.0 | self.past.0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_near_the_truth() {
        let mut random = fastrand::Rng::with_seed(7);
        for truth in [1_u32, 5, 20, 80, 200] {
            let mut distinct = Distinct::default();
            let things: Vec<u64> = (0..truth).map(|_| random.u64(..)).collect();
            for thing in things.iter().chain(&things) {
                distinct.insert(*thing);
            }
            let off = (distinct.count() - f64::from(truth)).abs() / f64::from(truth);
            assert!(off < 0.3, "{truth}: {}", distinct.count());
        }
    }

    #[test]
    fn the_older_half_is_forgotten() {
        let mut recent = Recent::default();
        recent.insert(1, 1 << 60);
        recent.insert(2, 2 << 60);
        assert!((recent.count() - 2.0).abs() < 0.1, "{}", recent.count());
        recent.insert(3, 3 << 60);
        assert!((recent.count() - 2.0).abs() < 0.1, "{}", recent.count());
        recent.insert(9, 4 << 60);
        assert!((recent.count() - 1.0).abs() < 0.1, "{}", recent.count());
    }
}
