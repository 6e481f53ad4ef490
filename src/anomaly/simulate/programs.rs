//! Programs that are welcome: clients of the API, and crawlers.

use std::net::Ipv4Addr;

use fastrand::Rng;

use super::random::{Draw as _, span};
use super::record::LEGIT;
use super::site::{self, Page, Visit};
use super::world::Client;
use super::{Actor, Stage};
use crate::core::clock::Micros;

/// Shares of calm traffic.
const API: f64 = 0.12;
const CRAWLERS: f64 = 0.05;

/// Requests a second of one client of the API, on the average. Half of them call evenly, half in a batch a minute.
const API_RATE: f64 = 0.5;
/// How fast calls of a batch follow each other, a second.
const BATCH_SPEED: f64 = 8.0;
/// Requests a second that one crawler allows itself.
const CRAWL_RATE: f64 = 0.5;

const AGENTS: [&str; 4] = ["python-requests/2.32.3", "okhttp/4.12.0", "Go-http-client/2.0", "stock-sync/3.4"];
const CRAWLER_AGENTS: [&str; 2] = [
    "Mozilla/5.0 (compatible; examplebot/2.1; +https://search.example/bot.html)",
    "Mozilla/5.0 (compatible; findbot/1.0; +https://find.example/bot)",
];

/// Part of the seed.
const PROGRAMS: u64 = 20;

/// Lets them begin.
pub(super) fn enter(stage: &mut Stage<'_>, rate: f64) {
    for number in 0..count(rate * API, API_RATE) {
        let mut random = stage.world.generator(PROGRAMS, number);
        let client = Client {
            user: Some(format!("service-{number:04}").into()),
            address: Ipv4Addr::from_bits(0xAC10_0001 + number as u32).into(),
            agent: AGENTS[random.usize(0..AGENTS.len())].into(),
            country: "DE",
            label: LEGIT,
        };
        let batch = number % 2 == 1;
        // Services repeat themselves: each has a handful of calls.
        let calls = (0..4).map(|_| Visit::api(&mut random)).collect();
        let at = stage.now + span(random.between(0.0, 60.0_f64.min(1.0 / API_RATE)));
        let at = if batch { stage.now + span(random.between(0.0, 60.0)) } else { at };
        stage.enter(at, Service { client, calls, batch, made: 0, random });
    }
    for number in 0..count(rate * CRAWLERS, CRAWL_RATE) {
        let mut random = stage.world.generator(PROGRAMS + 1, number);
        let client = Client {
            user: None,
            address: Ipv4Addr::from_bits(0x0A00_0001 + number as u32).into(),
            agent: CRAWLER_AGENTS[number as usize % CRAWLER_AGENTS.len()].into(),
            country: "US",
            label: LEGIT,
        };
        let map = site::map();
        let next = random.usize(0..map.len());
        let at = stage.now + span(random.between(0.0, 1.0 / CRAWL_RATE));
        stage.enter(at, Crawler { client, map, next, random });
    }
}

fn count(rate: f64, of_one: f64) -> u64 {
    (rate / of_one).round().max(1.0) as u64
}

/// A client of the API.
struct Service {
    client: Client,
    calls: Vec<Visit>,
    batch: bool,
    made: u64,
    random: Rng,
}

impl Actor for Service {
    fn act(&mut self, stage: &mut Stage<'_>) -> Option<Micros> {
        const OF_A_BATCH: u64 = (60.0 * API_RATE) as u64;
        let visit = self.calls[self.made as usize % self.calls.len()].clone();
        let answer = visit.answer(&mut self.random);
        stage.request(&self.client, visit, answer);
        self.made += 1;
        let pause = match self.batch {
            false => 1.0 / API_RATE,
            true if self.made.is_multiple_of(OF_A_BATCH) => 60.0 - (OF_A_BATCH - 1) as f64 / BATCH_SPEED,
            true => 1.0 / BATCH_SPEED,
        };
        Some(stage.now + span(pause * self.random.between(0.97, 1.03)))
    }
}

/// A crawler: every page of the site's map in turn, and sometimes something for sale.
struct Crawler {
    client: Client,
    map: Vec<String>,
    next: usize,
    random: Rng,
}

impl Actor for Crawler {
    fn act(&mut self, stage: &mut Stage<'_>) -> Option<Micros> {
        let visit = if self.random.chance(0.5) {
            Visit::item(self.random.u32(0..site::ITEMS * site::SECTIONS.len() as u32))
        } else {
            self.next = (self.next + 1) % self.map.len();
            Visit::new("GET", self.map[self.next].clone(), Page::Section)
        };
        let answer = visit.answer(&mut self.random);
        stage.request(&self.client, visit, answer);
        Some(stage.now + span(self.random.between(0.8, 1.2) / CRAWL_RATE))
    }
}
