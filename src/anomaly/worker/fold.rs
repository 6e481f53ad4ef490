//! What is in force, as it follows from deeds. Pure: the same deeds and times give the same.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::anomaly::bus::{Deed, Position, Standing};
use crate::anomaly::event::{Event, Kind, Verdict};
use crate::core::adjustment::{Adjustment, Effect};
use crate::core::clock::Micros;

/// So many dismissed incidents are remembered, so that nothing that was on its way brings one back.
const DISMISSED: usize = 4_096;

/// Adjustments by their incidents.
#[derive(Debug)]
pub struct Fold {
    in_force: HashMap<u64, Adjustment, RandomState>,
    dismissed: VecDeque<u64>,
    /// The most in a domain.
    most: usize,
    by_domain: HashMap<Arc<str>, usize, RandomState>,
    refused: u64,
    changed: bool,
}

impl Fold {
    /// Nothing is in force; never more than `most` will be in a domain.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            in_force: HashMap::default(),
            dismissed: VecDeque::new(),
            most,
            by_domain: HashMap::default(),
            refused: 0,
            changed: false,
        }
    }

    /// Begins anew with what stands.
    pub fn replace(&mut self, standing: &Standing) {
        self.in_force.clear();
        self.by_domain.clear();
        for adjustment in &standing.adjustments {
            // Names are incidents' numbers; what is not, is not ours.
            if let Ok(incident) = adjustment.id.parse() {
                self.put(incident, adjustment.clone());
            }
        }
        self.changed = true;
    }

    /// Something was done or said.
    pub fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::Event(event) => self.happened(event),
            Deed::Feedback(feedback) if feedback.verdict == Verdict::Dismissed => {
                if self.dismissed.len() >= DISMISSED {
                    self.dismissed.pop_front();
                }
                self.dismissed.push_back(feedback.incident);
                self.end(feedback.incident);
            }
            Deed::Feedback(_) => {}
        }
    }

    fn happened(&mut self, event: &Event) {
        let (effect, expires, shadow) = match event.kind {
            Kind::Tighten { effect, expires, shadow } => (effect, expires, shadow),
            Kind::Block { expires, shadow } => (Effect::Block, expires, shadow),
            Kind::Release => return self.end(event.incident),
            Kind::Flag | Kind::Held => return,
        };
        if self.dismissed.contains(&event.incident) {
            return;
        }
        let domain = match self.by_domain.get_key_value(event.domain.as_str()) {
            Some((domain, _)) => Arc::clone(domain),
            None => event.domain.as_str().into(),
        };
        self.put(
            event.incident,
            Adjustment {
                id: event.incident.to_string().into(),
                subject: event.subject.clone(),
                domain: Some(domain),
                effect,
                expires,
                shadow,
            },
        );
    }

    fn put(&mut self, incident: u64, adjustment: Adjustment) {
        let domain = adjustment.domain.clone().unwrap_or_else(|| "".into());
        self.end(incident);
        let count = self.by_domain.entry(domain).or_default();
        if *count >= self.most {
            self.refused += 1;
            return;
        }
        *count += 1;
        self.in_force.insert(incident, adjustment);
        self.changed = true;
    }

    fn end(&mut self, incident: u64) {
        let Some(adjustment) = self.in_force.remove(&incident) else { return };
        self.changed = true;
        let domain = adjustment.domain.as_deref().unwrap_or_default();
        if let Some(count) = self.by_domain.get_mut(domain) {
            *count -= 1;
            if *count == 0 {
                self.by_domain.remove(domain);
            }
        }
    }

    /// Forgets what has ended by a point of wall time.
    pub fn expire(&mut self, now: Micros) {
        let ended: Vec<u64> =
            self.in_force.iter().filter(|(_, one)| one.expires <= now).map(|(incident, _)| *incident).collect();
        for incident in ended {
            self.end(incident);
        }
    }

    /// Whether it differs from what it was when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// It is to count as changed again.
    pub const fn again(&mut self) {
        self.changed = true;
    }

    /// What is in force.
    #[must_use]
    pub fn adjustments(&self) -> Vec<Adjustment> {
        self.in_force.values().cloned().collect()
    }

    /// What is in force after a deed, for those who come later.
    #[must_use]
    pub fn standing(&self, position: Position, at: Micros) -> Standing {
        Standing { position, at, adjustments: self.adjustments() }
    }

    /// How many are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.in_force.len()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_force.is_empty()
    }

    /// Those that were one too many.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}
