//! What a client is compared by: who it is, what it asks for, how it behaves.

use serde::{Deserialize, Serialize};

use crate::anomaly::features::client::Seen;
use crate::anomaly::features::names::{Id, MISSING};
use crate::core::clock::Micros;

/// At these ages a client's behaviour is pictured, so that like is compared with like: the fast ones among new clients
/// are not taken for all.
pub const AGES: [Micros; 5] =
    [Micros::from_secs(5), Micros::from_secs(15), Micros::from_secs(30), Micros::from_secs(60), Micros::from_secs(150)];
/// From this picture on a client is learned from; soon, so that there is something to compare with.
pub const LEARNED: usize = 3;
/// Traits of a picture: requests so far (log2), evenness of their times, templates over requests, share of unusual
/// steps, share of client errors, share of writes, mean time between requests (log2).
pub const TRAITS: usize = 7;
/// Their names, for reasons.
pub const TRAIT_NAMES: [&str; TRAITS] = [
    "requests so far",
    "timing",
    "variety of paths",
    "steps from page to page",
    "share of errors",
    "share of writes",
    "pace",
];
/// Values of a trait.
pub const BINS: usize = 8;
/// The first paths of a client are remembered.
pub const PATHS: usize = 8;
/// A trait that is not known.
const UNKNOWN: u8 = u8::MAX;

/// One client, in a few bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// The country.
    pub country: Id,
    /// The autonomous system.
    pub asn: Id,
    /// The user agent.
    pub agent: Id,
    /// The path of its last request.
    pub last_path: Id,
    /// Whether it is a user.
    pub named: bool,
    paths: [Id; PATHS],
    /// How many of `paths` were known at each picture, the first request being the first.
    known: [u8; AGES.len() + 1],
    traits: [[u8; TRAITS]; AGES.len()],
    pictures: u8,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            country: MISSING,
            asn: MISSING,
            agent: MISSING,
            last_path: MISSING,
            named: false,
            paths: [MISSING; PATHS],
            known: [0; AGES.len() + 1],
            traits: [[UNKNOWN; TRAITS]; AGES.len()],
            pictures: 0,
        }
    }
}

impl Profile {
    /// Takes one request, before which there were `before`.
    pub fn note(&mut self, seen: &Seen, before: u32, named: bool) {
        self.named = named;
        if let Some(path) = self.paths.get_mut(before as usize) {
            *path = seen.path;
            self.known[0] = 1;
        }
        (self.country, self.asn, self.agent, self.last_path) = (seen.country, seen.asn, seen.agent, seen.path);
    }

    /// Takes the picture of one age.
    pub fn picture(&mut self, age: usize, traits: [Option<u8>; TRAITS]) {
        let paths = self.paths.iter().filter(|path| **path != MISSING).count();
        if let (Some(picture), Some(known)) = (self.traits.get_mut(age), self.known.get_mut(age + 1)) {
            *picture = traits.map(|bin| bin.unwrap_or(UNKNOWN));
            *known = u8::try_from(paths).unwrap_or_default();
            self.pictures = u8::try_from(age + 1).unwrap_or_default();
        }
    }

    /// One without first paths and pictures, as if they had all been taken: who it is, by its country, autonomous system,
    /// user agent and last path.
    #[must_use]
    pub fn lean([country, asn, agent, last_path]: [Id; 4], named: bool) -> Self {
        let pictures = u8::try_from(AGES.len()).unwrap_or_default();
        Self { country, asn, agent, last_path, named, pictures, ..Self::default() }
    }

    /// Whether this is what a profile can be, after it was read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.stage() <= AGES.len()
            && self.known.iter().all(|known| usize::from(*known) <= PATHS)
            && self.traits.iter().flatten().all(|bin| *bin == UNKNOWN || usize::from(*bin) < BINS)
    }

    /// How many pictures there are.
    #[must_use]
    pub fn stage(&self) -> usize {
        usize::from(self.pictures)
    }

    /// Its first paths, as far as they were known at a stage.
    pub fn paths(&self, stage: usize) -> impl Iterator<Item = Id> {
        let known = usize::from(self.known.get(stage).copied().unwrap_or_default());
        self.paths.into_iter().take(known).filter(|path| *path != MISSING)
    }

    /// The traits in the picture of a stage, each with its value; stage 0 has none.
    pub fn traits(&self, stage: usize) -> impl Iterator<Item = (usize, usize)> {
        let picture = stage.checked_sub(1).and_then(|age| self.traits.get(age)).copied();
        picture
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(_, bin)| *bin != UNKNOWN)
            .map(|(at, bin)| (at, usize::from(bin)))
    }
}
