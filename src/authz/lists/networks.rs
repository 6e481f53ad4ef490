//! Networks of both lists, in one prefix trie for each family.
//!
//! A walk finds the longest network that holds an address. From there, each leads to the next longer one that holds it,
//! for when all its entries have ended. So a lookup is one walk whatever the lists say, and allocates nothing.

use std::net::IpAddr;

use prefix_trie::{Prefix, PrefixMap};

use super::entry::Network;
use super::{EntryId, ListKind};

/// No entry, no place.
const NONE: u32 = u32::MAX;

/// Networks of both lists.
#[derive(Debug, Default)]
pub(super) struct Networks {
    v4: PrefixMap<(u32, u8), u32>,
    v6: PrefixMap<(u128, u8), u32>,
    places: Vec<Place>,
}

/// A network of either list or both.
#[derive(Clone, Copy, Debug)]
struct Place {
    deny: EntryId,
    allow: EntryId,
    /// The place of the longest other network that holds this one; known once all are there.
    around: u32,
}

impl Networks {
    /// The entry that speaks of an address, of those that last.
    pub(super) fn find(&self, address: IpAddr, lasts: impl Fn(EntryId) -> bool) -> Option<(ListKind, EntryId)> {
        if self.places.is_empty() {
            return None;
        }
        let longest = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get_lpm(&(address.to_bits(), 32)).map(|(_, place)| *place),
            IpAddr::V6(address) => self.v6.get_lpm(&(address.to_bits(), 128)).map(|(_, place)| *place),
        };
        let mut place = self.places.get(longest? as usize);
        while let Some(&Place { deny, allow, around }) = place {
            if deny != NONE && lasts(deny) {
                return Some((ListKind::Deny, deny));
            }
            if allow != NONE && lasts(allow) {
                return Some((ListKind::Allow, allow));
            }
            place = self.places.get(around as usize);
        }
        None
    }

    /// Takes a network for an entry, or tells the entry of the list that it has already.
    pub(super) fn insert(&mut self, network: Network, kind: ListKind, entry: EntryId) -> Option<EntryId> {
        let new = u32::try_from(self.places.len()).unwrap_or(NONE);
        let place = match network {
            Network::V4(bits, length) => *self.v4.entry((bits, length)).or_insert(new),
            Network::V6(bits, length) => *self.v6.entry((bits, length)).or_insert(new),
        };
        if place == new {
            self.places.push(Place { deny: NONE, allow: NONE, around: NONE });
        }
        let place = self.places.get_mut(place as usize)?;
        let taken = match kind {
            ListKind::Deny => &mut place.deny,
            ListKind::Allow => &mut place.allow,
        };
        if *taken != NONE {
            return Some(*taken);
        }
        *taken = entry;
        None
    }

    /// To be called once all networks are there.
    pub(super) fn finish(&mut self) {
        self.places.shrink_to_fit();
        link(&self.v4, &mut self.places);
        link(&self.v6, &mut self.places);
    }
}

/// Leads each network to the one around it. They come in the order of their addresses, the wider first.
fn link<P: Prefix>(networks: &PrefixMap<P, u32>, places: &mut [Place]) {
    let mut around: Vec<(P, u32)> = Vec::new();
    for (network, place) in networks {
        while around.last().is_some_and(|(wider, _)| !wider.contains(&network)) {
            around.pop();
        }
        if let Some(place) = places.get_mut(*place as usize) {
            place.around = around.last().map_or(NONE, |(_, place)| *place);
        }
        around.push((network, *place));
    }
}
