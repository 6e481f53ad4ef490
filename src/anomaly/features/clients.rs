//! The clients that are followed one by one: so many and no more. A new one always gets a place, in place of the least
//! active of a few that are looked at (as the space-saving summary does it, sampled so that it costs the same however
//! many there are). A client that comes often stays, however many come once.

use std::net::IpAddr;
use std::sync::Arc;

use std::cmp::Reverse;
use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::client::{Brief, Client};
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// So many are looked at when one has to give way.
const LOOKED_AT: usize = 12;

/// Where a client is; another may have taken the place, so the key goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The place.
    pub slot: u32,
    /// The client's key.
    pub key: u64,
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// A user.
    User(Arc<str>),
    /// An address.
    Address(IpAddr),
}

impl Who {
    /// As adjustments and flags name it.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::User(name) => Subject::User(Arc::clone(name)),
            Self::Address(address) => Subject::Address(*address),
        }
    }
}

/// Clients, in bounded memory.
#[derive(Debug)]
pub struct Clients {
    places: HashMap<u64, u32, FixedState>,
    clients: Vec<Client>,
    who: Vec<Who>,
    capacity: usize,
    random: fastrand::Rng,
}

impl Clients {
    /// At most `capacity` of them.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            places: HashMap::default(),
            clients: Vec::new(),
            who: Vec::new(),
            capacity: capacity.max(1),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The client with this key, and whether it is new.
    pub fn enter(&mut self, key: u64, now: Micros, who: impl FnOnce() -> Who) -> (Place, bool) {
        if let Some(slot) = self.places.get(&key) {
            return (Place { slot: *slot, key }, false);
        }
        let client = Client::new(key, now);
        let slot = if self.clients.len() < self.capacity {
            self.clients.push(client);
            self.who.push(who());
            self.clients.len() - 1
        } else {
            let slot = self.least(now);
            if let (Some(old), Some(old_who)) = (self.clients.get_mut(slot), self.who.get_mut(slot)) {
                self.places.remove(&old.key);
                *old = client;
                *old_who = who();
            }
            slot
        };
        let slot = u32::try_from(slot).unwrap_or_default();
        self.places.insert(key, slot);
        (Place { slot, key }, true)
    }

    fn least(&mut self, now: Micros) -> usize {
        let mut least = (f64::INFINITY, 0);
        for _ in 0..LOOKED_AT {
            let slot = self.random.usize(..self.clients.len());
            let weight = self
                .clients
                .get(slot)
                .map_or(0.0, |client| client.weight(now) + f64::from(client.of_users.at(now, 3_600.0)).min(100.0));
            if weight < least.0 {
                least = (weight, slot);
            }
        }
        least.1
    }

    /// The client that is there, if it still is.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<&Client> {
        self.clients.get(usize::try_from(place.slot).ok()?).filter(|client| client.key == place.key)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, place: Place) -> Option<&mut Client> {
        self.clients.get_mut(usize::try_from(place.slot).ok()?).filter(|client| client.key == place.key)
    }

    /// Where the client with this key is.
    #[must_use]
    pub fn find(&self, key: u64) -> Option<Place> {
        self.places.get(&key).map(|slot| Place { slot: *slot, key })
    }

    /// Who is there.
    #[must_use]
    pub fn who(&self, place: Place) -> Option<&Who> {
        self.get(place)?;
        self.who.get(usize::try_from(place.slot).ok()?)
    }

    /// The clients in brief, in at most `most` bytes, and which of them is in which place. Where they are too many, first
    /// what is soon known again is left out, then the least active are; who is suspected goes before.
    #[must_use]
    pub fn briefs(&self, now: Micros, onset: Option<Micros>, most: usize) -> (Vec<Brief>, Vec<Option<u32>>) {
        let mut briefs: Vec<(usize, Brief)> =
            self.clients.iter().zip(&self.who).map(|(client, who)| client.brief(who, now, onset)).enumerate().collect();
        let bytes = |briefs: &[(usize, Brief)]| briefs.iter().map(|(_, brief)| brief.bytes()).sum::<usize>();
        if bytes(&briefs) > most {
            briefs.iter_mut().for_each(|(_, brief)| brief.shorten());
            if bytes(&briefs) > most {
                let rank = |brief: &Brief| (!brief.suspected, Reverse(brief.weight(now).to_bits()));
                briefs.sort_by_cached_key(|(_, brief)| rank(brief));
                let mut left = most;
                briefs.retain(|(_, brief)| {
                    left = left.saturating_sub(brief.bytes());
                    left > 0
                });
                briefs.sort_unstable_by_key(|(slot, _)| *slot);
            }
        }
        let mut positions = vec![None; self.clients.len()];
        for (position, (slot, _)) in briefs.iter().enumerate() {
            if let Some(place) = positions.get_mut(*slot) {
                *place = u32::try_from(position).ok();
            }
        }
        (briefs.into_iter().map(|(_, brief)| brief).collect(), positions)
    }

    /// Takes back clients that are kept in brief, each with its key; the least active give way when they are more than
    /// there is room for. Where each of them is.
    pub fn take_back(&mut self, briefs: &[(u64, Brief)], now: Micros) -> Vec<Option<Place>> {
        let mut order: Vec<usize> = (0..briefs.len()).collect();
        if briefs.len() > self.capacity {
            let rank = |brief: &Brief| (!brief.suspected, Reverse(brief.weight(now).to_bits()));
            order.sort_by_cached_key(|position| briefs.get(*position).map(|(_, brief)| rank(brief)));
            order.truncate(self.capacity);
            order.sort_unstable();
        }
        let mut places = vec![None; briefs.len()];
        for position in order {
            let (Some((key, brief)), Some(place)) = (briefs.get(position), places.get_mut(position)) else { continue };
            let slot = u32::try_from(self.clients.len()).unwrap_or_default();
            if self.places.insert(*key, slot).is_none() {
                self.clients.push(Client::of(*key, brief));
                self.who.push(brief.who.clone());
                *place = Some(Place { slot, key: *key });
            }
        }
        places
    }

    /// The state of what is chosen by chance.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.random.get_seed()
    }

    /// Goes on with that state.
    pub fn go_on(&mut self, random: u64) {
        self.random.seed(random);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn who_comes_often_stays() {
        let mut clients = Clients::new(1_000, 1);
        let steady = |clients: &mut Clients, now: Micros| {
            let (place, _) = clients.enter(u64::MAX, now, || Who::User(Arc::from("steady")));
            let client = clients.get_mut(place).unwrap();
            client.observe(&super::super::client::tests::request(now), &Default::default(), true);
        };
        for key in 0..100_000_u64 {
            let now = Micros::from_millis(key);
            if key % 200 == 0 {
                steady(&mut clients, now);
            }
            let (place, new) = clients.enter(key, now, || Who::Address(Ipv4Addr::LOCALHOST.into()));
            assert!(new && clients.get(place).is_some());
        }
        assert_eq!(clients.len(), 1_000);
        let place = clients.find(u64::MAX).unwrap();
        assert_eq!(clients.get(place).unwrap().requests, 500);
    }
}
