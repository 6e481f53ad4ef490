//! The engine's own time: wall time whose steps are taken out.

use serde::{Deserialize, Serialize};

use crate::core::clock::Micros;

/// Observations are out of order by less.
const DISORDER: Micros = Micros::from_secs(30);
/// A longer silence counts as so long: a clock that was set, or a night without traffic. All counts have faded by then.
const SILENCE: Micros = Micros::from_secs(3_600);

/// Turns wall time into time that never goes back, and does not jump far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Timeline {
    pub(super) wall: Micros,
    pub(super) steady: Micros,
    /// The next silence counts as so long at most.
    #[serde(skip)]
    away: Option<Micros>,
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
            let most = self.away.take().unwrap_or(SILENCE);
            self.steady = self.steady + (wall - self.wall).min(most);
            self.wall = wall;
        } else if self.wall - wall > DISORDER {
            // The clock was set back: time goes on from there.
            self.wall = wall;
        }
        self.steady
    }

    /// The steady time of a wall time before or after the latest, which stays what it is.
    pub fn of(&self, wall: Micros) -> Micros {
        if wall >= self.wall { self.steady + (wall - self.wall) } else { self.steady - (self.wall - wall) }
    }

    /// Goes on after an absence, which counts as so long at most.
    pub fn go_on(mut self, away: Micros) -> Self {
        self.away = Some(away);
        self
    }

    /// Whether no time was seen.
    pub fn is_fresh(&self) -> bool {
        self.steady == Micros::ZERO
    }

    /// Whether this is what a timeline can be, after it was read: within some ten thousand years.
    pub fn is_sound(&self) -> bool {
        self.wall.0 < 1 << 60 && self.steady.0 < 1 << 60
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
