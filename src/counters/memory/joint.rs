//! Several hits that are charged all or not at all.
//!
//! Every shard concerned is locked, in the order of their numbers, so that no two requests can wait for each other;
//! then the hits are judged, and only when no enforced one is denied are they performed. The overflow shards have the
//! highest numbers, so that they can be locked afterwards when it turns out that they are needed.

use std::sync::MutexGuard;

use smallvec::SmallVec;

use super::MemoryStore;
use super::shard::Shard;
use crate::core::algorithm::{Outcome, Verdict};
use crate::core::clock::{Clock, Micros, Now};
use crate::core::descriptor::Operation;
use crate::counters::fingerprint::Fingerprint;
use crate::counters::{Hit, Outcomes};

/// Where a hit's counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    shard: usize,
    key: Fingerprint,
}

/// The hits on one counter, by their numbers, in the order of the request.
type Group = SmallVec<[usize; 2]>;

/// Locked shards, in the order of their numbers.
struct Locked<'s> {
    shards: SmallVec<[(usize, MutexGuard<'s, Shard>); 4]>,
}

impl Locked<'_> {
    fn shard(&mut self, number: usize) -> Option<&mut Shard> {
        let found = self.shards.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&mut *self.shards[found].1)
    }
}

/// Performs `hits` with `Charge::AllOrNothing`.
pub(super) fn perform<C: Clock>(store: &MemoryStore<C>, hits: &[Hit<'_>], now: Now) -> Outcomes {
    let mut places: SmallVec<[Place; 4]> = hits
        .iter()
        .map(|hit| {
            let key = store.fingerprints.of(&hit.key);
            Place { shard: store.shard_of(key), key }
        })
        .collect();
    let mut locked = Locked { shards: SmallVec::new() };
    loop {
        lock(store, &places, &mut locked);
        let groups = group(&places);
        let verdicts = judge(&mut locked, hits, &places, &groups, now);
        let denied = hits.iter().zip(&verdicts).any(|(hit, verdict)| hit.enforced && *verdict != Verdict::Allowed);
        if denied {
            return refuse(&mut locked, hits, &places, &groups, &verdicts, now);
        }
        if acquire(store, &mut locked, hits, &mut places, &groups, now) {
            return charge(&mut locked, hits, &places, &groups, now);
        }
        // Some counters have no room, and their hits go to overflow counters, which may well be over their limit.
    }
}

/// Locks the shards that are not locked yet. These have higher numbers than those that are.
fn lock<'s, C: Clock>(store: &'s MemoryStore<C>, places: &[Place], locked: &mut Locked<'s>) {
    let above = locked.shards.last().map(|(number, _)| *number);
    let mut numbers: SmallVec<[usize; 4]> =
        places.iter().map(|place| place.shard).filter(|number| above.is_none_or(|above| *number > above)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    locked.shards.extend(numbers.into_iter().map(|number| (number, store.lock(number))));
}

fn group(places: &[Place]) -> SmallVec<[Group; 4]> {
    let mut order: SmallVec<[usize; 8]> = (0..places.len()).collect();
    order.sort_by_key(|&hit| places[hit]);
    order.chunk_by(|&a, &b| places[a] == places[b]).map(SmallVec::from_slice).collect()
}

/// The verdict on each hit, if all before it on the same counter were performed.
fn judge(
    locked: &mut Locked<'_>,
    hits: &[Hit<'_>],
    places: &[Place],
    groups: &[Group],
    now: Now,
) -> SmallVec<[Verdict; 4]> {
    let mut verdicts = SmallVec::from_elem(Verdict::Allowed, hits.len());
    for group in groups {
        let place = places[group[0]];
        let Some(shard) = locked.shard(place.shard) else { continue };
        if let [hit] = group[..] {
            verdicts[hit] = shard.evaluate(place.key, hits[hit].limit, now, hits[hit].operation).verdict;
        } else {
            let mut state = shard.copy(place.key, hits[group[0]].limit, now);
            for &hit in group {
                verdicts[hit] = state.evaluate(hits[hit].limit, now, hits[hit].operation).verdict;
                state.apply(hits[hit].limit, now, hits[hit].operation);
            }
        }
    }
    verdicts
}

/// Sees to it that every counter exists, or that it has room where it need not exist. Where there is none, the hits
/// are directed to an overflow counter, and the answer is `false`.
fn acquire<C: Clock>(
    store: &MemoryStore<C>,
    locked: &mut Locked<'_>,
    hits: &[Hit<'_>],
    places: &mut [Place],
    groups: &[Group],
    now: Now,
) -> bool {
    let keep: SmallVec<[Fingerprint; 4]> = places.iter().map(|place| place.key).collect();
    let mut complete = true;
    for group in groups {
        let first = &hits[group[0]];
        let place = places[group[0]];
        let Some(shard) = locked.shard(place.shard) else { continue };
        let charged = group.iter().any(|&hit| matches!(hits[hit].operation, Operation::Charge(1..)));
        let found = if charged {
            shard.ensure(place.key, first.limit, now, &keep)
        } else {
            shard.contains(place.key) || shard.has_room(now, &keep)
        };
        if !found {
            complete = false;
            let key = store.fingerprints.of_space(first.key.space);
            for &hit in group {
                places[hit] = Place { shard: store.overflow_shard_of(key), key };
            }
        }
    }
    complete
}

/// Performs every hit.
fn charge(locked: &mut Locked<'_>, hits: &[Hit<'_>], places: &[Place], groups: &[Group], now: Now) -> Outcomes {
    each(locked, hits, places, groups, |shard, key, hit, _| {
        shard
            .apply(key, hit.limit, now, hit.operation, &[])
            .unwrap_or_else(|| shard.evaluate(key, hit.limit, now, hit.operation))
    })
}

/// Performs the refunds and charges nothing.
fn refuse(
    locked: &mut Locked<'_>,
    hits: &[Hit<'_>],
    places: &[Place],
    groups: &[Group],
    verdicts: &[Verdict],
    now: Now,
) -> Outcomes {
    each(locked, hits, places, groups, |shard, key, hit, number| {
        let refund = matches!(hit.operation, Operation::Refund(_)) && shard.contains(key);
        let outcome = if refund { shard.apply(key, hit.limit, now, hit.operation, &[]) } else { None };
        let outcome = outcome.unwrap_or_else(|| shard.evaluate(key, hit.limit, now, hit.operation));
        Outcome { verdict: verdicts[number], ..outcome }
    })
}

/// Answers every hit, counter by counter.
fn each(
    locked: &mut Locked<'_>,
    hits: &[Hit<'_>],
    places: &[Place],
    groups: &[Group],
    mut answer: impl FnMut(&mut Shard, Fingerprint, &Hit<'_>, usize) -> Outcome,
) -> Outcomes {
    let none = Outcome { verdict: Verdict::Allowed, level: 0, remaining: 0, reset_after: Micros::ZERO };
    let mut outcomes = Outcomes::from_elem(none, hits.len());
    for group in groups {
        let place = places[group[0]];
        let Some(shard) = locked.shard(place.shard) else { continue };
        for &hit in group {
            outcomes[hit] = answer(shard, place.key, &hits[hit], hit);
        }
    }
    outcomes
}
