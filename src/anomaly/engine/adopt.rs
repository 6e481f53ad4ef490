//! What another engine did is taken over, so that nothing is found or done twice; and what is left of it after an absence.

use super::domain::Domain;
use super::members::group_key;
use super::upkeep::{Acting, FAILURES};
use super::{Engine, Present, Settings};
use crate::anomaly::event::{Event, Kind};
use crate::anomaly::features::clients::Who;
use crate::anomaly::features::names::MISSING;
use crate::anomaly::incidents::{About, Action, Incident, MOST_ID};
use crate::anomaly::policy::Rung;
use crate::anomaly::policy::cover::Group;
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// After a shorter silence, nobody is new who would not be new otherwise.
const SILENT: Micros = Micros::from_secs(5);
/// And after a longer one, for so long at most.
const MANY_NEW: Micros = Micros::from_secs(60);

impl Engine {
    /// Takes over what another engine did after the checkpoint that this one goes on from, or did without one: the incident
    /// is open under the same number, with the same action, or has ended.
    pub fn adopt(&mut self, event: &Event) {
        if self.time.is_fresh() {
            self.time.at(event.at);
        }
        let now = self.time.steady;
        if event.incident < MOST_ID {
            self.next_incident = self.next_incident.max(event.incident + 1);
        }
        let at = self.time.of(event.at).min(now);
        let expires = match event.kind {
            Kind::Tighten { expires, .. } | Kind::Block { expires, .. } => self.time.of(expires),
            Kind::Flag | Kind::Held | Kind::Release => now,
        };
        let max_actions = self.settings.policy.max_actions;
        if let Some(domain) = self.watched(&event.domain, now) {
            domain.adopt(event, at, expires, max_actions);
        }
    }
}

impl Domain {
    /// Whom an event is about: the key among incidents, and inside. What was never heard of is given a place.
    fn whom(&mut self, subject: &Subject, of_failures: bool, now: Micros) -> Option<(u64, About)> {
        let who = match subject {
            Subject::User(name) => Who::User(name.clone()),
            Subject::Address(address) => Who::Address(*address),
            Subject::Group(attributes) => {
                let group = self.intake.group(attributes, now)?;
                return Some(match group {
                    Group([MISSING, MISSING, path, MISSING]) if of_failures => {
                        (FAILURES + u64::from(path), About::Failures)
                    }
                    _ => (group_key(group), About::Group(group)),
                });
            }
        };
        let key = self.intake.key_of(&who);
        let (place, _) = self.clients.enter(key, now, || who);
        Some((key, About::Client(place)))
    }

    fn adopt(&mut self, event: &Event, at: Micros, expires: Micros, most: usize) {
        let of = |feature: &str| event.reasons.iter().any(|reason| reason.feature == feature);
        let Some((key, about)) = self.whom(&event.subject, of("auth_failures"), at) else { return };
        if event.kind == Kind::Release {
            if let Some(incident) = self.incidents.close(key) {
                self.settle(&incident);
            }
            return;
        }
        if self.incidents.get(key).is_none() {
            if self.incidents.len() >= most {
                return;
            }
            let place = if let About::Client(place) = about { Some(place) } else { None };
            if let Some(client) = place.and_then(|place| self.clients.get_mut(place)) {
                client.suspected = true;
            }
            let incident = Incident {
                id: event.incident,
                subject: event.subject.clone(),
                about,
                opened: at,
                evidence: at,
                member: of("new_clients") || of("relapse"),
                action: None,
                held: None,
                rate: requests(event),
                score: event.score,
                vector: None,
                reasons: event.reasons.clone(),
            };
            self.incidents.open(key, incident);
        }
        let touches = self.touched_by(about, event, at);
        let Some(incident) = self.incidents.get_mut(key) else { return };
        incident.id = event.incident;
        incident.evidence = incident.evidence.max(at);
        incident.score = event.score;
        incident.rate = requests(event);
        let action = |rung: Rung, effect: Effect| Some(Action { rung, effect, since: at, expires, touches });
        match event.kind {
            Kind::Tighten { effect, .. } => incident.action = action(Rung::Tighten, effect),
            Kind::Block { .. } => incident.action = action(Rung::Block, Effect::Block),
            Kind::Held => incident.held = Some(at),
            Kind::Flag | Kind::Release => {}
        }
        self.incidents.recount();
    }

    /// The share of calm traffic that an action would touch.
    #[expect(clippy::cast_precision_loss, reason = "a sample of requests")]
    fn touched_by(&self, about: About, event: &Event, now: Micros) -> f64 {
        match about {
            About::Client(place) => {
                let own = match event.kind {
                    // What it does in calm times is left to it.
                    Kind::Tighten { effect: Effect::Limit { .. }, .. } => 0.0,
                    _ => self.own_share(place, now),
                };
                (own + self.share_behind(place, now)).min(1.0)
            }
            About::Group(group) => {
                let found = self.calm.cells.iter().filter(|cell| group.has(&cell.values)).count();
                (found as f64 + 0.5) / (self.calm.cells.len() as f64 + 1.0)
            }
            About::Failures => 0.0,
        }
    }

    /// The client of an incident that has ended is suspected no more.
    pub(super) fn settle(&mut self, incident: &Incident) {
        if let Some(vector) = &incident.vector {
            self.labels.remember(incident.id, **vector);
        }
        if let Some(client) = incident.place().and_then(|place| self.clients.get_mut(place)) {
            client.suspected = false;
            client.strange = 0;
        }
    }

    /// Comes back after an absence of some length, of which some was not counted, and before which it was `before`.
    pub(super) fn come_back(
        &mut self,
        (length, uncounted, before): (Micros, Micros, Micros),
        present: Present,
        settings: &Settings,
        next_incident: &mut u64,
        events: &mut Vec<Event>,
    ) {
        if uncounted == Micros::ZERO {
            if length > SILENT {
                self.no_surge_before = present.now + length.min(MANY_NEW);
            }
            return;
        }
        // What is open was taken over in the meantime, or it is as old as what went before.
        for (_, incident) in self.incidents.all_mut() {
            if incident.evidence > before {
                incident.shift(uncounted);
            }
        }
        let mut acting = Acting { present, settings, next_incident, events };
        for key in self.incidents.keys() {
            if self.incidents.get(key).is_some_and(|incident| incident.evidence <= before) {
                self.release(key, &mut acting);
            }
        }
        self.surge = None;
        self.since = present.now;
    }
}

#[expect(clippy::cast_precision_loss, reason = "requests within a second")]
fn requests(event: &Event) -> f64 {
    event.requests as f64
}
