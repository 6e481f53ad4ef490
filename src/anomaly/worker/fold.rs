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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::event::Feedback;
    use crate::core::subject::Subject;

    const END: Micros = Micros::from_secs(100);

    fn event(incident: u64, domain: &str, kind: Kind) -> Deed {
        Deed::Event(Event {
            at: Micros::SECOND,
            incident,
            domain: domain.to_owned(),
            subject: Subject::User("alice".into()),
            kind,
            score: 0.8,
            requests: 10,
            reasons: Vec::new(),
        })
    }

    fn block(incident: u64, domain: &str) -> Deed {
        event(incident, domain, Kind::Block { expires: END, shadow: false })
    }

    fn said(incident: u64, verdict: Verdict) -> Deed {
        let subject = Subject::User("alice".into());
        Deed::Feedback(Feedback { at: Micros::SECOND, incident, domain: "edge".to_owned(), subject, verdict })
    }

    fn ids(fold: &Fold) -> Vec<String> {
        let mut ids: Vec<_> = fold.adjustments().iter().map(|one| one.id.to_string()).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn an_incident_has_one_adjustment_the_last() {
        let mut fold = Fold::new(10);
        fold.apply(&event(7, "edge", Kind::Flag));
        assert!(fold.is_empty() && !fold.take_changed());
        let effect = Effect::Factor { factor: 0.25, floor: 1 };
        fold.apply(&event(7, "edge", Kind::Tighten { effect, expires: END, shadow: true }));
        fold.apply(&event(7, "edge", Kind::Held));
        assert_eq!((fold.adjustments()[0].effect, fold.adjustments()[0].shadow), (effect, true));
        fold.apply(&block(7, "edge"));
        assert_eq!((fold.len(), fold.adjustments()[0].effect), (1, Effect::Block));
        assert_eq!(fold.adjustments()[0].domain.as_deref(), Some("edge"));
        assert!(fold.take_changed() && !fold.take_changed());
        fold.apply(&event(7, "edge", Kind::Release));
        assert!(fold.is_empty() && fold.take_changed());
    }

    #[test]
    fn it_ends_by_the_clock_or_by_a_word_and_a_dismissed_one_stays_away() {
        let mut fold = Fold::new(10);
        fold.apply(&block(1, "edge"));
        fold.apply(&block(2, "edge"));
        fold.apply(&said(1, Verdict::Confirmed));
        fold.apply(&said(2, Verdict::Dismissed));
        fold.apply(&block(2, "edge"));
        assert_eq!(ids(&fold), ["1"], "a renewal that was on its way brings nothing back");
        fold.expire(END - Micros(1));
        assert_eq!(fold.len(), 1);
        fold.expire(END);
        assert!(fold.is_empty());
    }

    #[test]
    fn each_domain_has_its_bound() {
        let mut fold = Fold::new(2);
        for incident in 1..=3 {
            fold.apply(&block(incident, "edge"));
        }
        fold.apply(&block(4, "api"));
        assert_eq!((ids(&fold).join(" "), fold.refused()), ("1 2 4".to_owned(), 1));
        fold.apply(&block(1, "edge"));
        fold.apply(&event(2, "edge", Kind::Release));
        fold.apply(&block(5, "edge"));
        assert_eq!((ids(&fold).join(" "), fold.refused()), ("1 4 5".to_owned(), 1), "a renewal takes no place");
    }

    #[test]
    fn what_stands_takes_the_place_of_what_was() {
        let mut fold = Fold::new(10);
        fold.apply(&block(1, "edge"));
        let position = Position { millis: 3, number: 4 };
        let mut standing = fold.standing(position, Micros::SECOND);
        assert_eq!((standing.position, standing.adjustments.len()), (position, 1));
        standing.adjustments[0].id = "no number".into();
        let mut other = Fold::new(10);
        other.apply(&block(9, "edge"));
        other.replace(&fold.standing(position, Micros::SECOND));
        assert_eq!(ids(&other), ["1"]);
        other.replace(&standing);
        assert!(other.is_empty(), "what is not ours");
    }
}
