//! Failed logins of all clients together: many sources that each try little are seen here.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::anomaly::baseline::level::Level;
use crate::anomaly::features::names::Id;
use crate::core::clock::Micros;

/// So many more than usual, a second, are worth a flag: fewer are people who mistype.
const LEAST: f64 = 0.5;
/// Seconds over which they are looked at.
const WINDOW: u32 = 10;

/// Failures a second, and on which paths.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Failures {
    level: Level,
    #[serde(skip)]
    window: u32,
    #[serde(skip)]
    sum: f64,
    #[serde(skip)]
    paths: HashMap<Id, f64>,
    raised: u32,
}

/// More failed logins than usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raised {
    /// The path with the most.
    pub path: Id,
    /// Failures a second.
    pub present: f64,
    /// Usually.
    pub usual: f64,
}

impl Failures {
    /// Takes one.
    pub fn observe(&mut self, path: Id) {
        self.sum += 1.0;
        if self.paths.len() < 256 || self.paths.contains_key(&path) {
            *self.paths.entry(path).or_default() += 1.0;
        }
    }

    /// Whether this is what it can be, after it was read.
    pub fn is_sound(&self) -> bool {
        self.level.is_sound()
    }

    /// The end of a second; every ten of them it may say something. With so many times the usual traffic, as many times
    /// the failures are usual, too.
    pub fn tick(&mut self, now: Micros, traffic: f64) -> Option<Raised> {
        self.window += 1;
        if self.window < WINDOW {
            return None;
        }
        let count = self.sum / traffic.max(1.0);
        let seconds = f64::from(WINDOW);
        let alarm = self.level.watch(now, count, 0.0).is_some();
        let usual = self.level.usual() / seconds;
        let present = count / seconds;
        let is_raised = alarm && present > 2.0 * usual + LEAST;
        self.raised = if is_raised { self.raised.saturating_add(1) } else { 0 };
        // For ten minutes it is not learned from; then it is what is usual.
        if !is_raised || self.raised > 60 {
            self.level.learn(count);
        }
        let most = self.paths.iter().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0))).map(|(path, _)| *path);
        let found = most.filter(|_| is_raised).map(|path| Raised { path, present, usual });
        (self.window, self.sum) = (0, 0.0);
        self.paths.clear();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_failures_are_seen() {
        let mut failures = Failures::default();
        let mut minute = |a_second: u32| {
            let mut found = None;
            for second in 0..60 {
                (0..a_second).for_each(|_| failures.observe(5));
                if second % 20 == 0 {
                    failures.observe(6);
                }
                found = failures.tick(Micros::from_secs(second), 1.0).or(found);
            }
            found
        };
        assert_eq!((0..5).find_map(|_| minute(0)), None);
        let raised = minute(4).unwrap();
        assert_eq!(raised.path, 5);
        assert!(raised.present >= 4.0 && raised.usual < 0.2);
    }
}
