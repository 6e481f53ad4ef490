//! A small site and its visitors, and those who attack it; seeded. It is not the simulator of the product, so that the
//! engine is not tuned on what it is shown with.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};

use fastrand::Rng;

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    None,
    SingleFlood,
    DistributedFlood,
    FlashCrowd,
    Stuffing,
    SpreadStuffing,
    Scraper,
    Pulsing,
}

impl Attack {
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::SingleFlood,
        Self::DistributedFlood,
        Self::FlashCrowd,
        Self::Stuffing,
        Self::SpreadStuffing,
        Self::Scraper,
        Self::Pulsing,
    ];
}

/// What differs between worlds.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub attack: Attack,
    pub seed: u64,
    /// When the attack begins and ends, and the log ends, seconds.
    pub begins: f64,
    pub ends: f64,
    pub span: f64,
    /// The chance of each trait of an attacker to be drawn as visitors' are.
    pub overlap: f64,
    /// Visitors share addresses with attackers.
    pub nat: bool,
    /// Visitors that begin a session a second.
    pub sessions: f64,
    /// Seconds between two requests of a source of a distributed flood.
    pub gap: f64,
    /// Attackers have users of their own.
    pub named: bool,
    /// Sources that take part.
    pub sources: usize,
    /// Requests a second of a flood from one source.
    pub flood: f64,
}

impl Shape {
    pub fn of(attack: Attack, seed: u64) -> Self {
        Self {
            attack,
            seed,
            begins: 240.0,
            ends: 420.0,
            span: 440.0,
            overlap: 0.0,
            nat: false,
            sessions: 3.0,
            gap: 10.0,
            named: false,
            sources: 10_000,
            flood: 200.0,
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: f64,
    pub user: Option<String>,
    pub address: IpAddr,
    pub method: &'static str,
    pub path: String,
    pub agent: String,
    pub country: [u8; 2],
    pub status: u16,
    pub bytes: u64,
    pub attack: bool,
}

const PAGES: usize = 60;
const COUNTRIES: usize = 25;
const AGENTS: usize = 40;
const OFFICES: usize = 12;

pub struct World {
    shape: Shape,
    random: Rng,
    actors: Vec<Actor>,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    next_visitor: u32,
    next_session: f64,
    pages: Vec<Vec<usize>>,
    regulars: Vec<Visitor>,
    targets: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Visitor {
    user: Option<String>,
    address: IpAddr,
    agent: String,
    country: [u8; 2],
}

#[derive(Clone, Debug)]
struct Actor {
    who: Visitor,
    kind: Kind,
    page: usize,
    left: u32,
    attack: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Visitor,
    Batch,
    Crawler,
    Flood { regular: bool, usual_paths: f64 },
    Source { gap: f64, regular: bool, usual_paths: f64 },
    Stuffing { gap: f64 },
    Scraper { gap: f64 },
}

fn pick(random: &mut Rng, count: usize) -> usize {
    // Zipf, about: the first ones are many times as common as the last.
    let x = random.f64();
    ((count as f64 + 1.0).powf(x) - 1.0) as usize % count
}

fn normal(random: &mut Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}

fn address(network: u8, number: u32) -> IpAddr {
    let [_, b, c, d] = number.to_be_bytes();
    Ipv4Addr::new(network, b, c, d).into()
}

fn country(number: usize) -> [u8; 2] {
    [b'A' + (number / 26) as u8, b'A' + (number % 26) as u8]
}

fn agent(number: usize) -> String {
    format!("Mozilla/5.0 (Visitor {number}) Browser/{}", 100 + number)
}

fn page(number: usize, random: &mut Rng) -> String {
    match number {
        0 => "/".to_owned(),
        1 => "/login".to_owned(),
        2 => "/search".to_owned(),
        _ if number.is_multiple_of(3) => format!("/section{number}/{}", random.u32(1..5_000)),
        _ => format!("/page{}/about", ["a", "b", "c"][number % 3].repeat(number / 3 + 1)),
    }
}

impl World {
    pub fn new(shape: Shape) -> Self {
        let mut random = Rng::with_seed(shape.seed);
        let pages = (0..PAGES).map(|_| (0..6).map(|_| pick(&mut random, PAGES)).collect()).collect();
        let mut world = Self {
            shape,
            random,
            actors: Vec::new(),
            due: BinaryHeap::new(),
            next_visitor: 0,
            next_session: 0.0,
            pages,
            regulars: Vec::new(),
            targets: Vec::new(),
        };
        world.targets = vec![2, 3 + 3 * world.random.usize(..10)];
        for _ in 0..600 {
            let regular = world.visitor();
            world.regulars.push(regular);
        }
        for number in 0..3 {
            let mut who = world.visitor();
            (who.user, who.agent) = (Some(format!("batch-{number}")), format!("batch/{number}"));
            world.start(0.5 + number as f64, Actor { who, kind: Kind::Batch, page: 0, left: u32::MAX, attack: false });
        }
        for number in 0..2 {
            let mut who = world.visitor();
            (who.user, who.agent) = (None, format!("Crawler/{number} (+http://crawler.example)"));
            world.start(0.5, Actor { who, kind: Kind::Crawler, page: 0, left: u32::MAX, attack: false });
        }
        // Sessions that are under way.
        for _ in 0..(shape.sessions * 40.0) as usize {
            let at = world.random.f64() * 30.0;
            world.session(at, false);
        }
        world.start_attack();
        world
    }

    fn start(&mut self, at: f64, actor: Actor) {
        self.due.push(Reverse(((at * 1e6) as u64, self.actors.len())));
        self.actors.push(actor);
    }

    fn visitor(&mut self) -> Visitor {
        let random = &mut self.random;
        self.next_visitor += 1;
        let number = self.next_visitor;
        let office = random.f64() < 0.2;
        let address = if office { address(20, random.u32(..OFFICES as u32)) } else { address(10, number) };
        Visitor {
            user: (random.f64() < 0.8).then(|| format!("user-{number}")),
            address,
            agent: agent(pick(random, AGENTS)),
            country: country(pick(random, COUNTRIES)),
        }
    }

    fn session(&mut self, at: f64, landing: bool) {
        let regular = self.random.f64() < 0.5 && !self.regulars.is_empty() && !landing;
        let mut who = if regular {
            let place = self.random.usize(..self.regulars.len());
            self.regulars[place].clone()
        } else {
            self.visitor()
        };
        let shape = self.shape;
        if shape.nat && shape.attack == Attack::DistributedFlood && who.user.is_some() && self.random.f64() < 0.1 {
            who.address = address(30, self.random.u32(..shape.sources as u32));
        }
        let left = 1 + (-(self.random.f64().max(1e-9)).ln() * 8.0) as u32;
        let page = if landing && self.random.f64() < 0.7 { PAGES - 1 } else { pick(&mut self.random, 10) };
        self.start(at, Actor { who, kind: Kind::Visitor, page, left, attack: false });
    }

    fn attacker(&mut self, number: u32) -> Visitor {
        let overlap = self.shape.overlap;
        let user = self.shape.named.then(|| format!("bot-{number}"));
        let usual = self.visitor();
        let random = &mut self.random;
        Visitor {
            user,
            address: address(30, number),
            agent: if random.f64() < overlap { usual.agent } else { format!("tool/{}", random.u32(..5)) },
            country: if random.f64() < overlap { usual.country } else { country(15 + random.usize(..15)) },
        }
    }

    fn start_attack(&mut self) {
        let shape = self.shape;
        let begins = shape.begins;
        match shape.attack {
            Attack::None | Attack::FlashCrowd => {}
            Attack::SingleFlood | Attack::Pulsing => {
                let mut who = self.attacker(1);
                if shape.nat {
                    who.address = address(20, 1);
                }
                let regular = self.random.f64() >= shape.overlap;
                let kind = Kind::Flood { regular, usual_paths: shape.overlap };
                self.start(begins, Actor { who, kind, page: 0, left: u32::MAX, attack: true });
            }
            Attack::DistributedFlood => {
                for number in 0..shape.sources as u32 {
                    let who = self.attacker(number);
                    let regular = self.random.f64() >= shape.overlap;
                    let kind = Kind::Source { gap: shape.gap, regular, usual_paths: shape.overlap };
                    let at = begins + self.random.f64() * shape.gap;
                    self.start(at, Actor { who, kind, page: 0, left: u32::MAX, attack: true });
                }
            }
            Attack::Stuffing | Attack::SpreadStuffing => {
                let spread = shape.attack == Attack::SpreadStuffing;
                for number in 0..if spread { 300 } else { 1 } {
                    let mut who = self.attacker(number);
                    if shape.nat && number == 0 {
                        who.address = address(20, 1);
                    }
                    let kind = Kind::Stuffing { gap: if spread { 60.0 } else { 1.0 } };
                    let at = begins + self.random.f64() * 10.0;
                    self.start(at, Actor { who, kind, page: 0, left: u32::MAX, attack: true });
                }
            }
            Attack::Scraper => {
                let mut who = self.attacker(1);
                if shape.nat {
                    who.address = address(20, 1);
                }
                let kind = Kind::Scraper { gap: 1.5 };
                self.start(begins, Actor { who, kind, page: 1_000, left: u32::MAX, attack: true });
            }
        }
    }

    /// Sessions that begin a second, at that time.
    fn arrivals(&self, at: f64) -> f64 {
        let Shape { sessions, begins, ends, .. } = self.shape;
        if self.shape.attack != Attack::FlashCrowd || at < begins || at > ends {
            return sessions;
        }
        sessions * (1.0 + 9.0 * ((at - begins) / 60.0).min(1.0))
    }

    fn think(&mut self, median: f64) -> f64 {
        (median.ln() + 0.9 * normal(&mut self.random)).exp().min(120.0)
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -self.random.f64().max(1e-9).ln() * mean
    }

    fn act(&mut self, at: f64, index: usize) -> Option<Line> {
        let mut actor = self.actors[index].clone();
        let mut line = Line {
            at,
            user: actor.who.user.clone(),
            address: actor.who.address,
            method: "GET",
            path: String::new(),
            agent: actor.who.agent.clone(),
            country: actor.who.country,
            status: 200,
            bytes: self.random.u64(500..20_000),
            attack: actor.attack,
        };
        let target = |world: &mut Self, usual_paths: f64| {
            if world.random.f64() < usual_paths {
                pick(&mut world.random, PAGES)
            } else {
                world.targets[world.random.usize(..world.targets.len())]
            }
        };
        let next = match actor.kind {
            Kind::Visitor => {
                line.path = page(actor.page, &mut self.random);
                if self.random.f64() < 0.02 {
                    line.status = 404;
                }
                if actor.page == 1 {
                    line.method = "POST";
                    line.status = if self.random.f64() < 0.1 { 401 } else { 302 };
                }
                actor.left -= 1;
                actor.page = if self.random.f64() < 0.9 {
                    self.pages[actor.page][self.random.usize(..6)]
                } else {
                    pick(&mut self.random, PAGES)
                };
                if actor.left == 0 { f64::INFINITY } else { self.think(5.0) }
            }
            Kind::Batch => {
                line.path = "/api/v1/export".to_owned();
                // Half a minute of work, then a pause.
                if (at as u64 / 30).is_multiple_of(2) { 0.25 } else { 30.0 }
            }
            Kind::Crawler => {
                line.path = page(self.random.usize(..PAGES), &mut self.random);
                2.0
            }
            Kind::Flood { regular, usual_paths } => {
                let number = target(self, usual_paths);
                line.path = page(number, &mut self.random);
                let gap = 1.0 / self.shape.flood;
                let pause = self.shape.attack == Attack::Pulsing && (at - self.shape.begins) % 60.0 > 20.0;
                if pause {
                    40.0
                } else if regular {
                    gap
                } else {
                    self.exponential(gap)
                }
            }
            Kind::Source { gap, regular, usual_paths } => {
                let number = target(self, usual_paths);
                line.path = page(number, &mut self.random);
                if regular { gap * (0.98 + 0.04 * self.random.f64()) } else { self.think(gap * 0.7) }
            }
            Kind::Stuffing { gap } => {
                (line.path, line.method) = ("/login".to_owned(), "POST");
                line.status = if self.random.f64() < 0.02 { 302 } else { 401 };
                self.exponential(gap)
            }
            Kind::Scraper { gap } => {
                actor.page += 1;
                line.path = format!("/section3/{}", actor.page);
                gap * (0.7 + 0.6 * self.random.f64())
            }
        };
        self.actors[index] = actor;
        let next = at + next;
        let until = if line.attack { self.shape.ends } else { self.shape.span };
        if next < until {
            self.due.push(Reverse(((next * 1e6) as u64, index)));
        }
        Some(line)
    }
}

impl Iterator for World {
    type Item = Line;
    fn next(&mut self) -> Option<Line> {
        let actor = self.due.peek().map_or(f64::INFINITY, |Reverse((at, _))| *at as f64 / 1e6);
        if self.next_session < self.shape.span && self.next_session <= actor {
            let at = self.next_session;
            let arrivals = self.arrivals(at);
            let crowd = self.shape.attack == Attack::FlashCrowd && self.random.f64() > self.shape.sessions / arrivals;
            self.session(at, crowd);
            self.next_session += self.exponential(1.0 / arrivals);
            return self.next();
        }
        let Reverse((at, index)) = self.due.pop()?;
        self.act(at as f64 / 1e6, index)
    }
}
