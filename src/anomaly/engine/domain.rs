//! One domain: what is known of it, and the order of things.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::alone::Alone;
use super::distress::{self, Distress};
use super::failures::Failures;
use super::intake::{self, Intake};
use super::judgement::Judgement;
use super::labels::Labels;
use super::models::Learner;
use super::upkeep::CELLS;
use super::{Present, Settings};
use crate::anomaly::baseline::level::Level;
use crate::anomaly::baseline::population::{Population, Usual};
use crate::anomaly::baseline::season::Season;
use crate::anomaly::bounded;
use crate::anomaly::event::Event;
use crate::anomaly::features::client::Seen;
use crate::anomaly::features::clients::{Clients, Place, Who};
use crate::anomaly::features::decay::Count;
use crate::anomaly::features::walk::Walk;
use crate::anomaly::incidents::{About, Incidents};
use crate::anomaly::observation::Observation;
use crate::anomaly::policy::cover::Cell;
use crate::anomaly::surge::profile::{AGES, LEARNED};
use crate::anomaly::surge::{Calm, Surge};
use crate::core::clock::Micros;

/// New clients that are remembered in their order.
pub(super) const BORN: usize = 1 << 16;
/// Requests of a second that are remembered, and for so many seconds.
pub(super) const SAMPLED: usize = 1_024;
pub(super) const SECONDS: usize = 8;

/// A domain.
#[derive(Debug)]
pub struct Domain {
    pub(super) name: String,
    pub(super) intake: Intake,
    pub(super) clients: Clients,
    pub(super) walk: Walk,
    pub(super) traffic: Traffic,
    pub(super) surge: Option<Surge>,
    pub(super) calm: Memory,
    pub(super) usual: Usual,
    /// When it was taken.
    pub(super) usual_at: Micros,
    pub(super) models: Learner,
    pub(super) incidents: Incidents,
    pub(super) recent: Recent,
    /// Whom people said to leave alone, and what else they said.
    pub(super) alone: Alone,
    pub(super) labels: Labels,
    /// Judgements of the last second, where somebody asks for them.
    pub(super) judged: Option<Vec<Judgement>>,
    /// When it was first seen.
    pub(super) since: Micros,
    /// No surge begins before: after an absence many are new.
    pub(super) no_surge_before: Micros,
    /// Ticks so far.
    pub(super) ticks: u64,
}

/// Numbers of the present second, and what is usual.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    pub(super) requests: f64,
    pub(super) new: f64,
    pub(super) requests_level: Level,
    pub(super) new_level: Level,
    pub(super) requests_season: Season,
    pub(super) new_season: Season,
    pub(super) distress: Distress,
    pub(super) failures: Failures,
}

/// Calm traffic that is remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Clients' features.
    pub(super) population: Population,
    /// New clients' profiles.
    pub(super) profiles: Calm,
    /// A sample of requests.
    #[serde(deserialize_with = "bounded::list::<_, Cell, _, CELLS>")]
    pub(super) cells: VecDeque<Cell>,
    /// Requests, fading with an hour.
    pub(super) requests: Count,
    /// How many clients had calm traffic.
    pub(super) clients: usize,
}

/// What has just happened.
#[derive(Debug)]
pub struct Recent {
    /// Clients that were active in this second.
    pub(super) active: Vec<Place>,
    /// New clients, and how many were forgotten at the front.
    pub(super) born: VecDeque<(Micros, Place)>,
    /// Whose picture is taken when, by age.
    pub(super) pictures: [VecDeque<Place>; AGES.len()],
    /// Samples of the requests of the last seconds.
    pub(super) cells: VecDeque<Vec<Cell>>,
    /// Clients of this second that models were asked about.
    pub(super) asked: usize,
    /// Findings of this second whose reasons models worked out.
    pub(super) explained: usize,
    pub(super) random: fastrand::Rng,
}

impl Domain {
    pub(super) fn new(name: &str, settings: &Settings, now: Micros, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            intake: Intake::new(seed),
            clients: Clients::new(settings.max_clients, seed),
            walk: Walk::default(),
            traffic: Traffic::default(),
            surge: None,
            calm: Memory::default(),
            usual: Usual::default(),
            usual_at: Micros::ZERO,
            models: Learner::default(),
            incidents: Incidents::default(),
            recent: Recent {
                active: Vec::new(),
                born: VecDeque::new(),
                pictures: Default::default(),
                cells: VecDeque::from([Vec::new()]),
                asked: 0,
                explained: 0,
                random: fastrand::Rng::with_seed(seed),
            },
            alone: Alone::default(),
            labels: Labels::default(),
            judged: None,
            since: now,
            no_surge_before: Micros::ZERO,
            ticks: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Notes one request.
    pub(super) fn observe(&mut self, observation: &Observation<'_>, now: Micros) {
        let (seen, keys) = self.intake.read(observation, now);
        self.traffic.requests += 1.0;
        self.traffic.distress.observe(observation);
        if distress::is_auth_failure(observation) {
            self.traffic.failures.observe(seen.path);
        }
        let mut client = 0;
        let mut fresh_user = false;
        if let (Some(key), Some(user)) = (keys.user, observation.user) {
            let (place, new) = self.clients.enter(key, now, || Who::User(user.into()));
            fresh_user = new;
            client = key;
            self.note(place, &seen, true);
            if let Some(user) = self.clients.get_mut(place) {
                user.behind = keys.address.unwrap_or_default();
            }
        }
        if let (Some(key), Some(address)) = (keys.address, observation.address) {
            let (place, _) = self.clients.enter(key, now, || intake::who(address));
            // What users do is theirs; an address answers for those that were never seen before.
            if keys.user.is_none() || fresh_user {
                self.note(place, &Seen { fresh_user, address_hash: 0, ..seen }, false);
            }
            if keys.user.is_none() {
                client = key;
            }
        }
        self.recent
            .sample(self.traffic.requests, Cell { values: [seen.country, seen.asn, seen.path, seen.agent, 0], client });
    }

    fn note(&mut self, place: Place, seen: &Seen, named: bool) {
        let is_attack = self.is_attack();
        let Some(client) = self.clients.get_mut(place) else { return };
        if client.requests == 0 {
            client.born = seen.now;
            // It gave way to others while its incident went on, and comes back.
            if let Some(incident) = self.incidents.get_mut(place.key).filter(|incident| incident.place().is_some()) {
                incident.about = About::Client(place);
                client.suspected = true;
            }
            // Users that an address makes up are not new clients of their own, too.
            if named || !seen.fresh_user {
                self.traffic.new += 1.0;
                self.recent.be_born(seen.now, place);
            }
        } else if !client.suspected && !is_attack {
            self.walk.learn(client.profile.last_path, seen.path);
        }
        if client.in_interval == 0 {
            self.recent.active.push(place);
        }
        client.observe(seen, &self.walk, named);
    }

    /// Whether there is an attack from many sources.
    pub(super) fn is_attack(&self) -> bool {
        self.surge.as_ref().is_some_and(|surge| surge.attack)
    }

    /// Whether enough was seen to judge.
    pub(super) fn is_warm(&self, now: Micros, settings: &Settings) -> bool {
        now - self.since >= settings.warm_up
    }

    /// The end of a second.
    pub(super) fn tick(
        &mut self,
        present: Present,
        settings: &Settings,
        next_incident: &mut u64,
        events: &mut Vec<Event>,
    ) {
        self.ticks += 1;
        self.alone.forget(present.wall);
        self.incidents.recount();
        self.take_pictures(present.now, settings);
        let mut acting = super::upkeep::Acting { present, settings, next_incident, events };
        self.watch_surge(&mut acting);
        self.judge_clients(&mut acting);
        self.watch_failures(&mut acting);
        self.keep_up(&mut acting);
        self.learn(present, settings);
        self.recent.turn();
        (self.traffic.requests, self.traffic.new) = (0.0, 0.0);
    }

    /// Pictures of the clients that have come of an age; the oldest are learned from, if all was calm since they came.
    fn take_pictures(&mut self, now: Micros, settings: &Settings) {
        let adopted = self.is_adopted(now, settings);
        let onset = self.surge.as_ref().filter(|surge| surge.attack && !adopted).map(|surge| surge.onset);
        for (age, length) in AGES.into_iter().enumerate() {
            while let Some(place) = self.recent.pictures.get(age).and_then(|queue| queue.front()).copied() {
                let client = self.clients.get_mut(place).filter(|client| client.requests > 0);
                if client.as_ref().is_some_and(|client| now - client.born < length) {
                    break;
                }
                if let Some(queue) = self.recent.pictures.get_mut(age) {
                    queue.pop_front();
                }
                let Some(client) = client else { continue };
                client.picture(age);
                if let Some(next) = self.recent.pictures.get_mut(age + 1) {
                    next.push_back(place);
                }
                let calm = !client.suspected && onset.is_none_or(|onset| client.born < onset);
                // What is usual by now is learned from those, too, who were taken for its members.
                if age >= LEARNED && (calm || adopted) {
                    self.calm.profiles.learn(now, client.profile, now - settings.history);
                }
            }
        }
    }
}

impl Recent {
    fn be_born(&mut self, now: Micros, place: Place) {
        if self.born.len() == BORN {
            self.born.pop_front();
        }
        self.born.push_back((now, place));
        if let Some(first) = self.pictures.first_mut()
            && first.len() < BORN
        {
            first.push_back(place);
        }
    }

    /// Keeps each request of this second with the same chance.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of requests within a second")]
    fn sample(&mut self, so_far: f64, cell: Cell) {
        let Some(cells) = self.cells.back_mut() else { return };
        if cells.len() < SAMPLED {
            cells.push(cell);
        } else {
            let place = self.random.usize(..(so_far as usize).max(1));
            if let Some(kept) = cells.get_mut(place) {
                *kept = cell;
            }
        }
    }

    /// A new second begins.
    fn turn(&mut self) {
        self.active.clear();
        (self.asked, self.explained) = (0, 0);
        let next = if self.cells.len() == SECONDS { self.cells.pop_front() } else { None };
        let mut next = next.unwrap_or_default();
        next.clear();
        self.cells.push_back(next);
    }

    /// Numbers below `end`, by chance.
    pub(super) fn chance(&mut self, end: usize) -> usize {
        self.random.usize(..end.max(1))
    }
}
