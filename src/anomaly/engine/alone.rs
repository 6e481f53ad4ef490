//! Subjects that a person said are no attack: for a while they are flagged only when they become stranger still, and never
//! limited.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::anomaly::bounded;
use crate::core::clock::Micros;

/// So many are remembered; whose time ends first gives way.
const MOST: usize = 10_000;
/// A score that is so much higher is news.
const STRANGER: f64 = 0.05;

/// Those that are left alone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Alone(#[serde(deserialize_with = "bounded::map::<_, u64, Left, _, MOST>")] BTreeMap<u64, Left>);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Left {
    /// Until when: wall time.
    until: Micros,
    /// The score that was dismissed.
    score: f64,
}

impl Alone {
    /// Leaves a subject alone.
    pub fn leave(&mut self, key: u64, until: Micros, score: f64) {
        if self.0.len() == MOST
            && !self.0.contains_key(&key)
            && let Some(first) = self.0.iter().min_by_key(|(_, left)| left.until).map(|(key, _)| *key)
        {
            self.0.remove(&first);
        }
        self.0.insert(key, Left { until, score });
    }

    /// It is not left alone any more.
    pub fn end(&mut self, key: u64) {
        self.0.remove(&key);
    }

    /// Until when a subject is left alone, if it is.
    pub fn until(&self, key: u64, wall: Micros) -> Option<Micros> {
        self.find(key, wall).map(|left| left.until)
    }

    /// Whether a finding is what was dismissed, and no more.
    pub fn is_dismissed(&self, key: u64, wall: Micros, score: f64) -> bool {
        self.find(key, wall).is_some_and(|left| score < left.score + STRANGER)
    }

    fn find(&self, key: u64, wall: Micros) -> Option<&Left> {
        self.0.get(&key).filter(|left| wall < left.until)
    }

    /// Forgets whose time is over.
    pub fn forget(&mut self, wall: Micros) {
        self.0.retain(|_, left| wall < left.until);
    }

    /// Whether this is what it can be, after it was read.
    pub fn is_sound(&self) -> bool {
        self.0.values().all(|left| bounded::is_amount(left.score))
    }
}
