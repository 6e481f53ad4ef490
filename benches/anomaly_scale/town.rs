//! Requests of a large site, second by second, from as many people as it takes to have so many clients; and those who
//! flood it. Seeded, and nothing is kept of anybody: who a person is follows from its number.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use tidegate::anomaly::observation::{Observation, Outcome};
use tidegate::core::clock::Micros;

/// People who name no user, those who do, and the addresses of the latter, of ten clients.
const ANONYMOUS: u64 = 28;
const USERS: u64 = 42;
const SHARED: u64 = 30;

/// How a flood hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disguise {
    /// A tool of its own, on two pages.
    Plain,
    /// User agents, countries and pages as people have them.
    AsPeople,
    /// The same, and each source makes up users.
    MadeUpUsers,
    /// From addresses that users share.
    Shared,
}

/// A flood.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    pub disguise: Disguise,
    pub sources: u64,
    /// Requests a second, of all of them.
    pub rate: u64,
    pub begins: u64,
    pub ends: u64,
}

/// One request, whose texts are used again for the next second's.
#[derive(Debug, Default)]
pub struct Line {
    at: Micros,
    user: String,
    address: u32,
    path: String,
    agent: u64,
    country: [u8; 2],
    status: u16,
}

/// The site.
pub struct Town {
    random: fastrand::Rng,
    people: u64,
    clients: u64,
    rate: u64,
    flood: Option<Flood>,
    agents: Vec<String>,
    came: u64,
    newcomers: u64,
    attacks: u64,
    lines: Vec<Line>,
}

impl Town {
    /// About `clients` clients make `rate` requests a second.
    pub fn new(clients: u64, rate: u64, flood: Option<Flood>) -> Self {
        Self {
            random: fastrand::Rng::with_seed(1),
            people: clients * (ANONYMOUS + USERS) / 100,
            clients,
            rate,
            flood,
            agents: (0..60).map(|number| format!("Mozilla/5.0 (Visitor {number}) Browser/{number}")).collect(),
            came: 0,
            newcomers: 0,
            attacks: 0,
            lines: Vec::new(),
        }
    }

    /// The requests of one second, in their order.
    pub fn second(&mut self, second: u64) -> impl Iterator<Item = Observation<'_>> {
        let flood = self.flood.filter(|flood| (flood.begins..flood.ends).contains(&second));
        let (people, attackers) = (self.rate, flood.map_or(0, |flood| flood.rate));
        let count = people + attackers;
        self.lines.resize_with(usize::try_from(count).unwrap(), Line::default);
        let mut lines = std::mem::take(&mut self.lines);
        let mut attacked = 0;
        for (index, line) in (0..count).zip(&mut lines) {
            line.at = Micros(1_700_000_000_000_000 + second * 1_000_000 + index * 1_000_000 / count);
            let due = (index + 1) * attackers / count;
            match flood.filter(|_| due > attacked) {
                Some(flood) => self.attack(line, flood),
                None => self.visit(line),
            }
            attacked = due;
        }
        self.lines = lines;
        self.lines.iter().map(|line| line.observation(&self.agents))
    }

    /// Half of the requests come from everybody in turn, half from few, and some of people who never came.
    fn visit(&mut self, line: &mut Line) {
        let person = match self.random.u64(..200) {
            0 => {
                self.newcomers += 1;
                self.people + self.newcomers
            }
            1..100 => {
                self.came += 1;
                // A step that has no factor in common with any number of people that is asked for here.
                self.came.wrapping_mul(15_485_863) % self.people
            }
            _ => {
                let chance = self.random.f64();
                (self.people as f64 * chance * chance) as u64
            }
        };
        line.user.clear();
        line.address = if mix(person) % (ANONYMOUS + USERS) < ANONYMOUS {
            0x0a00_0000 + u32::try_from(person).unwrap()
        } else {
            let _ = write!(line.user, "customer-{person}");
            self.shared(person)
        };
        let traits = mix(person ^ 0x51);
        line.agent = (traits % 60).min(traits / 60 % 60);
        line.country = country(traits / 3_600 % 30);
        self.page(line);
        line.status = if self.random.u8(..) < 5 { 404 } else { 200 };
    }

    /// One of the addresses that users share.
    fn shared(&self, person: u64) -> u32 {
        0x1400_0000 + u32::try_from(mix(person) % (self.clients * SHARED / 100)).unwrap()
    }

    fn page(&mut self, line: &mut Line) {
        line.path.clear();
        let page = (self.random.f64().powi(2) * 200.0) as u64;
        let _ = match page % 3 {
            0 => write!(line.path, "/products{}/{}", page / 3, self.random.u32(..100_000)),
            _ => write!(line.path, "/pages/{}/about", letters(page)),
        };
    }

    fn attack(&mut self, line: &mut Line, flood: Flood) {
        self.attacks += 1;
        let source = self.attacks % flood.sources;
        line.user.clear();
        line.status = 200;
        line.address = match flood.disguise {
            Disguise::Shared => self.shared(source),
            _ => 0x2800_0000 + u32::try_from(source).unwrap(),
        };
        if flood.disguise == Disguise::MadeUpUsers {
            let _ = write!(line.user, "made-up-{}", self.attacks / 20);
        }
        if flood.disguise == Disguise::Plain {
            line.path.clear();
            line.path.push_str(if self.random.bool() { "/search" } else { "/products3/1" });
            (line.agent, line.country) = (u64::MAX, country(40 + source % 5));
        } else {
            let traits = mix(source ^ 0x52);
            line.agent = (traits % 60).min(traits / 60 % 60);
            line.country = country(traits / 3_600 % 30);
            self.page(line);
        }
    }
}

impl Line {
    fn observation<'a>(&'a self, agents: &'a [String]) -> Observation<'a> {
        let agent = usize::try_from(self.agent).ok().and_then(|agent| agents.get(agent));
        Observation {
            at: self.at,
            domain: "town",
            user: Some(self.user.as_str()).filter(|user| !user.is_empty()),
            address: Some(IpAddr::V4(Ipv4Addr::from_bits(self.address))),
            method: "GET",
            path: &self.path,
            user_agent: Some(agent.map_or("flood/1", String::as_str)),
            country: Some(self.country),
            status: Some(self.status),
            bytes: Some(2_000),
            hits: 1,
            outcome: Outcome::Allowed,
            ..Observation::default()
        }
    }
}

fn country(number: u64) -> [u8; 2] {
    [b'A' + (number / 26) as u8, b'A' + (number % 26) as u8]
}

/// A number in letters, so that it is no name of a thing in a path.
fn letters(number: u64) -> &'static str {
    const WORDS: &str = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    let start = (number % 26) as usize;
    &WORDS[start..start + 3 + (number / 26) as usize]
}

/// Of splitmix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
