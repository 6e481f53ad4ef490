//! When the new clients of a surge came. The sources of an attack come in numbers; who comes when no more come than usual is
//! hardly one of them, whatever it looks like.

use crate::core::clock::Micros;

/// So many seconds to either side are looked at.
const AROUND: usize = 5;
/// Chance moves a number of clients by so many of its square roots.
const CHANCE: f64 = 2.0;
/// So many seconds are told apart; later ones count as the last.
const SECONDS: usize = 1 << 14;
/// Shares of the surplus are within these.
const LEAST: f64 = 0.02;
const MOST: f64 = 0.99;

/// New clients by the second.
#[derive(Debug, Default)]
pub struct Arrivals {
    onset: Micros,
    /// How many came before the end of each second.
    before: Vec<f64>,
    /// How many come in a second of calm times.
    usual: f64,
}

impl Arrivals {
    /// Of clients that came between `onset` and `now`, where `usual` would come in a second of calm times.
    #[must_use]
    pub fn new(onset: Micros, now: Micros, births: impl Iterator<Item = Micros>, usual: f64) -> Self {
        let mut arrivals = Self { onset, before: Vec::new(), usual };
        let mut counts = vec![0.0; arrivals.second(now) + 1];
        for birth in births {
            if let Some(count) = counts.get_mut(arrivals.second(birth)) {
                *count += 1.0;
            }
        }
        arrivals.before = counts
            .into_iter()
            .scan(0.0, |sum, count| {
                *sum += count;
                Some(*sum)
            })
            .collect();
        arrivals
    }

    fn second(&self, at: Micros) -> usize {
        usize::try_from((at - self.onset).0 / 1_000_000).unwrap_or(SECONDS).min(SECONDS - 1)
    }

    /// The log odds that a client which came then belongs to the surplus, of what is beyond chance; nothing when it is not
    /// known who came.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number of seconds")]
    pub fn odds(&self, born: Micros) -> Option<f64> {
        let last = self.before.len().checked_sub(1)?;
        let at = self.second(born).min(last);
        let (from, to) = (at.saturating_sub(AROUND), (at + AROUND).min(last));
        let earlier = from.checked_sub(1).and_then(|second| self.before.get(second)).copied().unwrap_or_default();
        let came = self.before.get(to)? - earlier;
        let expected = self.usual * (to - from + 1) as f64;
        let beyond = came - expected - CHANCE * expected.sqrt();
        let share = (beyond / came.max(1.0)).clamp(LEAST, MOST);
        Some((share / (1.0 - share)).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_when_no_more_come_than_usual_is_hardly_of_the_surplus() {
        let onset = Micros::from_secs(1_000);
        let at = |millis: u64| onset + Micros::from_millis(millis);
        // Two a second, and a hundred in the second second.
        let births = (0..120_u64).map(|n| at(n * 500)).chain((0..100).map(|n| at(1_000 + n * 10)));
        let arrivals = Arrivals::new(onset, at(60_000), births, 2.0);
        let odds = |second: u64| arrivals.odds(at(second * 1_000)).unwrap();
        assert!(odds(1) > 1.0 && odds(5) > 1.0, "{} {}", odds(1), odds(5));
        assert!(odds(10) < -3.0 && odds(59) < -3.0, "{} {}", odds(10), odds(59));
        assert_eq!(Arrivals::default().odds(onset), None);
    }
}
