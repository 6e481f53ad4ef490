//! From observations to events.
//!
//! Each domain is watched by itself ([`domain`]). A request becomes numbers ([`intake`]) and is noted with its client;
//! once a second everything else happens, in this order:
//!
//! 1. the numbers of requests and of new clients are held against what is usual; too many new clients are a surge;
//! 2. a surge's new clients are contrasted with those of calm times, and if it is an attack, its members are blocked,
//!    and groups that hardly any calm request belongs to are limited ([`members`]);
//! 3. every active client's features are held against those of calm clients, and the ladder is climbed ([`judge`]);
//! 4. what was done is renewed on new evidence, or ends ([`upkeep`]);
//! 5. what was calm is learned.

mod adopt;
mod alone;
pub mod checkpoint;
mod distress;
mod domain;
mod failures;
mod fusion;
mod intake;
mod judge;
pub mod judgement;
pub mod labels;
mod members;
pub mod models;
mod shared;
mod time;
mod upkeep;
mod word;
mod wording;

use std::time::Duration;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use self::domain::Domain;
use self::models::Models;
use self::time::Timeline;
use super::event::Event;
use super::observation::Observation;
use super::policy::Spared;
use crate::config::anomaly::{Anomaly, Policy};
use crate::core::clock::Micros;

/// The same observations and settings give the same events.
const SEED: u64 = 0x7469_6465;

/// Sees requests, and says once an interval what it makes of them. It has no clock and does no I/O.
///
/// Its memory is bounded: for each of `max_domains` domains, `max_clients` clients of about 600 bytes, as many incidents
/// as actions (about 700 bytes each), and 7 MB for the rest.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    time: Timeline,
    domains: HashMap<Box<str>, Domain, FixedState>,
    max_domains: usize,
    /// Requests of domains that are one too many.
    unwatched: u64,
    next_incident: u64,
    /// What it goes on from, until its first interval ends.
    left: Option<checkpoint::Left>,
    /// Loaded models of domains that were not seen yet.
    waiting: BTreeMap<Box<str>, Arc<Models>>,
    keeps_judgements: bool,
}

/// What all domains go by.
#[derive(Debug)]
struct Settings {
    policy: Policy,
    shadow: bool,
    max_clients: usize,
    warm_up: Micros,
    history: Micros,
    learning_pause: Micros,
    allow: Spared,
    protect: Spared,
}

/// The present.
#[derive(Clone, Copy, Debug)]
struct Present {
    /// On the engine's time, which never steps.
    now: Micros,
    /// Wall time.
    wall: Micros,
}

impl Present {
    /// The wall time of a point of the engine's time.
    fn wall_of(&self, time: Micros) -> Micros {
        self.wall + (time - self.now)
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(&Anomaly::default())
    }
}

impl Engine {
    /// One that knows nothing yet, with these settings.
    #[must_use]
    pub fn new(settings: &Anomaly) -> Self {
        let micros = |length: Duration| Micros::from(length);
        Self {
            settings: Settings {
                policy: settings.policy.clone(),
                shadow: settings.shadow,
                max_clients: settings.max_clients,
                warm_up: micros(settings.warm_up),
                history: micros(settings.history),
                learning_pause: micros(settings.learning_pause),
                allow: Spared::new(&settings.allow),
                protect: Spared::new(&settings.protect),
            },
            time: Timeline::default(),
            domains: HashMap::default(),
            max_domains: settings.max_domains,
            unwatched: 0,
            next_incident: 1,
            left: None,
            waiting: BTreeMap::new(),
            keeps_judgements: false,
        }
    }

    /// The same, with incidents numbered from here on: wall time in microseconds, so that numbers differ from those of
    /// engines before.
    #[must_use]
    pub fn numbered_from(mut self, first: u64) -> Self {
        self.next_incident = self.next_incident.max(first);
        self
    }

    /// How often [`Engine::tick`] wants to be called.
    #[must_use]
    pub const fn interval(&self) -> Micros {
        Micros::SECOND
    }

    /// Requests that were not looked at, because there are more domains than may be watched.
    #[must_use]
    pub const fn unwatched(&self) -> u64 {
        self.unwatched
    }

    /// Clients that are followed one by one, of all domains.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.domains.values().map(|domain| domain.clients.len()).sum()
    }

    /// Incidents that are open, of all domains.
    #[must_use]
    pub fn incidents(&self) -> usize {
        self.domains.values().map(|domain| domain.incidents.len()).sum()
    }

    /// One request. Cheap: what is expensive waits for the interval's end.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        let now = self.time.at(observation.at);
        match self.watched(observation.domain, now) {
            Some(domain) => domain.observe(observation, now),
            None => self.unwatched = self.unwatched.saturating_add(1),
        }
    }

    /// A domain, which is watched from now on, unless there are too many.
    fn watched(&mut self, name: &str, now: Micros) -> Option<&mut Domain> {
        if !self.domains.contains_key(name) {
            if self.domains.len() >= self.max_domains {
                return None;
            }
            let mut domain = Domain::new(name, &self.settings, now, SEED);
            domain.judged = self.keeps_judgements.then(Vec::new);
            if let Some(models) = self.waiting_for(name) {
                domain.models.load(models, now);
            }
            self.domains.insert(name.into(), domain);
        }
        self.domains.get_mut(name)
    }

    /// The end of an interval: what was found and done in it.
    pub fn tick(&mut self, now: Micros) -> Vec<Event> {
        let present = Present { now: self.time.at(now), wall: now };
        let mut events = Vec::new();
        let absence = self.left.take().map(|left| left.absence(now, present.now));
        let mut domains: Vec<&mut Domain> = self.domains.values_mut().collect();
        domains.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        for domain in domains {
            if let Some(absence) = absence {
                domain.come_back(absence, present, &self.settings, &mut self.next_incident, &mut events);
            }
            domain.tick(present, &self.settings, &mut self.next_incident, &mut events);
        }
        events
    }
}
