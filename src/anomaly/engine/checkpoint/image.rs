//! One domain in a checkpoint.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::super::SEED;
use super::super::Settings;
use super::super::alone::Alone;
use super::super::domain::{BORN, Domain, Memory, SAMPLED, SECONDS, Traffic};
use super::super::labels::Labels;
use super::CheckpointError;
use crate::anomaly::baseline::population::Usual;
use crate::anomaly::bounded;
use crate::anomaly::features::client::Brief;
use crate::anomaly::features::clients::Place;
use crate::anomaly::features::names::{Name, Names as Empty};
use crate::anomaly::features::walk::Walk;
use crate::anomaly::incidents::{About, Incidents};
use crate::anomaly::policy::cover::Cell;
use crate::anomaly::surge::Surge;
use crate::anomaly::surge::profile::AGES;
use crate::core::clock::Micros;

/// Names of one kind, and clients, are never more.
const MOST_NAMES: usize = 1 << 16;
const MOST_CLIENTS: usize = 10_000_000;
/// Pictures that are still to be taken.
const PICTURES: usize = BORN * AGES.len();

/// As it is written.
#[derive(Serialize)]
pub(super) struct Image<'a> {
    name: &'a str,
    names: [&'a [Name]; 4],
    clients: Vec<Brief>,
    walk: &'a Walk,
    traffic: &'a Traffic,
    surge: Option<&'a Surge>,
    calm: &'a Memory,
    incidents: &'a Incidents,
    /// New clients: when, and which of the clients above.
    born: Vec<(Micros, u32)>,
    /// Whose picture is to be taken: at which age, and which of the clients above.
    pictures: Vec<(u8, u32)>,
    cells: &'a VecDeque<Vec<Cell>>,
    alone: &'a Alone,
    labels: &'a Labels,
    random: [u64; 2],
    since: Micros,
    ticks: u64,
}

/// As it is read.
#[derive(Deserialize)]
pub(super) struct Loaded {
    name: String,
    names: [Names; 4],
    #[serde(deserialize_with = "bounded::list::<_, Brief, _, MOST_CLIENTS>")]
    clients: Vec<Brief>,
    walk: Walk,
    traffic: Traffic,
    surge: Option<Surge>,
    calm: Memory,
    incidents: Incidents,
    #[serde(deserialize_with = "bounded::list::<_, (Micros, u32), _, BORN>")]
    born: Vec<(Micros, u32)>,
    #[serde(deserialize_with = "bounded::list::<_, (u8, u32), _, PICTURES>")]
    pictures: Vec<(u8, u32)>,
    #[serde(deserialize_with = "bounded::list::<_, Second, _, SECONDS>")]
    cells: Vec<Second>,
    alone: Alone,
    labels: Labels,
    random: [u64; 2],
    since: Micros,
    ticks: u64,
}

#[derive(Deserialize)]
struct Names(#[serde(deserialize_with = "bounded::list::<_, Name, _, MOST_NAMES>")] Vec<Name>);

#[derive(Deserialize)]
struct Second(#[serde(deserialize_with = "bounded::list::<_, Cell, _, SAMPLED>")] Vec<Cell>);

impl<'a> Image<'a> {
    /// Of a domain at `now`; its clients in at most `most` bytes.
    pub(super) fn of(domain: &'a Domain, now: Micros, most: usize) -> Self {
        let onset = domain.surge.as_ref().map(|surge| surge.onset);
        let (clients, positions) = domain.clients.briefs(now, onset, most);
        let position = |place: &Place| {
            domain.clients.get(*place)?;
            positions.get(usize::try_from(place.slot).ok()?).copied().flatten()
        };
        let recent = &domain.recent;
        let pictures = (0_u8..).zip(&recent.pictures);
        Self {
            name: &domain.name,
            names: [&domain.intake.agents, &domain.intake.paths, &domain.intake.countries, &domain.intake.systems]
                .map(|names| names.names()),
            clients,
            walk: &domain.walk,
            traffic: &domain.traffic,
            surge: domain.surge.as_ref(),
            calm: &domain.calm,
            incidents: &domain.incidents,
            born: recent.born.iter().filter_map(|(at, place)| Some((*at, position(place)?))).collect(),
            pictures: pictures
                .flat_map(|(age, queue)| queue.iter().take(BORN).map(move |place| (age, place)))
                .filter_map(|(age, place)| Some((age, position(place)?)))
                .collect(),
            cells: &recent.cells,
            alone: &domain.alone,
            labels: &domain.labels,
            random: [domain.clients.random(), recent.random.get_seed()],
            since: domain.since,
            ticks: domain.ticks,
        }
    }
}

impl Loaded {
    /// Requests a second, usually.
    pub(super) fn requests(&self) -> f64 {
        self.traffic.requests_level.usual()
    }

    /// The domain, as of `now`.
    pub(super) fn into_domain(mut self, settings: &Settings, now: Micros) -> Result<Domain, CheckpointError> {
        self.check(now).map_err(CheckpointError::Damaged)?;
        let mut domain = Domain::new(&self.name, settings, self.since, SEED);
        let intake = &mut domain.intake;
        let kinds = [&mut intake.agents, &mut intake.paths, &mut intake.countries, &mut intake.systems];
        for (kind, names) in kinds.into_iter().zip(self.names) {
            let empty = std::mem::replace(kind, Empty::new(0));
            *kind = empty.with(names.0).ok_or(CheckpointError::Damaged("it has more names than there is room for"))?;
        }
        let clients: Vec<(u64, Brief)> =
            self.clients.into_iter().map(|brief| (domain.intake.key_of(&brief.who), brief)).collect();
        let places = domain.clients.take_back(&clients, now);
        let place = |position: u32| places.get(usize::try_from(position).ok()?).copied().flatten();
        domain.recent.born = self.born.into_iter().filter_map(|(at, client)| Some((at, place(client)?))).collect();
        for (age, client) in self.pictures {
            if let (Some(queue), Some(place)) = (domain.recent.pictures.get_mut(usize::from(age)), place(client)) {
                queue.push_back(place);
            }
        }
        if !self.cells.is_empty() {
            domain.recent.cells = self.cells.into_iter().map(|second| second.0).collect();
        }
        self.incidents.keep(settings.policy.max_actions);
        for (key, incident) in self.incidents.all_mut() {
            if let About::Client(place) = &mut incident.about {
                // Who was forgotten is found again under no place.
                *place = domain.clients.find(key).unwrap_or(Place { slot: u32::MAX, key });
            }
        }
        self.incidents.recount();
        domain.usual = match now - self.since >= settings.warm_up - Micros::from_secs(10) {
            true => self.calm.population.usual(),
            false => Usual::default(),
        };
        let [of_clients, of_recent] = self.random;
        domain.clients.go_on(of_clients);
        domain.recent.random.seed(of_recent);
        (domain.walk, domain.traffic, domain.surge) = (self.walk, self.traffic, self.surge);
        (domain.calm, domain.incidents, domain.ticks) = (self.calm, self.incidents, self.ticks);
        (domain.alone, domain.labels) = (self.alone, self.labels);
        Ok(domain)
    }

    /// Whether this is what a domain can be; otherwise, what is wrong with it.
    fn check(&mut self, now: Micros) -> Result<(), &'static str> {
        let (traffic, calm) = (&self.traffic, &mut self.calm);
        let levels = [&traffic.requests_level, &traffic.new_level].iter().all(|level| level.is_sound())
            && [&traffic.requests_season, &traffic.new_season].iter().all(|season| season.is_sound())
            && [traffic.requests, traffic.new].into_iter().all(bounded::is_amount)
            && traffic.distress.is_sound()
            && traffic.failures.is_sound();
        let memory = calm.population.recount()
            && calm.profiles.is_sound()
            && calm.requests.is_sound(now)
            && calm.clients <= usize::MAX / 2
            && self.walk.is_sound();
        let surge = self.surge.as_ref().is_none_or(|surge| surge.is_sound(now));
        let checks = [
            (levels, "its levels are no amounts"),
            (memory, "its calm traffic is out of range"),
            (self.clients.iter().all(|client| client.is_sound(now)), "its clients are out of range"),
            (self.incidents.is_sound(now) && surge, "its incidents are out of range"),
            (self.alone.is_sound() && self.labels.is_sound(), "what people said is out of range"),
            (self.since <= now && self.ticks < u64::MAX / 2, "its times are out of range"),
        ];
        checks.into_iter().find(|(sound, _)| !sound).map_or(Ok(()), |(_, what)| Err(what))
    }
}
