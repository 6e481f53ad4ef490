//! People: sessions at home and in offices, and a crowd of them.

use std::f64::consts::TAU;

use fastrand::Rng;

use super::random::{Draw as _, seconds, span};
use super::scenario::Window;
use super::site::{self, Page, Visit, Walk};
use super::world::Client;
use super::{Actor, Stage};
use crate::core::clock::Micros;

/// Shares of calm traffic.
const HOME: f64 = 0.65;
const OFFICE: f64 = 0.18;

/// Pages of a session, on the average.
const PAGES: f64 = 12.0;
/// Pauses between pages: the median in seconds, and the deviation of its logarithm.
pub(super) const THINK_MEDIAN: f64 = 6.0;
pub(super) const THINK_SIGMA: f64 = 1.0;
/// Of the sessions at home, those of strangers.
const STRANGERS: f64 = 0.2;
/// How often somebody who comes again does so, in seconds.
const RETURN: f64 = 2.0 * 3600.0;

/// How many times calm traffic a crowd brings in addition, and in how many seconds it gathers.
const CROWD: f64 = 9.0;
const GATHERING: f64 = 60.0;

/// Parts of the seed.
const ARRIVALS: u64 = 10;
const CROWD_ARRIVALS: u64 = 11;
const STRANGER: u64 = 1 << 40;

/// The mean pause, in seconds: of a log-normal.
pub(super) fn mean_pause() -> f64 {
    THINK_MEDIAN * (THINK_SIGMA * THINK_SIGMA / 2.0).exp()
}

/// How many sessions at once make `rate` requests a second.
fn sessions(rate: f64) -> f64 {
    rate * mean_pause() / site::REQUESTS_PER_PAGE
}

/// How long a session is, in seconds.
fn session_length() -> f64 {
    PAGES * mean_pause()
}

/// How many people come again and again to a site with this rate.
pub(super) fn population(rate: f64) -> u64 {
    (sessions(rate * HOME) / session_length() * RETURN) as u64
}

/// Lets people come, some of whom are there already.
pub(super) fn enter(stage: &mut Stage<'_>, rate: f64) {
    for (number, place, share) in [(0, Place::Home, HOME), (1, Place::Office, OFFICE)] {
        let mut random = stage.world.generator(ARRIVALS, number);
        // A session has no memory of its length, so whoever is there already is as somebody who comes, but within a
        // pause; and one is rather met within a long pause than within a short one.
        let met = THINK_MEDIAN * (THINK_SIGMA * THINK_SIGMA).exp();
        for _ in 0..random.poisson(sessions(rate * share)) {
            let pause = random.log_normal(met, THINK_SIGMA);
            let at = stage.now + span(random.between(0.0, pause));
            let session = place.session(stage, &mut random);
            stage.enter(at, session);
        }
        let arrivals = Arrivals { place, rate: rate * share, start: stage.now, random };
        stage.enter(stage.now, arrivals);
    }
}

/// Where people come from.
#[derive(Clone, Copy, Debug)]
enum Place {
    Home,
    Office,
}

impl Place {
    fn session(self, stage: &Stage<'_>, random: &mut Rng) -> Session {
        let client = match self {
            Self::Home => {
                let regular = stage.world.regular(random);
                let stranger = STRANGER + random.u64(0..STRANGER);
                stage.world.person(if random.chance(STRANGERS) { stranger } else { regular })
            }
            Self::Office => stage.world.clerk(random),
        };
        Session::new(client, random.fork())
    }
}

/// How busy a time of the day is: from 0.4 at 2:00 UTC to 1.6 at 14:00.
pub(super) fn busy(at: Micros) -> f64 {
    1.0 - 0.6 * (TAU * (seconds(at) / 86_400.0 - 2.0 / 24.0)).cos()
}

/// Lets sessions begin, one after the other.
struct Arrivals {
    place: Place,
    /// Requests a second at the start.
    rate: f64,
    start: Micros,
    random: Rng,
}

impl Actor for Arrivals {
    fn act(&mut self, stage: &mut Stage<'_>) -> Option<Micros> {
        // The first call only finds out when the first of them comes.
        if stage.now > self.start {
            let session = self.place.session(stage, &mut self.random);
            stage.enter(stage.now, session);
        }
        let rate = self.rate * busy(stage.now) / busy(self.start);
        Some(stage.now + span(self.random.exponential(session_length() / sessions(rate))))
    }
}

/// A visit of somebody, page by page.
pub(super) struct Session {
    client: Client,
    walk: Walk,
    landing: Option<Visit>,
    /// Calls that the browser still makes.
    follow_ups: u32,
    random: Rng,
}

impl Session {
    fn new(client: Client, mut random: Rng) -> Self {
        let walk = Walk::new(client.user.is_some(), &mut random);
        Self { client, walk, landing: None, follow_ups: 0, random }
    }
}

impl Actor for Session {
    fn act(&mut self, stage: &mut Stage<'_>) -> Option<Micros> {
        let visit = if self.follow_ups > 0 {
            self.follow_ups -= 1;
            Visit::api(&mut self.random)
        } else {
            let visit = self.landing.take().unwrap_or_else(|| self.walk.step(&mut self.random));
            self.follow_ups = site::follow_ups(visit.page, &mut self.random);
            visit
        };
        let answer = visit.answer(&mut self.random);
        stage.request(&self.client, visit, answer);
        if self.follow_ups > 0 {
            return Some(stage.now + span(self.random.between(0.04, 0.4)));
        }
        let goes = self.random.chance(1.0 / PAGES);
        (!goes).then(|| stage.now + span(self.random.log_normal(THINK_MEDIAN, THINK_SIGMA)))
    }
}

/// Lets a crowd gather at the start of `window` and go at its end.
pub(super) fn enter_crowd(stage: &mut Stage<'_>, rate: f64, window: Window) {
    let mut random = stage.world.generator(CROWD_ARRIVALS, 0);
    let landing = Visit::item(random.u32(0..site::ITEMS * site::SECTIONS.len() as u32));
    stage.enter(window.from, Crowd { sessions: sessions(rate * CROWD), window, landing, random });
}

struct Crowd {
    /// Once it has gathered.
    sessions: f64,
    window: Window,
    landing: Visit,
    random: Rng,
}

impl Actor for Crowd {
    fn act(&mut self, stage: &mut Stage<'_>) -> Option<Micros> {
        let since = seconds(stage.now - self.window.from);
        if stage.now >= self.window.until {
            return None;
        }
        let number = if self.random.chance(0.15) {
            stage.world.regular(&mut self.random)
        } else {
            STRANGER + self.random.u64(0..STRANGER)
        };
        let mut session = Session::new(stage.world.person(number), self.random.fork());
        session.landing = Some(match self.random.chance(0.8) {
            true => self.landing.clone(),
            false => Visit::new("GET", "/", Page::Home),
        });
        stage.enter(stage.now, session);
        // As many come as go, and while the crowd gathers, more.
        let there = (since / GATHERING).min(1.0);
        let gathering = if since < GATHERING { self.sessions / GATHERING } else { 0.0 };
        let arrivals = gathering + self.sessions * there / session_length();
        Some(stage.now + span(self.random.exponential(1.0 / arrivals)))
    }
}
