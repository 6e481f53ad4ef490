//! Flags, actions, their renewal and their end; and what is learned at a second's end.

use super::domain::Domain;
use super::failures::Raised;
use super::{Present, Settings, wording};
use crate::anomaly::baseline::population::score;
use crate::anomaly::event::{Event, Kind, Reason};
use crate::anomaly::features::list::Vector;
use crate::anomaly::incidents::{About, Action, Incident};
use crate::anomaly::policy::Rung;
use crate::anomaly::policy::cover::Group;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// Calm requests that are kept of each second, and in all.
pub(super) const CELLS_A_SECOND: usize = 16;
pub(super) const CELLS: usize = 16_384;
/// The brake leaves room for so many, however few clients there are.
const LEAST_ACTIONS: usize = 5;
/// An action that was held is told again after so long.
const HELD_AGAIN: Micros = Micros::from_secs(300);
/// Failed logins on a path have this key among incidents, plus the path.
pub(super) const FAILURES: u64 = 0x6661_696c_0000_0000;

/// What acting takes.
pub struct Acting<'a> {
    pub present: Present,
    pub settings: &'a Settings,
    pub next_incident: &'a mut u64,
    pub events: &'a mut Vec<Event>,
}

/// Something that was found.
pub struct Finding {
    pub about: About,
    pub member: bool,
    pub score: f64,
    pub requests: u64,
    pub rate: f64,
    pub reasons: Vec<Reason>,
}

impl Domain {
    /// Opens an incident, or adds to it.
    pub(super) fn flag(&mut self, key: u64, subject: Subject, finding: Finding, acting: &mut Acting<'_>) {
        let now = acting.present.now;
        let vector = self.vector(finding.about, now);
        if let Some(incident) = self.incidents.get_mut(key) {
            incident.vector = vector;
            incident.evidence = now;
            incident.score = finding.score;
            incident.reasons = finding.reasons;
            incident.member |= finding.member;
            return;
        }
        if self.alone.is_dismissed(key, acting.present.wall, finding.score) {
            return;
        }
        if let About::Client(place) = finding.about {
            let allowed = self.clients.who(place).is_none_or(|who| acting.settings.allow.has(who));
            if allowed || self.incidents.len() >= acting.settings.policy.max_actions {
                return;
            }
            if let Some(client) = self.clients.get_mut(place) {
                client.suspected = true;
            }
        }
        let id = *acting.next_incident;
        *acting.next_incident += 1;
        let incident = Incident {
            id,
            subject,
            about: finding.about,
            opened: now,
            evidence: now,
            member: finding.member,
            action: None,
            held: None,
            rate: finding.rate,
            score: finding.score,
            vector,
            reasons: finding.reasons,
        };
        acting.events.push(self.event(&incident, Kind::Flag, finding.requests, acting));
        self.incidents.open(key, incident);
    }

    /// The features of the client that it is about.
    fn vector(&mut self, about: About, now: Micros) -> Option<Box<Vector>> {
        let About::Client(place) = about else { return None };
        self.clients.get_mut(place).map(|client| Box::new(client.vector(now)))
    }

    fn event(&self, incident: &Incident, kind: Kind, requests: u64, acting: &Acting<'_>) -> Event {
        Event {
            at: acting.present.wall,
            incident: incident.id,
            domain: self.name.clone(),
            subject: incident.subject.clone(),
            kind,
            score: incident.score,
            requests,
            reasons: incident.reasons.clone(),
        }
    }

    /// Acts, unless something holds it back.
    pub(super) fn act(&mut self, key: u64, mut action: Action, acting: &mut Acting<'_>) {
        let policy = &acting.settings.policy;
        let now = acting.present.now;
        let Some(incident) = self.incidents.get(key) else { return };
        let before = incident.action.map_or(0.0, |action| action.touches);
        let client = match incident.about {
            About::Client(place) | About::Shared(place, _) => Some(place),
            About::Group(_) | About::Failures => None,
        };
        let protected = client.and_then(|place| self.clients.who(place));
        let most_known = LEAST_ACTIONS.max(share_of(self.calm.clients, policy.brake));
        let held = if protected.is_some_and(|who| acting.settings.protect.has(who)) {
            Some("it is protected".to_owned())
        } else if self.alone.until(key, acting.present.wall).is_some() {
            Some("a person said that it is no attack".to_owned())
        } else if policy.only_in_distress && !self.traffic.distress.is_present() {
            Some("the service is not in distress".to_owned())
        } else if action.touches > 0.0 && self.incidents.touched() - before + action.touches > policy.gate {
            let touched = wording::percent(self.incidents.touched() - before + action.touches);
            Some(format!(
                "all actions would touch {touched} of calm traffic, at most {}",
                wording::percent(policy.gate)
            ))
        } else if action.touches > 1e-9 && self.incidents.known() >= most_known {
            Some(format!("{most_known} clients of calm times are limited already"))
        } else if self.incidents.actions() >= policy.max_actions {
            Some(format!("{} actions are in force already", policy.max_actions))
        } else {
            None
        };
        if let Some(why) = held {
            self.hold(key, why, acting);
            return;
        }
        let length = Micros::from(policy.duration).0.saturating_mul(1 << self.incidents.strikes(key).min(3));
        action.expires = now + Micros(length);
        if before > 0.0 || self.incidents.get(key).is_some_and(|incident| incident.action.is_some()) {
            // It takes the place of the one before.
        } else {
            self.incidents.count(action.touches);
        }
        let rate = self.incidents.get(key).and_then(Incident::place).and_then(|place| self.clients.get(place));
        let rate = rate.map(|client| client.recent(now) / 10.0);
        if let Some(incident) = self.incidents.get_mut(key) {
            incident.action = Some(action);
            incident.rate = rate.unwrap_or(incident.rate);
            incident.held = None;
        }
        self.tell(key, acting);
    }

    /// Tells the action that is in force.
    fn tell(&self, key: u64, acting: &mut Acting<'_>) {
        let Some((incident, action)) = self.incidents.get(key).and_then(|found| Some((found, found.action?))) else {
            return;
        };
        let expires = acting.present.wall_of(action.expires);
        let shadow = acting.settings.shadow;
        let kind = match action.rung {
            Rung::Block if action.effect == crate::core::adjustment::Effect::Block => Kind::Block { expires, shadow },
            _ => Kind::Tighten { effect: action.effect, expires, shadow },
        };
        let event = self.event(incident, kind, self.requests_of(incident), acting);
        acting.events.push(event);
    }

    fn requests_of(&self, incident: &Incident) -> u64 {
        let client = incident.place().and_then(|place| self.clients.get(place));
        client.map_or(0, |client| u64::from(client.in_interval))
    }

    /// An action is not taken.
    pub(super) fn hold(&mut self, key: u64, why: String, acting: &mut Acting<'_>) {
        let now = acting.present.now;
        let Some(incident) = self.incidents.get_mut(key) else { return };
        if incident.held.is_some_and(|held| now - held < HELD_AGAIN) {
            return;
        }
        incident.held = Some(now);
        let mut told = incident.clone();
        told.reasons.insert(0, wording::plain("held", 1.0, 0.0, why));
        let event = self.event(&told, Kind::Held, self.requests_of(&told), acting);
        acting.events.push(event);
    }

    /// Ends an incident.
    pub(super) fn release(&mut self, key: u64, acting: &mut Acting<'_>) {
        let Some(incident) = self.incidents.close(key) else { return };
        self.ended(incident, acting);
    }

    /// Tells that an incident has ended.
    pub(super) fn ended(&mut self, incident: Incident, acting: &mut Acting<'_>) {
        self.settle(&incident);
        let released = Incident { reasons: Vec::new(), ..incident };
        let event = self.event(&released, Kind::Release, 0, acting);
        acting.events.push(event);
    }

    /// Renews what there is new evidence for, and ends what there is none for.
    pub(super) fn keep_up(&mut self, acting: &mut Acting<'_>) {
        let now = acting.present.now;
        let policy = &acting.settings.policy;
        let half = Micros(Micros::from(policy.duration).0 / 2);
        let calm_for = Micros::from(policy.calm_for);
        let attack = self.is_attack();
        for key in self.incidents.keys() {
            let Some(incident) = self.incidents.get(key) else { continue };
            // Who is blocked shows nothing but that it goes on.
            let last = match incident.about {
                About::Client(place) => match self.clients.get(place) {
                    Some(client) if incident.member && attack => incident.evidence.max(client.last),
                    Some(client) if client.recent(now) / 10.0 >= 0.5 * incident.rate && incident.rate > 0.0 => {
                        incident.evidence.max(client.last)
                    }
                    _ => incident.evidence,
                },
                About::Shared(place, _) => match self.clients.get(place) {
                    Some(client) if client.recent(now) / 10.0 >= 0.5 * incident.rate => {
                        incident.evidence.max(client.last)
                    }
                    _ => incident.evidence,
                },
                About::Group(group) if self.group_rate(group) >= 0.2 * incident.rate.max(1.0) => now,
                About::Group(_) | About::Failures => incident.evidence,
            };
            if let Some(incident) = self.incidents.get_mut(key) {
                incident.evidence = last;
            }
            let Some(incident) = self.incidents.get(key) else { continue };
            match incident.action {
                None if now - last >= calm_for => self.release(key, acting),
                None => {}
                Some(action) if now >= action.expires => self.release(key, acting),
                Some(action) if action.expires - now <= half && last > action.since && now - last < half => {
                    let strikes = self.incidents.strikes(key).min(3);
                    let length = Micros::from(policy.duration).0.saturating_mul(1 << strikes);
                    if let Some(action) = self.incidents.get_mut(key).and_then(|incident| incident.action.as_mut()) {
                        action.since = now;
                        action.expires = now + Micros(length);
                    }
                    self.tell(key, acting);
                }
                Some(_) => {}
            }
        }
    }

    /// Requests of a group in the last seconds, a second.
    #[expect(clippy::cast_precision_loss, reason = "a sample of requests")]
    fn group_rate(&self, group: Group) -> f64 {
        let found = self.recent.cells.iter().flatten().filter(|cell| group.has(&cell.values)).count();
        found as f64 / self.recent.cells.len().max(1) as f64
    }

    /// Failed logins from many sources.
    pub(super) fn watch_failures(&mut self, acting: &mut Acting<'_>) {
        let times = self.traffic.requests / self.traffic.requests_level.usual().max(1.0);
        let raised = self.traffic.failures.tick(acting.present.now, times);
        let Some(Raised { path, present, usual }) = raised else { return };
        let group = Group([0, 0, path, 0, 0]);
        if !self.is_warm(acting.present.now, acting.settings) {
            return;
        }
        let Some(subject) = wording::subject(group, &self.intake) else { return };
        let text = format!("{present:.1} failed logins or refused requests a second, usually {usual:.1}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "requests within ten seconds")]
        let requests = (present * 10.0) as u64;
        let finding = Finding {
            about: About::Failures,
            member: false,
            score: score(3.0 + (present / usual.max(0.1)).log10() * 3.0),
            requests,
            rate: present,
            reasons: vec![wording::plain("auth_failures", present, usual, text)],
        };
        self.flag(FAILURES + u64::from(path), subject, finding, acting);
    }

    /// What was calm becomes what is usual.
    pub(super) fn learn(&mut self, present: Present, settings: &Settings) {
        let Present { now, wall } = present;
        let adopted = self.is_adopted(now, settings);
        let attack = self.is_attack() && !adopted;
        let calm = self.surge.is_none() && self.incidents.is_empty();
        self.traffic.distress.tick(calm);
        if self.surge.is_none() || adopted {
            let (requests, new) = (self.traffic.requests, self.traffic.new);
            self.traffic.new_level.learn(new);
            self.traffic.new_season.learn(wall, new);
            if calm || adopted || requests <= 2.0 * self.traffic.requests_level.usual() {
                self.traffic.requests_level.learn(requests);
                self.traffic.requests_season.learn(wall, requests);
            }
        }
        if !attack {
            self.learn_cells(adopted);
        }
        let every = if now - self.since < Micros::from_secs(600) { 10 } else { 60 };
        if self.ticks.is_multiple_of(every) && now - self.since >= settings.warm_up - Micros::from_secs(10) {
            (self.usual, self.usual_at) = (self.calm.population.usual(), now);
        }
    }

    /// Keeps a few of this second's requests, of clients without an incident; of all, when what goes on is what is usual.
    fn learn_cells(&mut self, adopted: bool) {
        let Some(count) = self.recent.cells.back().map(Vec::len).filter(|count| *count > 0) else { return };
        for _ in 0..CELLS_A_SECOND.min(count) {
            let place = self.recent.chance(count);
            let Some(cell) = self.recent.cells.back().and_then(|cells| cells.get(place)).copied() else { continue };
            let suspected = self.clients.find(cell.client).and_then(|place| self.clients.get(place));
            if !adopted && suspected.is_some_and(|client| client.suspected) {
                continue;
            }
            if self.calm.cells.len() == CELLS {
                self.calm.cells.pop_front();
            }
            self.calm.cells.push_back(cell);
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of clients"
)]
fn share_of(count: usize, share: f64) -> usize {
    (count as f64 * share) as usize
}
