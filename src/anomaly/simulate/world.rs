//! Who lives in the simulated world: people, offices, and what attackers look like when they do not care.
//!
//! Everybody is made of the seed and a number when needed, and kept nowhere, so the world may have millions.
//!
//! Addresses are nobody's: offices have those for documentation, crawlers and programs private ones, and people live in
//! the reserved network 240.0.0.0/4, of which every country has a /9, or in 2001:db8::/32, of which it has a /40.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use fastrand::Rng;

use super::random::{Draw as _, Weighted, generator};
use super::record::LEGIT;

/// Countries and how much of calm traffic they make.
const COUNTRIES: [(&str, f64); 28] = [
    ("DE", 30.0),
    ("FR", 11.0),
    ("GB", 11.0),
    ("US", 9.0),
    ("NL", 6.0),
    ("PL", 5.0),
    ("IT", 5.0),
    ("ES", 4.0),
    ("AT", 4.0),
    ("CH", 4.0),
    ("BE", 2.0),
    ("SE", 2.0),
    ("DK", 1.5),
    ("CZ", 1.5),
    ("PT", 1.0),
    ("IE", 1.0),
    ("NO", 1.0),
    ("FI", 0.8),
    ("RO", 0.6),
    ("HU", 0.5),
    ("JP", 0.5),
    ("CA", 0.5),
    ("AU", 0.4),
    ("IN", 0.4),
    ("BR", 0.3),
    ("VN", 0.15),
    ("ID", 0.15),
    ("NG", 0.1),
];
/// From which on attackers come who do not care.
const FAR: usize = 23;

/// What attackers' tools call themselves.
const TOOLS: [&str; 5] = [
    "python-requests/2.31.0",
    "Go-http-client/1.1",
    "axios/0.21.1",
    "Java/1.8.0_181",
    "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/49.0.2623.112 Safari/537.36",
];

pub(super) const OFFICES: u32 = 12;
/// People of one office.
const DESKS: u32 = 60;

/// Of people with an attacker in their network, when addresses are shared: how many use the attacker's tool from the
/// attacker's country.
const LOOKALIKES: f64 = 0.02;

/// Parts of the seed.
const PEOPLE: u64 = 1;
const OFFICE: u64 = 2;
const ATTACK: u64 = 3;

/// Somebody who makes requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) user: Option<Arc<str>>,
    pub(super) address: IpAddr,
    pub(super) agent: Arc<str>,
    pub(super) country: &'static str,
    pub(super) label: &'static str,
}

#[derive(Debug)]
pub(super) struct World {
    seed: u64,
    agents: Weighted<Arc<str>>,
    countries: Weighted<usize>,
    /// People who come again and again.
    pub(super) population: u64,
    /// What attackers look like who do not care.
    tool: Arc<str>,
    homes: [usize; 3],
    /// Whether legitimate people share addresses and looks with attackers.
    nat: bool,
}

impl World {
    pub(super) fn new(seed: u64, population: u64, nat: bool) -> Self {
        let mut random = generator(seed, ATTACK, 0);
        let mut far: Vec<usize> = (FAR..COUNTRIES.len()).collect();
        random.shuffle(&mut far);
        Self {
            seed,
            agents: Weighted::new(agents()),
            countries: Weighted::new(COUNTRIES.iter().enumerate().map(|(at, &(_, weight))| (at, weight))),
            population: population.max(1),
            tool: TOOLS[random.usize(0..TOOLS.len())].into(),
            homes: [far[0], far[1], far[2]],
            nat,
        }
    }

    /// A generator for a part of the story.
    pub(super) fn generator(&self, part: u64, number: u64) -> Rng {
        generator(self.seed, part, number)
    }

    /// Somebody at home: below [`World::population`] those who come again, above it strangers.
    pub(super) fn person(&self, number: u64) -> Client {
        let mut random = generator(self.seed, PEOPLE, number);
        let mut country = *self.countries.draw(&mut random);
        let mut agent = self.agents.draw(&mut random).clone();
        let user = random.chance(0.6).then(|| format!("user-{number:06}").into());
        if random.chance(LOOKALIKES) && self.nat {
            (country, agent) = (self.homes[random.usize(0..3)], self.tool.clone());
        }
        Client { user, address: home(country, &mut random), agent, country: COUNTRIES[country].0, label: LEGIT }
    }

    /// Somebody who comes often; the lower the number, the more often.
    pub(super) fn regular(&self, random: &mut Rng) -> u64 {
        (random.f64().powf(2.5) * self.population as f64) as u64
    }

    /// Somebody in an office; all of it share one address, and most of them one browser.
    pub(super) fn clerk(&self, random: &mut Rng) -> Client {
        let (office, desk) = (random.u32(0..OFFICES), random.u32(0..DESKS));
        let mut own = generator(self.seed, OFFICE, u64::from(office) << 32);
        let country = *self.countries.draw(&mut own);
        let standard = self.agents.draw(&mut own).clone();
        let mut own = generator(self.seed, OFFICE, (u64::from(office) << 32) | (u64::from(desk) + 1));
        let agent = if own.chance(0.8) { standard } else { self.agents.draw(&mut own).clone() };
        let user = own.chance(0.7).then(|| format!("clerk-{office:02}-{desk:02}").into());
        Client { user, address: office_address(office), agent, country: COUNTRIES[country].0, label: LEGIT }
    }

    /// Source `number` of an attack. Each of its looks is like that of calm traffic with probability `overlap`.
    pub(super) fn attacker(&self, number: u32, overlap: f64, label: &'static str) -> Client {
        let mut random = generator(self.seed, ATTACK, u64::from(number) + 1);
        let country = match random.chance(overlap) {
            true => *self.countries.draw(&mut random),
            false => self.homes[random.usize(0..3)],
        };
        let agent = if random.chance(overlap) { self.agents.draw(&mut random).clone() } else { self.tool.clone() };
        let mut client =
            Client { user: None, address: home(country, &mut random), agent, country: COUNTRIES[country].0, label };
        if self.nat {
            self.share(number, &mut client, &mut random);
        }
        client
    }

    /// Puts the attacker behind an address that others have, too: the first behind an office's, of the others every
    /// twentieth behind that of somebody who comes often.
    fn share(&self, number: u32, client: &mut Client, random: &mut Rng) {
        if number == 0 {
            let country = *self.countries.draw(&mut generator(self.seed, OFFICE, 0));
            (client.address, client.country) = (office_address(0), COUNTRIES[country].0);
        } else if number.is_multiple_of(20) {
            let victim = self.person(self.regular(random));
            (client.address, client.country) = (victim.address, victim.country);
        }
    }
}

fn office_address(office: u32) -> IpAddr {
    let net = [[192, 0, 2], [198, 51, 100], [203, 0, 113]][office as usize % 3];
    Ipv4Addr::new(net[0], net[1], net[2], 10 + (office / 3) as u8).into()
}

/// An address at home: a fifth have IPv6.
fn home(country: usize, random: &mut Rng) -> IpAddr {
    let country = country as u32;
    if random.chance(0.2) {
        let network =
            u128::from(0x2001_0db8_u32) << 96 | u128::from(country) << 88 | u128::from(random.u32(0..1 << 24)) << 64;
        return Ipv6Addr::from_bits(network | u128::from(random.u64(..))).into();
    }
    Ipv4Addr::from_bits(0xF000_0000 | country << 23 | random.u32(1..1 << 23)).into()
}

/// Browsers, and how many people have them.
fn agents() -> Vec<(Arc<str>, f64)> {
    let mut agents: Vec<(Arc<str>, f64)> = Vec::new();
    // New versions are what most people have.
    let newest = |version: u32, last: u32| 0.45_f64.powi((last - version) as i32);
    let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
    for (system, weight) in
        [("Windows NT 10.0; Win64; x64", 24.0), ("Macintosh; Intel Mac OS X 10_15_7", 8.0), ("X11; Linux x86_64", 3.0)]
    {
        for version in 139..=143 {
            let chrome = format!("Mozilla/5.0 ({system}) {webkit} Chrome/{version}.0.0.0 Safari/537.36");
            agents.push((format!("{chrome} Edg/{version}.0.0.0").into(), 0.3 * weight * newest(version, 143)));
            agents.push((chrome.into(), weight * newest(version, 143)));
            let firefox = format!("Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0");
            agents.push((firefox.into(), 0.25 * weight * newest(version, 143)));
        }
    }
    for version in 140..=143 {
        let chrome = format!("Mozilla/5.0 (Linux; Android 10; K) {webkit} Chrome/{version}.0.0.0 Mobile Safari/537.36");
        agents.push((chrome.into(), 22.0 * newest(version, 143)));
    }
    for (system, weight) in [("17_6", 3.0), ("18_5", 6.0), ("18_7", 14.0)] {
        let version = system.replace('_', ".");
        let safari = format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS {system} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/{version} Mobile/15E148 Safari/604.1"
        );
        agents.push((safari.into(), weight));
    }
    agents
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn people_are_the_same_whenever_they_come() {
        let world = World::new(7, 1_000, false);
        for number in 0..50 {
            let (once, again) = (world.person(number), world.person(number));
            assert_eq!((once.address, &once.agent, &once.user), (again.address, &again.agent, &again.user));
        }
        let addresses: HashSet<_> = (0..5_000).map(|number| world.person(number).address).collect();
        assert!(addresses.len() > 4_990, "{}", addresses.len());
    }

    #[test]
    fn no_address_belongs_to_anybody() {
        let world = World::new(1, 1_000, false);
        let clients = (0..2_000).map(|number| world.person(number));
        for client in clients.chain((0..2_000).map(|number| world.attacker(number, 0.5, "attack"))) {
            let reserved = match client.address {
                IpAddr::V4(address) => address.octets()[0] >= 240 && !address.is_broadcast(),
                IpAddr::V6(address) => address.segments()[..2] == [0x2001, 0xdb8],
            };
            assert!(reserved, "{}", client.address);
        }
    }

    #[test]
    fn overlap_is_the_share_of_attackers_that_look_ordinary() {
        let world = World::new(3, 1_000, false);
        let ordinary = |overlap| {
            (0..4_000).filter(|&number| world.attacker(number, overlap, "attack").agent != world.tool).count()
        };
        assert_eq!(ordinary(0.0), 0);
        assert!((1_850..2_150).contains(&ordinary(0.5)), "{}", ordinary(0.5));
        assert_eq!(ordinary(1.0), 4_000);
    }

    #[test]
    fn shared_addresses_have_legitimate_people_behind_them() {
        let shared = |nat| {
            let world = World::new(5, 2_000, nat);
            let people: HashSet<_> = (0..2_000).map(|number| world.person(number).address).collect();
            (0..1_000).filter(|&number| people.contains(&world.attacker(number, 0.0, "attack").address)).count()
        };
        assert_eq!(shared(false), 0);
        assert!((40..=50).contains(&shared(true)), "{}", shared(true));
        let world = World::new(5, 2_000, true);
        assert_eq!(world.attacker(0, 0.0, "attack").address, office_address(0));
    }
}
