//! Batches before they are sent: observations as bytes, thinned evenly where there are too many. Pure.

use std::time::Duration;

use bytes::Bytes;

use crate::anomaly::observation::Observation;
use crate::anomaly::observe::batch;

/// A batch is closed beyond so many bytes; so it has at most these and one observation.
const BATCH_BYTES: usize = 192 << 10;
/// What was not used of the rate is saved up for so long.
const SAVED: Duration = Duration::from_secs(1);

/// How many bytes may be sent.
#[derive(Debug)]
pub struct Budget {
    rate: f64,
    left: f64,
}

impl Budget {
    /// So many bytes a second; a second's worth is there at once.
    #[must_use]
    pub const fn new(rate: u64) -> Self {
        Self { rate: rate as f64, left: rate as f64 }
    }

    /// Time passes.
    pub fn pass(&mut self, elapsed: Duration) {
        self.left = (self.left + elapsed.as_secs_f64() * self.rate).min(SAVED.as_secs_f64() * self.rate);
    }

    /// The share of so many bytes that may be sent; they are taken.
    fn take(&mut self, bytes: usize) -> f64 {
        let share = if bytes == 0 { 1.0 } else { (self.left.max(0.0) / bytes as f64).min(1.0) };
        self.left -= share * bytes as f64;
        share
    }
}

/// Observations that wait to be sent.
#[derive(Debug, Default)]
pub struct Draft {
    records: Vec<u8>,
    ends: Vec<usize>,
}

impl Draft {
    /// Adds one.
    pub fn push(&mut self, observation: &Observation<'_>) {
        batch::push(&mut self.records, observation);
        self.ends.push(self.records.len());
    }

    /// Makes batches of them all, and is empty then. Where the budget is too small, each observation has the same chance
    /// to be among them, drawn by `random` from 0 to 1; returns how many are not.
    pub fn cut(&mut self, budget: &mut Budget, mut random: impl FnMut() -> f64) -> (Vec<Bytes>, u64) {
        let share = budget.take(self.records.len());
        let (mut batches, mut open, mut lost) = (Vec::new(), batch::empty(), 0);
        let mut start = 0;
        for &end in &self.ends {
            let record = self.records.get(start..end).unwrap_or_default();
            start = end;
            if share < 1.0 && random() >= share {
                lost += 1;
                continue;
            }
            open.extend_from_slice(record);
            if open.len() > BATCH_BYTES {
                batches.push(std::mem::replace(&mut open, batch::empty()).into());
            }
        }
        if open.len() > 1 {
            batches.push(open.into());
        }
        self.records.clear();
        self.ends.clear();
        (batches, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clock::Micros;

    fn draft(count: u64) -> Draft {
        let mut draft = Draft::default();
        for at in 0..count {
            draft.push(&Observation { at: Micros(at), domain: "edge", path: "/a", ..Observation::default() });
        }
        draft
    }

    fn times(batches: &[Bytes]) -> Vec<u64> {
        batches.iter().flat_map(|bytes| batch::read(bytes).unwrap()).map(|observation| observation.at.0).collect()
    }

    #[test]
    fn all_are_sent_while_the_budget_lasts() {
        let mut budget = Budget::new(8_000_000);
        let mut draft = draft(20_000);
        let (batches, lost) = draft.cut(&mut budget, || 0.999);
        assert_eq!((times(&batches), lost), ((0..20_000).collect(), 0));
        assert!(batches.len() > 1 && batches.iter().all(|bytes| bytes.len() < BATCH_BYTES + 400));
        assert_eq!(draft.cut(&mut budget, || 0.999), (Vec::new(), 0), "nothing is sent twice");
    }

    #[test]
    fn beyond_it_each_has_the_same_chance() {
        let mut random = fastrand::Rng::with_seed(7);
        let bytes = draft(20_000).records.len() as u64;
        let mut budget = Budget::new(bytes / 4);
        let (batches, lost) = draft(20_000).cut(&mut budget, || random.f64());
        let kept = times(&batches);
        assert_eq!(kept.len() as u64 + lost, 20_000);
        assert!((4_700..5_300).contains(&kept.len()), "{}", kept.len());
        let late = kept.iter().filter(|at| **at >= 10_000).count();
        assert!((2_250..2_750).contains(&late), "no half is favoured: {late}");
        assert_eq!(draft(100).cut(&mut budget, || random.f64()), (Vec::new(), 100), "nothing is left");
        budget.pass(Duration::from_secs(3_600));
        let (batches, _) = draft(20_000).cut(&mut budget, || random.f64());
        assert!(times(&batches).len() < 5_300, "no more than a second is saved up");
    }
}
