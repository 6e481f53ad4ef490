//! Traffic that never was: seeded scenarios, for tests and demonstrations.
//!
//! A [`Simulation`] is calm traffic and, from some moment on, an attack or a crowd. Everybody in it is an [`Actor`]
//! that says when it acts next; a heap wakes them in the order of time, so that records come out in order one by one
//! and only those who are about are in memory. Every actor draws from a generator of its own: the same seed has the
//! same calm traffic under every attack.
//!
//! Calm traffic, as shares of [`Options::rate`]:
//!
//! - 65 % people at home. They come as a Poisson process that swells and ebbs over the day, see twelve pages on the
//!   average (geometric) with log-normal pauses (median 6 s, mean 9.9 s), walk from page to page as a Markov chain, and
//!   their browsers make calls after some pages. Six of ten are logged in, four of five come again and again.
//! - 18 % people in twelve offices, each behind one address,
//! - 12 % programs that call the API: evenly, or in a batch every minute,
//! - 5 % crawlers that walk the site politely.
//!
//! The walk has about two hundred path templates. What the scenarios add is told at [`Scenario`].

mod attack;
mod people;
mod programs;
mod random;
mod record;
mod scenario;
mod site;
#[cfg(test)]
mod tests;
mod world;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

pub use record::{LEGIT, Record};
pub use scenario::{InvalidOptions, MAX_DURATION, MAX_RATE, Options, START, Scenario, Window};

use crate::core::clock::Micros;
use site::Visit;
use world::{Client, World};

/// Somebody in the simulation.
trait Actor: Send {
    /// Acts at [`Stage::now`], and says when it does so again, if it does. Makes at most one request.
    fn act(&mut self, stage: &mut Stage<'_>) -> Option<Micros>;
}

/// What an actor acts on.
struct Stage<'a> {
    now: Micros,
    world: &'a World,
    record: Option<Record>,
    newcomers: Vec<(Micros, Box<dyn Actor>)>,
}

impl Stage<'_> {
    /// `client` makes a request, which the site answers with `status` and `bytes`.
    fn request(&mut self, client: &Client, visit: Visit, (status, bytes): (u16, u64)) {
        self.record = Some(Record {
            at: self.now,
            user: client.user.clone(),
            address: client.address,
            method: visit.method,
            path: visit.path,
            status,
            bytes,
            user_agent: client.agent.clone(),
            country: client.country,
            label: client.label,
        });
    }

    /// Somebody new acts at `at`.
    fn enter(&mut self, at: Micros, actor: impl Actor + 'static) {
        self.newcomers.push((at, Box::new(actor)));
    }
}

/// An actor that waits for its time.
struct Due {
    at: Micros,
    /// Decides between those of the same time.
    order: u64,
    actor: Box<dyn Actor>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The requests of a scenario, in the order of time.
pub struct Simulation {
    world: World,
    end: Micros,
    due: BinaryHeap<Reverse<Due>>,
    order: u64,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("end", &self.end).field("actors", &self.due.len()).finish_non_exhaustive()
    }
}

impl Simulation {
    /// Sets the scene.
    ///
    /// # Errors
    /// When an option is out of its range.
    pub fn new(options: &Options) -> Result<Self, InvalidOptions> {
        let window = options.check()?;
        let world = World::new(options.seed, people::population(options.rate), options.nat);
        let mut stage = Stage { now: options.start, world: &world, record: None, newcomers: Vec::new() };
        people::enter(&mut stage, options.rate);
        programs::enter(&mut stage, options.rate);
        match options.scenario {
            Scenario::Calm => {}
            Scenario::FlashCrowd => people::enter_crowd(&mut stage, options.rate, window),
            _ => attack::enter(&mut stage, options, window),
        }
        let newcomers = stage.newcomers;
        let end = options.start + options.duration;
        let mut simulation = Self { world, end, due: BinaryHeap::new(), order: 0 };
        for (at, actor) in newcomers {
            simulation.wait(at, actor);
        }
        Ok(simulation)
    }

    fn wait(&mut self, at: Micros, actor: Box<dyn Actor>) {
        if at < self.end {
            self.order += 1;
            self.due.push(Reverse(Due { at, order: self.order, actor }));
        }
    }
}

impl Iterator for Simulation {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let Reverse(Due { at, mut actor, .. }) = self.due.pop()?;
            let mut stage = Stage { now: at, world: &self.world, record: None, newcomers: Vec::new() };
            let again = actor.act(&mut stage);
            let Stage { record, newcomers, .. } = stage;
            for (at, actor) in newcomers {
                self.wait(at, actor);
            }
            if let Some(again) = again {
                self.wait(again, actor);
            }
            if record.is_some() {
                return record;
            }
        }
    }
}
