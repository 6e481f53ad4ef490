//! How clients walk from page to page: which steps are usual.

use serde::{Deserialize, Serialize};

use super::names::{Id, MISSING, OTHER};
use crate::anomaly::bounded;

/// Steps are counted in so many places; those that share one are taken for each other.
const PLACES: usize = 1 << 16;
/// There are so many templates at most.
const PAGES: usize = Id::MAX as usize + 1;
/// Of a template that was met less often, nothing is known.
const KNOWN: u16 = 20;

/// Steps from template to template, as calm clients make them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Walk {
    #[serde(deserialize_with = "bounded::list::<_, u16, _, PLACES>")]
    steps: Box<[u16]>,
    #[serde(deserialize_with = "bounded::list::<_, u16, _, PAGES>")]
    pages: Box<[u16]>,
}

impl Default for Walk {
    fn default() -> Self {
        Self { steps: vec![0; PLACES].into(), pages: vec![0; PAGES].into() }
    }
}

impl Walk {
    /// Learns one step.
    pub fn learn(&mut self, from: Id, to: Id) {
        if from <= OTHER || to <= OTHER {
            return;
        }
        if let Some(step) = self.steps.get_mut(place(from, to)) {
            *step = step.saturating_add(1);
        }
        if let Some(page) = self.pages.get_mut(usize::from(from)) {
            *page = page.saturating_add(1);
            // So that what is old counts less; and nothing overflows.
            if *page == u16::MAX {
                self.fade();
            }
        }
    }

    /// Whether this is what a walk can be, after it was read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.steps.len() == PLACES && self.pages.len() == PAGES
    }

    fn fade(&mut self) {
        self.steps.iter_mut().chain(&mut self.pages).for_each(|count| *count /= 2);
    }

    /// Whether calm clients hardly make this step; nothing, where too little is known.
    #[must_use]
    pub fn is_unusual(&self, from: Id, to: Id) -> Option<bool> {
        if from == MISSING || to == MISSING {
            return None;
        }
        let page = |id: Id| self.pages.get(usize::from(id)).copied().unwrap_or_default();
        if page(from) < KNOWN || page(to) < KNOWN {
            return None;
        }
        let step = self.steps.get(place(from, to)).copied().unwrap_or_default();
        // Less than one in fifty.
        Some(u32::from(step) * 50 < u32::from(page(from)))
    }
}

fn place(from: Id, to: Id) -> usize {
    let mixed = (u64::from(from) << 16 | u64::from(to)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 48).unwrap_or_default() % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_nobody_makes_are_unusual() {
        let mut walk = Walk::default();
        assert_eq!(walk.is_unusual(2, 3), None, "nothing is known");
        for _ in 0..100 {
            walk.learn(2, 3);
            walk.learn(3, 4);
            walk.learn(4, 2);
        }
        assert_eq!(walk.is_unusual(2, 3), Some(false));
        assert_eq!(walk.is_unusual(2, 4), Some(true));
        assert_eq!(walk.is_unusual(2, 9), None, "a page that nobody knows");
    }
}
