//! Whether the protected service is in distress: more server errors than usual, or slower.

use serde::{Deserialize, Serialize};

use crate::anomaly::baseline::level::Level;
use crate::anomaly::observation::Observation;

/// More server errors than this share, and thrice the usual.
const ERRORS: f64 = 0.05;
/// So many answers are needed to tell.
const LEAST: f64 = 10.0;

/// Answers of the present second, and what is usual.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Distress {
    #[serde(skip)]
    known: f64,
    #[serde(skip)]
    errors: f64,
    #[serde(skip)]
    timed: f64,
    #[serde(skip)]
    time: f64,
    usual_errors: Level,
    usual_time: Level,
    present: bool,
}

impl Distress {
    /// Takes an answer.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        if let Some(status) = observation.status {
            self.known += 1.0;
            self.errors += f64::from(u8::from(status >= 500));
        }
        if let Some(duration) = observation.duration {
            self.timed += 1.0;
            self.time += duration.as_duration().as_secs_f64();
        }
    }

    /// The end of a second, which is learned when it was calm.
    pub fn tick(&mut self, calm: bool) {
        let errors = (self.known >= LEAST).then(|| self.errors / self.known);
        let time = (self.timed >= LEAST).then(|| self.time / self.timed);
        self.present = errors.is_some_and(|errors| errors > ERRORS.max(3.0 * self.usual_errors.usual()))
            || time.is_some_and(|time| self.usual_time.usual() > 0.0 && time > 3.0 * self.usual_time.usual());
        if calm {
            errors.into_iter().for_each(|errors| self.usual_errors.learn(errors));
            time.into_iter().for_each(|time| self.usual_time.learn(time));
        }
        (self.known, self.errors, self.timed, self.time) = (0.0, 0.0, 0.0, 0.0);
    }

    /// Whether this is what it can be, after it was read.
    pub fn is_sound(&self) -> bool {
        self.usual_errors.is_sound() && self.usual_time.is_sound()
    }

    /// Whether it is in distress.
    pub const fn is_present(&self) -> bool {
        self.present
    }
}

/// Whether an observation tells of a failed login, or of a refused request.
pub fn is_auth_failure(observation: &Observation<'_>) -> bool {
    use crate::anomaly::observation::Outcome;
    let passed = !matches!(observation.outcome, Outcome::Limited | Outcome::LimitedByAdjustment);
    passed && matches!(observation.status, Some(401 | 403))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::observation::Outcome;
    use crate::core::clock::Micros;

    fn answer(status: u16, millis: u64) -> Observation<'static> {
        Observation {
            at: Micros::ZERO,
            domain: "edge",
            user: None,
            address: None,
            method: "GET",
            path: "/",
            user_agent: None,
            country: None,
            asn: None,
            status: Some(status),
            bytes: None,
            duration: Some(Micros::from_millis(millis)),
            hits: 1,
            outcome: Outcome::Allowed,
        }
    }

    #[test]
    fn errors_and_slowness_are_distress() {
        let mut distress = Distress::default();
        let mut second = |status: u16, millis: u64| {
            (0..50).for_each(|index| distress.observe(&answer(if index % 2 == 0 { status } else { 200 }, millis)));
            distress.tick(status == 200 && millis == 20);
            distress.is_present()
        };
        assert!((0..60).all(|_| !second(200, 20)));
        assert!(second(503, 20));
        assert!(second(200, 400));
        assert!(!second(200, 25));
    }
}
