//! What is usual at this hour of the week, once a week was seen: Monday at nine is no anomaly.

use serde::{Deserialize, Serialize};

use crate::anomaly::bounded;
use crate::core::clock::Micros;

const HOURS: usize = 168;
/// What a new week weighs.
const WEIGHT: f64 = 0.3;

/// The number of requests, or of new clients, a second, by hour of the week (UTC).
#[derive(Debug, Serialize, Deserialize)]
pub struct Season {
    #[serde(deserialize_with = "bounded::list::<_, Option<f64>, _, HOURS>")]
    usual: Box<[Option<f64>]>,
    hour: u64,
    sum: f64,
    seconds: f64,
}

impl Default for Season {
    fn default() -> Self {
        Self { usual: vec![None; HOURS].into(), hour: 0, sum: 0.0, seconds: 0.0 }
    }
}

impl Season {
    /// Learns one calm second at that wall time.
    pub fn learn(&mut self, wall: Micros, value: f64) {
        let hour = wall.0 / 3_600_000_000;
        if hour != self.hour {
            // An hour of which little was calm tells nothing.
            if self.seconds >= 600.0
                && let Some(usual) = self.usual.get_mut(index(self.hour))
            {
                let mean = self.sum / self.seconds;
                *usual = Some(usual.map_or(mean, |usual| usual + WEIGHT * (mean - usual)));
            }
            (self.hour, self.sum, self.seconds) = (hour, 0.0, 0.0);
        }
        self.sum += value;
        self.seconds += 1.0;
    }

    /// Whether this is what a season can be, after it was read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let known = self.usual.iter().flatten().chain([&self.sum, &self.seconds]);
        self.usual.len() == HOURS && known.copied().all(bounded::is_amount)
    }

    /// What was usual at that hour in the weeks before; 0 when nothing is known.
    #[must_use]
    pub fn usual(&self, wall: Micros) -> f64 {
        self.usual.get(index(wall.0 / 3_600_000_000)).copied().flatten().unwrap_or_default()
    }
}

fn index(hour: u64) -> usize {
    usize::try_from(hour % 168).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hour_of_last_week_is_known() {
        let mut season = Season::default();
        let start = Micros::from_secs(1_700_000_000 / 3_600 * 3_600);
        for second in 0..7 * 86_400_u64 {
            let busy = (second / 3_600) % 168 == 9;
            season.learn(start + Micros::from_secs(second), if busy { 500.0 } else { 20.0 });
        }
        season.learn(start + Micros::from_secs(7 * 86_400), 20.0);
        let at = |hour: u64| season.usual(start + Micros::from_secs(7 * 86_400 + hour * 3_600));
        assert!((at(9) - 500.0).abs() < 1.0 && (at(10) - 20.0).abs() < 1.0);
    }
}
