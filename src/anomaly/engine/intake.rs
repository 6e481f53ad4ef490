//! From an observation to numbers: texts are hashed once and become small ids.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::anomaly::features::client::Seen;
use crate::anomaly::features::clients::Who;
use crate::anomaly::features::names::{Id, MISSING, Names, OTHER};
use crate::anomaly::features::template;
use crate::anomaly::observation::{Observation, Outcome};
use crate::anomaly::policy::cover::Group;
use crate::core::client::network;
use crate::core::clock::Micros;
use crate::core::subject::Attribute;

const AGENTS: usize = 4_096;
const PATHS: usize = 2_048;
const COUNTRIES: usize = 700;
const SYSTEMS: usize = 8_192;
/// Paths whose template is remembered.
const REMEMBERED: usize = 1 << 14;
/// A name may give way when it was not met for so many seconds.
const STALE: u32 = 3_600;

/// The names of a domain.
#[derive(Debug)]
pub struct Intake {
    pub agents: Names,
    pub paths: Names,
    pub countries: Names,
    pub systems: Names,
    templates: Box<[(u64, Id)]>,
    half: u32,
    buffer: String,
    hasher: FixedState,
}

/// Whom a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub user: Option<u64>,
    pub address: Option<u64>,
}

impl Intake {
    pub fn new(seed: u64) -> Self {
        Self {
            agents: Names::new(AGENTS),
            paths: Names::new(PATHS),
            countries: Names::new(COUNTRIES),
            systems: Names::new(SYSTEMS),
            templates: vec![(0, MISSING); REMEMBERED].into(),
            half: 0,
            buffer: String::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// The request in numbers, at `now` of the engine's time.
    pub fn read(&mut self, observation: &Observation<'_>, now: Micros) -> (Seen, Keys) {
        let tick = tick(now);
        let stale = tick.saturating_sub(STALE);
        let half = tick / 300;
        if half != self.half {
            self.half = half;
            self.templates.fill((0, MISSING));
        }
        let agent_text = observation.user_agent.filter(|agent| !agent.is_empty());
        let agent_hash = agent_text.map_or(0, |agent| self.hash(agent));
        let path_hash = self.hash(observation.path);
        let denied = matches!(observation.outcome, Outcome::Limited | Outcome::LimitedByAdjustment);
        let user = observation.user.filter(|user| !user.is_empty());
        let keys = Keys {
            user: user.map(|user| self.hash(user).max(1)),
            address: observation.address.map(|address| self.hash(&network(address)).max(1)),
        };
        let seen = Seen {
            now,
            half,
            path: self.template(observation.path, path_hash, tick, stale),
            path_hash,
            number: template::trailing_number(observation.path),
            agent: agent_text.map_or(MISSING, |agent| self.agents.id(agent_hash, || agent.into(), tick, stale)),
            agent_hash,
            country: observation.country.map_or(MISSING, |country| {
                let text = || Arc::from(String::from_utf8_lossy(&country).as_ref());
                self.countries.id(u64::from(u16::from_be_bytes(country)), text, tick, stale)
            }),
            asn: observation
                .asn
                .map_or(MISSING, |asn| self.systems.id(u64::from(asn), || asn.to_string().into(), tick, stale)),
            writes: (!observation.method.is_empty())
                .then_some(!matches!(observation.method, "GET" | "HEAD" | "OPTIONS")),
            // What was denied never reached the service.
            status: observation.status.filter(|_| !denied),
            bytes: observation.bytes.filter(|_| !denied),
            outcome: observation.outcome,
            address_hash: keys.address.unwrap_or_default(),
            fresh_user: false,
        };
        (seen, keys)
    }

    /// The key of a client.
    pub fn key_of(&self, who: &Who) -> u64 {
        match who {
            Who::User(name) => self.hash(&**name),
            Who::Address(address) => self.hash(&network(*address)),
        }
        .max(1)
    }

    /// The numbers of a group's attributes; none, where a text is no such attribute.
    pub fn group(&mut self, attributes: &[(Attribute, Arc<str>)], now: Micros) -> Option<Group> {
        let tick = tick(now);
        let stale = tick.saturating_sub(STALE);
        let mut group = Group([MISSING; 4]);
        for (attribute, text) in attributes {
            let hash = match attribute {
                Attribute::Country => u64::from(u16::from_be_bytes(text.as_bytes().try_into().ok()?)),
                Attribute::Asn => u64::from(text.parse::<u32>().ok()?),
                Attribute::Path | Attribute::UserAgent => self.hash(&**text),
            };
            let names = match attribute {
                Attribute::Country => &mut self.countries,
                Attribute::Asn => &mut self.systems,
                Attribute::Path => &mut self.paths,
                Attribute::UserAgent => &mut self.agents,
            };
            let id = names.id(hash, || Arc::clone(text), tick, stale);
            let at = Attribute::ALL.iter().position(|known| known == attribute)?;
            *group.0.get_mut(at).filter(|_| id != OTHER)? = id;
        }
        (group.width() > 0).then_some(group)
    }

    fn hash<T: Hash + ?Sized>(&self, value: &T) -> u64 {
        self.hasher.hash_one(value)
    }

    fn template(&mut self, path: &str, hash: u64, tick: u32, stale: u32) -> Id {
        if path.is_empty() {
            return MISSING;
        }
        let place = usize::try_from(hash).unwrap_or_default() % REMEMBERED;
        if let Some((known, id)) = self.templates.get(place)
            && *known == hash
            && *id != MISSING
        {
            return *id;
        }
        template::reduce(path, &mut self.buffer);
        let buffer = self.buffer.as_str();
        let id = self.paths.id(self.hasher.hash_one(buffer), || buffer.into(), tick, stale);
        if let Some(remembered) = self.templates.get_mut(place) {
            *remembered = (hash, id);
        }
        id
    }
}

/// The second, for names.
fn tick(now: Micros) -> u32 {
    u32::try_from(now.0 / 1_000_000 % u64::from(u32::MAX)).unwrap_or_default()
}

/// Who an address is.
pub fn who(address: IpAddr) -> Who {
    Who::Address(network(address))
}
