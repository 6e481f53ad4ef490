//! What people said of findings, as examples for models: the features of the client that it was about, and the verdict.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::anomaly::bounded;
use crate::anomaly::event::Verdict;
use crate::anomaly::features::list::Vector;

/// So many labels are kept, the latest.
pub const MOST: usize = 4_096;
/// People speak late: of so many incidents that have ended the client's features are remembered.
const ENDED: usize = 4_096;

/// Labels, and what is remembered for those to come.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Labels {
    #[serde(deserialize_with = "bounded::list::<_, (Vector, Verdict), _, MOST>")]
    said: VecDeque<(Vector, Verdict)>,
    #[serde(deserialize_with = "bounded::list::<_, (u64, Vector), _, ENDED>")]
    ended: VecDeque<(u64, Vector)>,
    /// Labels so far, those that were forgotten included.
    count: u64,
}

impl Labels {
    /// Adds one; the oldest gives way.
    pub fn push(&mut self, vector: Vector, verdict: Verdict) {
        if self.said.len() == MOST {
            self.said.pop_front();
        }
        self.said.push_back((vector, verdict));
        self.count = self.count.wrapping_add(1);
    }

    /// All that are kept, the oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Vector, Verdict)> {
        self.said.iter().map(|(vector, verdict)| (vector, *verdict))
    }

    /// How many there have been: tells whether there are new ones.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Remembers the features of a client whose incident ends.
    pub(super) fn remember(&mut self, incident: u64, vector: Vector) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((incident, vector));
    }

    /// The features of the client whose incident has ended.
    pub(super) fn remembered(&self, incident: u64) -> Option<&Vector> {
        self.ended.iter().rev().find(|(id, _)| *id == incident).map(|(_, vector)| vector)
    }

    /// Whether this is what labels can be, after they were read.
    pub(super) fn is_sound(&self) -> bool {
        let vectors = self.said.iter().map(|(vector, _)| vector).chain(self.ended.iter().map(|(_, vector)| vector));
        vectors.flatten().all(|value| !value.is_infinite())
    }
}
