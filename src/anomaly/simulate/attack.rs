//! Attackers. Each source is an actor with an aim, a rate, and looks that are like calm traffic or not.

use fastrand::Rng;

use super::people::THINK_SIGMA;
use super::random::{Draw as _, seconds, span};
use super::scenario::{Options, Scenario, Window};
use super::site::{self, Page, Visit, Walk};
use super::world::Client;
use super::{Actor, Stage};
use crate::core::clock::Micros;

/// Part of the seed.
const SOURCES: u64 = 30;

/// The most requests a second of one source of a distributed flood: 30 a minute.
const SMALL: f64 = 0.5;
/// How many times as often as at first a poisoner comes in the end, and how often at first, a second.
const GROWTH: f64 = 100.0;
const AT_FIRST: f64 = 0.1;
/// A pulse, in seconds: on, then off.
const ON: f64 = 20.0;
const OFF: f64 = 40.0;
/// Of a pause that is regular, how much it may be off.
const JITTER: f64 = 0.1;
/// Tries that find a password.
const LUCK: f64 = 0.02;

/// What a scenario sends.
struct Plan {
    sources: u32,
    /// Requests a second of one source.
    rate: f64,
    rhythm: Rhythm,
    aim: Aim,
    overlap: f64,
}

/// How the rate changes.
#[derive(Clone, Copy)]
enum Rhythm {
    Steady,
    Pulses,
    Growing,
}

/// What requests are for that do not follow the walk of the site.
#[derive(Clone)]
enum Aim {
    /// One page, over and over.
    Flood(Visit),
    /// Somebody else's account.
    Login,
    /// Everything for sale, one after the other; the next.
    Catalogue(u32),
}

impl Plan {
    fn of(options: &Options, target: Visit) -> Self {
        let rate = options.rate;
        let flood = |sources: u32, total: f64, rhythm| Self {
            sources,
            rate: total / f64::from(sources),
            rhythm,
            aim: Aim::Flood(target),
            overlap: options.overlap,
        };
        match options.scenario {
            Scenario::DistributedFlood => flood(10_000, (rate * 10.0).min(10_000.0 * SMALL), Rhythm::Steady),
            Scenario::PulsingAttack => flood(50, rate * 5.0, Rhythm::Pulses),
            Scenario::SlowScraper => Self { aim: Aim::Catalogue(0), ..flood(1, 1.0 / 1.5, Rhythm::Steady) },
            Scenario::CredentialStuffing => Self { aim: Aim::Login, ..flood(200, 20.0, Rhythm::Steady) },
            Scenario::MimicPoisoner => Self { overlap: 1.0, ..flood(20, 20.0 * AT_FIRST, Rhythm::Growing) },
            Scenario::SingleSourceFlood | Scenario::Calm | Scenario::FlashCrowd => {
                flood(1, (rate * 3.0).max(100.0), Rhythm::Steady)
            }
        }
    }
}

/// Lets the sources of an attack begin at the start of `window` and end at its end.
pub(super) fn enter(stage: &mut Stage<'_>, options: &Options, window: Window) {
    let mut random = stage.world.generator(SOURCES, 0);
    let target = match random.u8(0..4) {
        0 => Visit::new("GET", "/search", Page::Search),
        1 => Visit::new("GET", "/", Page::Home),
        2 => Visit::new("POST", "/api/v1/suggest", Page::Api),
        _ => Visit::item(random.u32(0..site::ITEMS * site::SECTIONS.len() as u32)),
    };
    let plan = Plan::of(options, target);
    for number in 0..plan.sources {
        let mut random = stage.world.generator(SOURCES, u64::from(number) + 1);
        let client = stage.world.attacker(number, plan.overlap, options.scenario.name());
        let walk = Walk::new(false, &mut random);
        // Sources do not all begin at once, but within their first pause, at most some seconds.
        let at = window.from + span(random.between(0.0, (1.0 / plan.rate).min(5.0)));
        let (rate, rhythm, aim, overlap) = (plan.rate, plan.rhythm, plan.aim.clone(), plan.overlap);
        stage.enter(at, Attacker { client, walk, rate, rhythm, aim, overlap, window, random });
    }
}

struct Attacker {
    client: Client,
    walk: Walk,
    rate: f64,
    rhythm: Rhythm,
    aim: Aim,
    overlap: f64,
    window: Window,
    random: Rng,
}

impl Actor for Attacker {
    fn act(&mut self, stage: &mut Stage<'_>) -> Option<Micros> {
        if stage.now >= self.window.until {
            return None;
        }
        let (visit, answer) = self.visit();
        stage.request(&self.client, visit, answer);
        Some(self.next(stage.now))
    }
}

impl Attacker {
    fn visit(&mut self) -> (Visit, (u16, u64)) {
        let visit = match &mut self.aim {
            // What one came for is not given up for a disguise: half the requests at most are for show.
            Aim::Login | Aim::Catalogue(_) if self.random.chance(self.overlap / 2.0) => {
                self.walk.step(&mut self.random)
            }
            Aim::Flood(_) if self.random.chance(self.overlap) => self.walk.step(&mut self.random),
            Aim::Flood(target) => target.clone(),
            Aim::Catalogue(next) => {
                *next += 1;
                Visit::item(*next - 1)
            }
            Aim::Login => {
                let bytes = self.random.log_normal(900.0, 0.1) as u64;
                let answer = if self.random.chance(LUCK) { (303, 0) } else { (401, bytes) };
                return (Visit::new("POST", "/login", Page::Login), answer);
            }
        };
        let answer = visit.answer(&mut self.random);
        (visit, answer)
    }

    fn next(&mut self, now: Micros) -> Micros {
        let mean = match self.rhythm {
            Rhythm::Steady | Rhythm::Pulses => 1.0 / self.rate,
            Rhythm::Growing => 1.0 / (self.rate * GROWTH.powf(self.window.passed(now))),
        };
        let pause = if self.random.chance(self.overlap) {
            // The shape of people's pauses, at the attack's own rate.
            self.random.log_normal(mean * (-THINK_SIGMA * THINK_SIGMA / 2.0).exp(), THINK_SIGMA)
        } else {
            mean * self.random.between(1.0 - JITTER, 1.0 + JITTER)
        };
        let next = now + span(pause);
        if let Rhythm::Pulses = self.rhythm {
            let within = seconds(next - self.window.from) % (ON + OFF);
            if within >= ON {
                return next + span(ON + OFF - within + self.random.between(0.0, 0.5));
            }
        }
        next
    }
}
