//! What people say of incidents.

use smallvec::SmallVec;

use super::domain::Domain;
use super::members::group_key;
use super::upkeep::{Acting, FAILURES};
use super::{Engine, Present};
use crate::anomaly::event::{Event, Feedback, Verdict};
use crate::anomaly::features::clients::Who;
use crate::anomaly::features::names::MISSING;
use crate::anomaly::policy::cover::Group;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// Of a client that made fewer requests, no example is made.
const LEAST: u32 = 10;

impl Engine {
    /// A person's word. Who was dismissed is released at once, and is left alone for `dismissed_for`: flagged only when it
    /// becomes stranger still, and never limited. Who was confirmed is acted upon for longer. Both become labels.
    pub fn hear(&mut self, feedback: &Feedback) -> Vec<Event> {
        if self.time.is_fresh() {
            self.time.at(feedback.at);
        }
        let present = Present { now: self.time.steady, wall: self.time.wall };
        let mut events = Vec::new();
        if self.watched(&feedback.domain, present.now).is_some()
            && let Some(domain) = self.domains.get_mut(feedback.domain.as_str())
        {
            let (settings, next_incident) = (&self.settings, &mut self.next_incident);
            domain.hear(feedback, &mut Acting { present, settings, next_incident, events: &mut events });
        }
        events
    }
}

impl Domain {
    fn hear(&mut self, feedback: &Feedback, acting: &mut Acting<'_>) {
        let policy = &acting.settings.policy;
        let until = acting.present.wall + Micros::from(policy.dismissed_for);
        for key in self.keys_of(&feedback.subject, acting.present.now) {
            self.note_example(key, feedback, acting.present.now);
            let score = self.incidents.get(key).map_or(policy.block, |incident| incident.score);
            match feedback.verdict {
                Verdict::Confirmed => {
                    self.incidents.strike(key);
                    self.alone.end(key);
                }
                Verdict::Dismissed => {
                    self.alone.leave(key, until, score);
                    if let Some(incident) = self.incidents.dismiss(key) {
                        self.ended(incident, acting);
                    }
                }
            }
        }
    }

    /// The keys that a subject has among incidents: a path has one as a group, and one where logins fail.
    fn keys_of(&mut self, subject: &Subject, now: Micros) -> SmallVec<[u64; 2]> {
        let mut keys = SmallVec::new();
        match subject {
            Subject::User(name) => keys.push(self.intake.key_of(&Who::User(name.clone()))),
            Subject::Address(address) => keys.push(self.intake.key_of(&Who::Address(*address))),
            Subject::Group(attributes) => {
                let Some(group) = self.intake.group(attributes, now) else { return keys };
                keys.push(group_key(group));
                if let Group([MISSING, MISSING, path, MISSING]) = group {
                    keys.push(FAILURES + u64::from(path));
                }
            }
        }
        keys
    }

    /// Makes an example for models of a client and what was said of it: its features as they were judged last.
    fn note_example(&mut self, key: u64, feedback: &Feedback, now: Micros) {
        let judged = self.incidents.get(key).and_then(|incident| incident.vector.as_deref().copied());
        let vector = judged.or_else(|| self.labels.remembered(feedback.incident).copied()).or_else(|| {
            let client = self.clients.find(key).and_then(|place| self.clients.get_mut(place))?;
            (client.requests >= LEAST).then(|| client.vector(now))
        });
        if let Some(vector) = vector {
            self.labels.push(vector, feedback.verdict);
        }
    }
}
