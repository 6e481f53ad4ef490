//! Incidents: from the first flag of a subject to its release.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::event::Reason;
use super::features::clients::Place;
use super::policy::Rung;
use super::policy::cover::Group;
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// Past incidents that are remembered, so that relapses are known.
const REMEMBERED: usize = 50_000;
/// A relapse lasts at most so many times as long.
const MOST_STRIKES: u32 = 3;

/// Who it is about, inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A client.
    Client(Place),
    /// A group.
    Group(Group),
    /// A group of the requests from an address that users share.
    Shared(Place, Group),
    /// Failed logins on a path.
    Failures,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq)]
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
#[derive(Clone, Debug)]
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
    /// The last reasons.
    pub reasons: Vec<Reason>,
}

/// Those that are open, and a memory of those that were.
#[derive(Debug, Default)]
pub struct Incidents {
    open: HashMap<u64, Incident, FixedState>,
    past: HashMap<u64, u32, FixedState>,
    touched: f64,
    actions: usize,
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
            if self.past.len() >= REMEMBERED {
                self.past.clear();
            }
            let strikes = self.past.entry(key).or_default();
            *strikes = (*strikes + 1).min(MOST_STRIKES);
        }
        Some(incident)
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

    /// Groups that are limited of the requests from an address.
    pub fn groups_of(&self, place: Place) -> impl Iterator<Item = Group> {
        self.open.values().filter(|incident| incident.action.is_some()).filter_map(move |incident| {
            match incident.about {
                About::Shared(shared, group) if shared == place => Some(group),
                _ => None,
            }
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
