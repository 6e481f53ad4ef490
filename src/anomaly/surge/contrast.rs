//! How the new clients of a surge differ from the new clients of calm times.
//!
//! Let the surplus `s` be the share of the new clients that would not be there in calm times. What is seen of any trait
//! is then a mixture, `now = (1 - s) calm + s surplus`, whatever else holds; so the surplus' own share of each value
//! follows, and with it the weight of evidence `ln(surplus / calm)` that a client with this value belongs to it. A flash
//! crowd is a surplus, too, but it has the shares of calm times, and all weights are near 0. Traits are taken as
//! independent; where they are not, thresholds that are read off calm clients make up for it.

use super::profile::{AGES, BINS, Profile, TRAITS};
use crate::anomaly::features::names::{Id, MISSING};

/// The most that one value of who, of what, and of how weighs.
const WHO: f64 = 6.0;
const NAMED: f64 = 2.0;
const WHAT: f64 = 3.0;
const HOW: f64 = 2.0;
/// Fewer calm clients, or new ones, tell nothing.
const LEAST: f64 = 20.0;

/// The evidence about one client, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// From who it is and how it behaves.
    pub who_and_how: f64,
    /// And from what it asks for: of a crowd, all ask for the same.
    pub all: f64,
}

/// Weights of evidence.
#[derive(Debug, Default)]
pub struct Contrast {
    country: Weights,
    asn: Weights,
    agent: Weights,
    named: Weights,
    path: Weights,
    traits: Vec<Weights>,
    /// The log odds of a new client to belong to the surplus.
    prior: f64,
}

/// One part of the evidence, for reasons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// What it is about.
    pub about: About,
    /// Its weight.
    pub weight: f64,
    /// The share of new clients that have the value.
    pub present: f64,
    /// The share in calm times.
    pub usual: f64,
}

/// What a part of the evidence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The country.
    Country(Id),
    /// The autonomous system.
    Asn(Id),
    /// The user agent.
    Agent(Id),
    /// Whether it is a user.
    Named(bool),
    /// A path.
    Path(Id),
    /// A trait of its behaviour.
    Trait(usize),
}

impl Contrast {
    /// Compares; `calm` gives the profiles that have the picture of a stage, and `surplus` is more than 0 and less than 1.
    pub fn new<'p, C, N>(calm: impl Fn(usize) -> C, now: N, surplus: f64) -> Self
    where
        C: Iterator<Item = &'p Profile>,
        N: Iterator<Item = &'p Profile> + Clone,
    {
        let surplus = surplus.clamp(0.02, 0.995);
        let of = |value: fn(&Profile) -> Id, most: f64| {
            let known = |profile: &&Profile| value(profile) != MISSING;
            let value = |profile: &Profile| usize::from(value(profile));
            let calm = Tally::of(calm(0).filter(known).map(value));
            Weights::new(&calm, &Tally::of(now.clone().filter(known).map(value)), surplus, most)
        };
        let path = |profiles: &mut dyn Iterator<Item = &'p Profile>| {
            Tally::of(profiles.flat_map(|profile| profile.paths(profile.stage())).map(usize::from))
        };
        let traits = (0..AGES.len() * TRAITS).map(|at| {
            let (stage, which) = (at / TRAITS + 1, at % TRAITS);
            let value = move |profile: &Profile| {
                profile.traits(stage).find(|(found, _)| *found == which).map(|(_, bin)| bin.min(BINS - 1))
            };
            let calm = Tally::of(calm(stage).filter_map(value));
            Weights::new(&calm, &Tally::of(now.clone().filter_map(value)), surplus, HOW)
        });
        Self {
            country: of(|profile| profile.country, WHO),
            asn: of(|profile| profile.asn, WHO),
            agent: of(|profile| profile.agent, WHO),
            named: of(|profile| 2 + Id::from(profile.named), NAMED),
            path: Weights::new(&path(&mut calm(0)), &path(&mut now.clone()), surplus, WHAT),
            traits: traits.collect(),
            prior: (surplus / (1.0 - surplus)).ln(),
        }
    }

    /// The evidence that a client belongs to the surplus, as of a stage.
    #[must_use]
    pub fn evidence(&self, profile: &Profile, stage: usize) -> Evidence {
        let who = self.country.of(profile.country)
            + self.asn.of(profile.asn)
            + self.agent.of(profile.agent)
            + self.named.of(2 + Id::from(profile.named));
        let how: f64 = profile.traits(stage).map(|(which, bin)| self.weights(stage, which).at(bin)).sum();
        let what: f64 = profile.paths(stage).map(|path| self.path.of(path)).sum();
        Evidence { who_and_how: who + how, all: who + how + what + self.prior }
    }

    /// The log odds of a new client to belong to the surplus.
    #[must_use]
    pub const fn prior(&self) -> f64 {
        self.prior
    }

    fn weights(&self, stage: usize, which: usize) -> &Weights {
        static NONE: Weights = Weights(Vec::new());
        stage.checked_sub(1).and_then(|age| self.traits.get(age * TRAITS + which)).unwrap_or(&NONE)
    }

    /// What the evidence is made of, the heaviest first.
    #[must_use]
    pub fn parts(&self, profile: &Profile, stage: usize) -> Vec<Part> {
        let named = 2 + Id::from(profile.named);
        let mut parts = vec![
            self.country.part(About::Country(profile.country), usize::from(profile.country)),
            self.asn.part(About::Asn(profile.asn), usize::from(profile.asn)),
            self.agent.part(About::Agent(profile.agent), usize::from(profile.agent)),
            self.named.part(About::Named(profile.named), usize::from(named)),
        ];
        parts.extend(profile.paths(stage).map(|path| self.path.part(About::Path(path), usize::from(path))));
        let traits = profile.traits(stage);
        parts.extend(traits.map(|(which, bin)| self.weights(stage, which).part(About::Trait(which), bin)));
        parts.retain(|part| part.weight > 0.3);
        parts.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        parts.dedup_by_key(|part| part.about);
        parts
    }
}

/// How often each value is there.
#[derive(Debug, Default)]
struct Tally {
    counts: Vec<f64>,
    total: f64,
}

impl Tally {
    fn of(values: impl Iterator<Item = usize>) -> Self {
        let mut tally = Self::default();
        for value in values {
            if value >= tally.counts.len() {
                tally.counts.resize(value + 1, 0.0);
            }
            if let Some(count) = tally.counts.get_mut(value) {
                *count += 1.0;
            }
            tally.total += 1.0;
        }
        tally
    }

    fn count(&self, value: usize) -> f64 {
        self.counts.get(value).copied().unwrap_or_default()
    }
}

/// Weight, present share and usual share of each value of one trait.
#[derive(Debug, Default)]
struct Weights(Vec<(f64, f64, f64)>);

impl Weights {
    fn new(calm: &Tally, now: &Tally, surplus: f64, most: f64) -> Self {
        if calm.total < LEAST || now.total < LEAST {
            return Self::default();
        }
        let values = 0..calm.counts.len().max(now.counts.len());
        Self(
            values
                .map(|value| {
                    // A value that was never met in calm times counts as half a client.
                    let usual = (calm.count(value) + 0.5) / (calm.total + 1.0);
                    let present = (now.count(value) + usual) / (now.total + 1.0);
                    let of_surplus = ((present - (1.0 - surplus) * usual) / surplus).max(0.05 * usual);
                    let weight = (of_surplus / usual).ln().clamp(-most, most);
                    // Few clients weigh little.
                    let seen = now.count(value) + calm.count(value);
                    (weight * seen / (seen + 4.0), present, usual)
                })
                .collect(),
        )
    }

    fn of(&self, id: Id) -> f64 {
        if id == MISSING { 0.0 } else { self.at(usize::from(id)) }
    }

    fn at(&self, value: usize) -> f64 {
        self.0.get(value).map_or(0.0, |(weight, ..)| *weight)
    }

    fn part(&self, about: About, value: usize) -> Part {
        let (weight, present, usual) = self.0.get(value).copied().unwrap_or_default();
        Part { about, weight, present, usual }
    }
}
