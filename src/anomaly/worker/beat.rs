//! When an interval of the engine ends. Pure.
//!
//! Live, it is the clock that says so. What is read late, as by a replica that goes on where another stopped, brings its
//! own time: there the observations say so, so that ten seconds of traffic do not look like one.

use crate::core::clock::Micros;

/// The length of an interval.
const INTERVAL: Micros = Micros::SECOND;
/// Time that is further off than this was set, or nothing came meanwhile: it is not counted through.
const JUMP: Micros = Micros::from_secs(60);

/// The next end of an interval: wall time.
#[derive(Debug, Default)]
pub struct Beat {
    next: Option<Micros>,
}

impl Beat {
    /// An interval's end that comes before an observation; to be asked until there is none.
    pub fn before(&mut self, observed: Micros) -> Option<Micros> {
        let Some(next) = self.next else {
            self.next = Some(observed + INTERVAL);
            return None;
        };
        if observed < next {
            return None;
        }
        let ends = if observed - next > JUMP { observed } else { next };
        self.next = Some(ends + INTERVAL);
        Some(ends)
    }

    /// An interval's end that has come by the clock. Several that were missed are one.
    pub fn by(&mut self, now: Micros) -> Option<Micros> {
        let due = self.next.is_none_or(|next| now >= next || next - now > JUMP);
        if due {
            self.next = Some(now + INTERVAL);
        }
        due.then_some(now)
    }

    /// How long it is until then.
    #[must_use]
    pub fn left(&self, now: Micros) -> Micros {
        self.next.map_or(Micros::ZERO, |next| (next - now).min(INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Micros {
        Micros::from_millis(1_700_000_000_000 + millis)
    }

    fn ends(beat: &mut Beat, observed: Micros) -> Vec<Micros> {
        std::iter::from_fn(|| beat.before(observed)).collect()
    }

    #[test]
    fn what_is_read_late_is_counted_second_by_second() {
        let mut beat = Beat::default();
        assert_eq!(ends(&mut beat, at(0)), []);
        assert_eq!(ends(&mut beat, at(999)), []);
        assert_eq!(ends(&mut beat, at(1_000)), [at(1_000)]);
        assert_eq!(ends(&mut beat, at(4_500)), [at(2_000), at(3_000), at(4_000)]);
        assert_eq!(ends(&mut beat, at(3_000)), [], "out of order");
    }

    #[test]
    fn live_the_clock_counts() {
        let mut beat = Beat::default();
        assert_eq!(beat.by(at(0)), Some(at(0)));
        assert_eq!((beat.by(at(900)), beat.left(at(900))), (None, Micros::from_millis(100)));
        assert_eq!(ends(&mut beat, at(950)), []);
        assert_eq!(beat.by(at(1_020)), Some(at(1_020)));
        assert_eq!(beat.by(at(9_000)), Some(at(9_000)), "a pause is one interval");
        assert_eq!(beat.by(at(9_001)), None);
    }

    #[test]
    fn a_clock_that_is_set_is_not_counted_through() {
        let mut beat = Beat::default();
        assert_eq!(beat.by(at(500_000)), Some(at(500_000)));
        assert_eq!(beat.by(at(100_000)), Some(at(100_000)), "back");
        assert_eq!(beat.by(at(100_500)), None);
        assert_eq!(ends(&mut beat, at(900_000)), [at(900_000)], "forth, as a replica with another clock sees it");
        assert_eq!(beat.left(at(100_500)), Micros::SECOND);
    }
}
