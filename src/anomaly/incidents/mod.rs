//! Incidents: from the first flag of a subject to its release.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::bounded;
use super::event::Reason;
use super::features::clients::Place;
use super::features::list::Vector;
use super::policy::Rung;
use super::policy::cover::Group;
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// Past incidents that are remembered, so that relapses are known.
const REMEMBERED: usize = 50_000;
/// More are never open: the most actions that can be set, and a few groups besides.
const MOST_OPEN: usize = 1_100_000;
/// Numbers of incidents stay below, so that they can be counted on.
pub const MOST_ID: u64 = u64::MAX / 2;
/// An action lasts at most so long: eight days.
const MOST_LENGTH: Micros = Micros::from_secs(8 * 86_400);
/// Reasons that an incident has at most.
const MOST_REASONS: usize = 16;
/// A relapse lasts at most so many times as long.
const MOST_STRIKES: u32 = 3;

/// Who it is about, inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    /// A client.
    Client(Place),
    /// A group.
    Group(Group),
    /// Failed logins on a path.
    Failures,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// How far up.
    pub rung: Rung,
    /// Lower limits how.
    pub effect: Effect,
    /// Since when.
    pub since: Micros,
    /// Until when, on the engine's time.
    pub expires: Micros,
    /// What share of calm traffic it touches.
    pub touches: f64,
}

/// One incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: u64,
    /// Whom it is about, for people.
    pub subject: Subject,
    /// And inside.
    pub about: About,
    /// When it was opened.
    pub opened: Micros,
    /// When there was evidence last.
    pub evidence: Micros,
    /// It belongs to a surge that was taken for an attack.
    pub member: bool,
    /// What is done.
    pub action: Option<Action>,
    /// When an action was last held back.
    pub held: Option<Micros>,
    /// Requests a second, at the last action.
    pub rate: f64,
    /// The last score.
    pub score: f64,
    /// The client's features at its last judging.
    pub vector: Option<Box<Vector>>,
    /// The last reasons.
    #[serde(deserialize_with = "bounded::list::<_, Reason, _, MOST_REASONS>")]
    pub reasons: Vec<Reason>,
}

impl Incident {
    /// Moves all its times by as much.
    pub fn shift(&mut self, by: Micros) {
        let action = self.action.as_mut().map(|action| [&mut action.since, &mut action.expires]);
        let times = [&mut self.opened, &mut self.evidence].into_iter().chain(&mut self.held);
        times.chain(action.into_iter().flatten()).for_each(|time| *time = *time - by);
    }

    fn is_sound(&self, key: u64, now: Micros) -> bool {
        let of_key = !matches!(self.about, About::Client(place) if place.key != key);
        let times = [self.opened, self.evidence].into_iter().chain(self.held).all(|time| time <= now);
        let figures = bounded::is_amount(self.rate) && (0.0..=1.0).contains(&self.score);
        let vector = self.vector.iter().flat_map(|vector| vector.iter()).all(|value| !value.is_infinite());
        of_key
            && times
            && figures
            && vector
            && self.id <= MOST_ID
            && self.action.is_none_or(|action| action.is_sound(now))
    }
}

impl Action {
    fn is_sound(&self, now: Micros) -> bool {
        let effect = match self.effect {
            Effect::Factor { factor, floor } => factor > 0.0 && factor <= 1.0 && floor >= 1,
            Effect::Limit { rate, burst } => rate > 0.0 && bounded::is_amount(rate) && burst >= 1,
            Effect::Block => true,
        };
        effect && self.since <= now && self.expires <= now + MOST_LENGTH && (0.0..=1.0).contains(&self.touches)
    }
}

/// Those that are open, and a memory of those that were.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Incidents {
    #[serde(deserialize_with = "bounded::map::<_, u64, Incident, _, MOST_OPEN>")]
    open: HashMap<u64, Incident, FixedState>,
    #[serde(deserialize_with = "bounded::map::<_, u64, u32, _, REMEMBERED>")]
    past: HashMap<u64, u32, FixedState>,
    #[serde(skip)]
    touched: f64,
    #[serde(skip)]
    actions: usize,
    #[serde(skip)]
    known: usize,
}

impl Incidents {
    /// The open incident of a key.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut Incident> {
        self.open.get_mut(&key)
    }

    /// The open incident of a key.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<&Incident> {
        self.open.get(&key)
    }

    /// Opens one.
    pub fn open(&mut self, key: u64, incident: Incident) {
        self.open.insert(key, incident);
    }

    /// Ends one; it is remembered.
    pub fn close(&mut self, key: u64) -> Option<Incident> {
        let incident = self.open.remove(&key)?;
        if incident.action.is_some() {
            self.strike(key);
        }
        Some(incident)
    }

    /// Counts as one that was acted upon.
    pub fn strike(&mut self, key: u64) {
        if self.past.len() >= REMEMBERED {
            self.past.clear();
        }
        let strikes = self.past.entry(key).or_default();
        *strikes = strikes.saturating_add(1).min(MOST_STRIKES);
    }

    /// Ends one that never was, if it is open, and forgets what was before.
    pub fn dismiss(&mut self, key: u64) -> Option<Incident> {
        self.past.remove(&key);
        self.open.remove(&key)
    }

    /// All that are open, to change them.
    pub fn all_mut(&mut self) -> impl Iterator<Item = (u64, &mut Incident)> {
        self.open.iter_mut().map(|(key, incident)| (*key, incident))
    }

    /// Keeps no more than so many, those with an action first, then the latest.
    pub fn keep(&mut self, most: usize) {
        if self.open.len() > most {
            let mut keys: Vec<(bool, u64, u64)> = self
                .open
                .iter()
                .map(|(key, incident)| (incident.action.is_none(), u64::MAX - incident.id, *key))
                .collect();
            keys.sort_unstable();
            keys.into_iter().skip(most).for_each(|(.., key)| {
                self.open.remove(&key);
            });
        }
    }

    /// Whether these are what incidents can be at `now`, after they were read.
    #[must_use]
    pub fn is_sound(&self, now: Micros) -> bool {
        self.open.iter().all(|(key, incident)| incident.is_sound(*key, now))
            && self.past.values().all(|strikes| *strikes <= MOST_STRIKES)
    }

    /// How often it was acted upon before.
    #[must_use]
    pub fn strikes(&self, key: u64) -> u32 {
        self.past.get(&key).copied().unwrap_or_default()
    }

    /// Keys of all that are open, in the order of their numbers.
    #[must_use]
    pub fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<(u64, u64)> = self.open.iter().map(|(key, incident)| (incident.id, *key)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Groups that are limited.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.open.values().filter(|incident| incident.action.is_some()).filter_map(|incident| match incident.about {
            About::Group(group) => Some(group),
            _ => None,
        })
    }

    /// Adds up again what the actions in force touch.
    pub fn recount(&mut self) {
        let actions = || self.open.values().filter_map(|incident| incident.action);
        self.touched = actions().map(|action| action.touches).sum();
        self.actions = actions().count();
        self.known = actions().filter(|action| action.touches > 0.0).count();
    }

    /// An action was taken that touches this share of calm traffic.
    pub fn count(&mut self, touches: f64) {
        self.touched += touches;
        self.actions += 1;
        self.known += usize::from(touches > 0.0);
    }

    /// The share of calm traffic that all actions touch.
    #[must_use]
    pub fn touched(&self) -> f64 {
        self.touched
    }

    /// Actions in force.
    #[must_use]
    pub fn actions(&self) -> usize {
        self.actions
    }

    /// Actions in force that touch clients of calm times.
    #[must_use]
    pub fn known(&self) -> usize {
        self.known
    }
}
