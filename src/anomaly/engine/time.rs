//! The engine's own time: wall time whose steps are taken out.

use crate::core::clock::Micros;

/// Observations are out of order by less.
const DISORDER: Micros = Micros::from_secs(30);
/// A longer silence counts as so long: a clock that was set, or a night without traffic. All counts have faded by then.
const SILENCE: Micros = Micros::from_secs(3_600);

/// Turns wall time into time that never goes back, and does not jump far.
#[derive(Debug, Default)]
pub struct Timeline {
    wall: Micros,
    steady: Micros,
}

impl Timeline {
    /// The last steady and wall time; nothing before the first.
    pub fn last(&self) -> Option<(Micros, Micros)> {
        (self.steady > Micros::ZERO).then_some((self.steady, self.wall))
    }

    /// The steady time at a wall time.
    pub fn at(&mut self, wall: Micros) -> Micros {
        if self.steady == Micros::ZERO {
            // Not at zero, so that what was never is long ago.
            (self.wall, self.steady) = (wall, Micros::from_secs(1_000_000));
        } else if wall >= self.wall {
            self.steady = self.steady + (wall - self.wall).min(SILENCE);
            self.wall = wall;
        } else if self.wall - wall > DISORDER {
            // The clock was set back: time goes on from there.
            self.wall = wall;
        }
        self.steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_out() {
        let mut time = Timeline::default();
        let at = |time: &mut Timeline, seconds: u64| time.at(Micros::from_secs(seconds)).0 / 1_000_000 - 1_000_000;
        assert_eq!(at(&mut time, 50_000), 0);
        assert_eq!(at(&mut time, 50_010), 10);
        assert_eq!(at(&mut time, 50_005), 10, "out of order");
        assert_eq!(at(&mut time, 50_011), 11);
        assert_eq!(at(&mut time, 40_000), 11, "set back");
        assert_eq!(at(&mut time, 40_005), 16);
        assert_eq!(at(&mut time, 90_000), 16 + 3_600, "set forward");
    }
}
