//! Networks of both lists: a prefix trie, laid out flat.
//!
//! Networks lie in one another or apart, never across. So they cut the addresses into ranges, each with one longest
//! network. The beginnings of the ranges are kept in order, and of every 16 the first once more in a level above, until
//! 16 are left. A lookup goes down these levels, of which all but the lowest fit into a cache, and allocates nothing. In
//! the lowest, a range has its answer beside it, unless that depends on the time: then the network's place tells its
//! entries, and leads to the next longer network around it, for when they have ended.
//!
//! Tries that follow bits by pointers (crates `prefix-trie`, `iptrie`) wait for memory at every node: of 100 000 networks
//! at 5 to 7 places for IPv4, and at up to 26 for IPv6. Here it is at one, whatever the networks' lengths.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::entry::Network;
use super::{EntryId, ListKind};

/// No entry, no place.
const NONE: u32 = u32::MAX;
/// So many beginnings have one in the level above.
const FANOUT: usize = 16;

/// Networks of both lists.
#[derive(Debug, Default)]
pub(super) struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    places: Vec<Place>,
}

/// A network of either list or both.
#[derive(Clone, Copy, Debug)]
struct Place {
    deny: EntryId,
    allow: EntryId,
    /// The place of the longest other network that holds this one.
    around: u32,
}

/// What is to be said of a range, in as few bits as there are: it stands in memory beside the range's beginning.
#[derive(Clone, Copy, Debug)]
struct Speaker(u32);

/// What a [`Speaker`] says.
enum Speech {
    Nothing,
    /// An entry without end.
    Always(ListKind, EntryId),
    /// It depends on the time; the place of the longest network.
    Place(u32),
}

impl Speaker {
    const NOTHING: Self = Self(NONE);
    const ALLOW: u32 = 1 << 30;
    const PLACE: u32 = 1 << 31;

    fn new(place: u32, places: &[Place], endless: impl Fn(EntryId) -> bool) -> Self {
        match places.get(place as usize) {
            None => Self::NOTHING,
            Some(&Place { deny, .. }) if deny != NONE && endless(deny) => Self(deny),
            Some(&Place { deny: NONE, allow, .. }) if endless(allow) => Self(allow | Self::ALLOW),
            Some(_) => Self(place | Self::PLACE),
        }
    }

    const fn speech(self) -> Speech {
        if self.0 == NONE {
            Speech::Nothing
        } else if self.0 & Self::PLACE != 0 {
            Speech::Place(self.0 & !Self::PLACE)
        } else if self.0 & Self::ALLOW != 0 {
            Speech::Always(ListKind::Allow, self.0 & !Self::ALLOW)
        } else {
            Speech::Always(ListKind::Deny, self.0)
        }
    }
}

impl Networks {
    /// The entry that speaks of an address, of those that last.
    pub(super) fn find(&self, address: IpAddr, lasts: impl Fn(EntryId) -> bool) -> Option<(ListKind, EntryId)> {
        let speaker = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        };
        let mut place = match speaker?.speech() {
            Speech::Nothing => return None,
            Speech::Always(kind, entry) => return Some((kind, entry)),
            Speech::Place(place) => self.places.get(place as usize),
        };
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
}

/// Ranges of addresses, each up to the next.
#[derive(Debug)]
struct Ranges<A> {
    /// Beginnings in ascending order; the first is address 0.
    ranges: Vec<(A, Speaker)>,
    /// Every 16th of them, every 16th of those, and so on; the smallest level first.
    levels: Vec<Vec<A>>,
}

impl<A> Default for Ranges<A> {
    fn default() -> Self {
        Self { ranges: Vec::new(), levels: Vec::new() }
    }
}

impl<A: Copy + Ord> Ranges<A> {
    fn new(ranges: Vec<(A, Speaker)>) -> Self {
        let mut levels: Vec<Vec<A>> = Vec::new();
        let mut level: Vec<A> = ranges.iter().map(|(beginning, _)| *beginning).collect();
        while level.len() > FANOUT {
            level = level.into_iter().step_by(FANOUT).collect();
            levels.push(level.clone());
        }
        levels.reverse();
        Self { ranges, levels }
    }

    fn find(&self, address: A) -> Option<Speaker> {
        let mut run = 0;
        for level in &self.levels {
            run = step(level, run, |beginning| *beginning <= address)?;
        }
        let range = step(&self.ranges, run, |(beginning, _)| *beginning <= address)?;
        self.ranges.get(range).map(|(_, speaker)| *speaker)
    }
}

/// The last of a run of a level that has begun; counted, so that no branch depends on the address.
fn step<T>(level: &[T], run: usize, begun: impl Fn(&T) -> bool) -> Option<usize> {
    let first = run * FANOUT;
    let run = level.get(first..level.len().min(first + FANOUT))?;
    let count = run.iter().filter(|beginning| begun(beginning)).count();
    Some(first + count.checked_sub(1)?)
}

/// Networks, in the making.
#[derive(Debug, Default)]
pub(super) struct NetworksBuilder {
    known: HashMap<Network, u32, RandomState>,
    places: Vec<Place>,
}

impl NetworksBuilder {
    /// Takes a network for an entry, or tells the entry of the list that it has already.
    pub(super) fn insert(&mut self, network: Network, kind: ListKind, entry: EntryId) -> Option<EntryId> {
        let place = match self.known.entry(network) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.places.push(Place { deny: NONE, allow: NONE, around: NONE });
                *new.insert(u32::try_from(self.places.len() - 1).unwrap_or(NONE))
            }
        };
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

    /// `endless` tells entries that have no end.
    pub(super) fn build(self, endless: impl Fn(EntryId) -> bool) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (network, place) in self.known {
            match network {
                Network::V4(first, length) => {
                    v4.push(Span { first: first.into(), last: (first | host_bits_v4(length)).into(), place });
                }
                Network::V6(first, length) => v6.push(Span { first, last: first | host_bits_v6(length), place }),
            }
        }
        let mut places = self.places;
        let (v4, v6) = (flatten(v4, u32::MAX.into(), &mut places), flatten(v6, u128::MAX, &mut places));
        let speaker = |place| Speaker::new(place, &places, &endless);
        let v4 = v4.into_iter().filter_map(|(beginning, place)| Some((u32::try_from(beginning).ok()?, speaker(place))));
        let v6 = v6.into_iter().map(|(beginning, place)| (beginning, speaker(place)));
        Networks { v4: Ranges::new(v4.collect()), v6: Ranges::new(v6.collect()), places }
    }
}

fn host_bits_v4(length: u8) -> u32 {
    u32::MAX.checked_shr(length.into()).unwrap_or(0)
}

fn host_bits_v6(length: u8) -> u128 {
    u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

/// The addresses of a network.
#[derive(Clone, Copy)]
struct Span {
    first: u128,
    last: u128,
    place: u32,
}

/// Cuts the addresses up to `most` into ranges, each with the place of its longest network, and leads each network to
/// the one around it.
fn flatten(mut spans: Vec<Span>, most: u128, places: &mut [Place]) -> Vec<(u128, u32)> {
    // A wider network before those in it.
    spans.sort_unstable_by_key(|span| (span.first, std::cmp::Reverse(span.last)));
    let mut ranges: Vec<(u128, u32)> = vec![(0, NONE)];
    let mut begin = |address: u128, place: u32| match ranges.last_mut() {
        // Nothing lies between; what begins here later lies further inside or follows.
        Some((beginning, before)) if *beginning == address => *before = place,
        _ => ranges.push((address, place)),
    };
    let mut around: Vec<Span> = Vec::new();
    let end = |around: &mut Vec<Span>, begin: &mut dyn FnMut(u128, u32)| {
        if let Some(ended) = around.pop()
            && ended.last < most
        {
            begin(ended.last + 1, around.last().map_or(NONE, |wider| wider.place));
        }
    };
    for span in spans {
        while around.last().is_some_and(|wider| wider.last < span.first) {
            end(&mut around, &mut begin);
        }
        if let Some(place) = places.get_mut(span.place as usize) {
            place.around = around.last().map_or(NONE, |wider| wider.place);
        }
        begin(span.first, span.place);
        around.push(span);
    }
    while !around.is_empty() {
        end(&mut around, &mut begin);
    }
    ranges
}
