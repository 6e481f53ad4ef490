//! Surges of new clients: an attack from many sources, or a crowd?
//!
//! A surge opens when more new clients come than usual (CUSUM over their number a second). Its clients are contrasted
//! with the new clients of calm times ([`contrast`]). It is an attack when far more of them than of calm clients are
//! strange in who they are and how they behave; what they ask for does not count, as a crowd asks for the same, too. In
//! an attack, the clients are told apart by all evidence, at thresholds that hardly any calm client reaches.

pub mod arrivals;
pub mod contrast;
pub mod profile;

use std::collections::VecDeque;

use arrivals::Arrivals;
use contrast::{Contrast, Evidence};
use profile::{AGES, Profile};
use serde::{Deserialize, Serialize};

use super::bounded;
use crate::core::clock::Micros;

/// So many profiles of calm clients are kept.
const CALM: usize = 4_096;
/// So many of a surge's are looked at.
const LOOKED_AT: usize = 8_192;
/// Of calm clients, so many are above the threshold that tells the kind of a surge.
const STRANGE: f64 = 0.005;
/// An attack has so many of its surplus above it.
const ATTACK: f64 = 0.12;
/// So many intervals in a row must say so.
const IN_A_ROW: u32 = 2;
/// Thresholds are never less, in nats: e^3 is 20 to 1.
const LEAST_EVIDENCE: f64 = 3.0;
/// A member is cleared when its evidence is so far below, in nats.
const HYSTERESIS: f64 = 1.0;
/// Fewer new clients are no surge.
pub const LEAST_CLIENTS: usize = 30;
/// Fewer calm ones are nothing to compare with.
const LEAST_CALM: usize = 50;

/// Profiles of clients of calm times, the latest of the last while: each once when it is young, and once when it has
/// its last picture.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Calm {
    #[serde(deserialize_with = "bounded::list::<_, (Micros, Profile), _, CALM>")]
    young: VecDeque<(Micros, Profile)>,
    #[serde(deserialize_with = "bounded::list::<_, (Micros, Profile), _, CALM>")]
    grown: VecDeque<(Micros, Profile)>,
}

impl Calm {
    /// Takes one more, and forgets what is older than `since`.
    pub fn learn(&mut self, now: Micros, profile: Profile, since: Micros) {
        let known = if profile.stage() == AGES.len() { &mut self.grown } else { &mut self.young };
        // What is old is better than nothing.
        while known.len() >= CALM || known.front().is_some_and(|(at, _)| *at < since) && known.len() > LEAST_CALM * 4 {
            known.pop_front();
        }
        known.push_back((now, profile));
    }

    /// Whether this is what it can be, after it was read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.young.iter().chain(&self.grown).all(|(_, profile)| profile.is_sound())
    }

    /// Profiles that have the picture of a stage.
    fn at(&self, stage: usize) -> impl Iterator<Item = &Profile> + Clone {
        let known = if stage == AGES.len() { &self.grown } else { &self.young };
        known.iter().map(|(_, profile)| profile)
    }
}

/// A surge that is going on.
/// What tells its clients apart is not kept: it is found anew at the next look.
#[derive(Debug, Serialize, Deserialize)]
pub struct Surge {
    /// When it began.
    pub onset: Micros,
    /// Whether it is taken for an attack.
    pub attack: bool,
    /// When it was last as many new clients as to be one, or had active members.
    pub alive: Micros,
    /// The most members that were active in a second.
    pub peak: usize,
    /// The share of the new clients that would not be there in calm times.
    pub surplus: f64,
    #[serde(skip)]
    arrivals: Arrivals,
    #[serde(skip)]
    contrast: Contrast,
    #[serde(skip)]
    thresholds: [Thresholds; AGES.len() + 1],
    in_a_row: u32,
}

#[derive(Clone, Copy, Debug)]
struct Thresholds {
    who_and_how: f64,
    all: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { who_and_how: f64::INFINITY, all: f64::INFINITY }
    }
}

impl Surge {
    /// It began at `onset`.
    #[must_use]
    pub fn new(onset: Micros, now: Micros) -> Self {
        Self {
            onset,
            attack: false,
            alive: now,
            peak: 0,
            surplus: 0.0,
            arrivals: Arrivals::default(),
            contrast: Contrast::default(),
            thresholds: Default::default(),
            in_a_row: 0,
        }
    }

    /// Whether this is what a surge can be at `now`, after it was read.
    #[must_use]
    pub fn is_sound(&self, now: Micros) -> bool {
        self.onset <= now && self.alive <= now && (0.0..1.0).contains(&self.surplus) && self.in_a_row < u32::MAX / 2
    }

    /// Takes note of when its clients came.
    pub fn note_arrivals(&mut self, arrivals: Arrivals) {
        self.arrivals = arrivals;
    }

    /// Looks at the clients that are new since its onset, where `expected` would have come in calm times; of calm ones,
    /// so small a share may be taken for members. Whether it is an attack from now on.
    pub fn look(&mut self, calm: &Calm, new: &[Profile], expected: f64, tolerated: f64) -> bool {
        if new.len() < LEAST_CLIENTS || calm.young.len() < LEAST_CALM {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of clients")]
        let all = new.len() as f64;
        self.surplus = (1.0 - expected / all).clamp(0.05, 0.99);
        let step = new.len().div_ceil(LOOKED_AT);
        let sample = new.iter().step_by(step.max(1));
        self.contrast = Contrast::new(|stage| calm.at(stage), sample.clone(), self.surplus);
        for (stage, thresholds) in self.thresholds.iter_mut().enumerate() {
            *thresholds = thresholds_of(&self.contrast, calm, stage, tolerated);
        }
        let (mut strange, mut seen) = (0.0, 0.0);
        for profile in sample {
            seen += 1.0;
            strange += f64::from(u8::from(self.is_strange(profile)));
        }
        let of_surplus = strange / seen / self.surplus;
        self.in_a_row = if of_surplus >= ATTACK { self.in_a_row + 1 } else { 0 };
        let begins = !self.attack && self.in_a_row >= IN_A_ROW;
        self.attack |= begins;
        begins
    }

    fn is_strange(&self, profile: &Profile) -> bool {
        self.thresholds
            .iter()
            .enumerate()
            .take(profile.stage() + 1)
            .any(|(stage, thresholds)| self.contrast.evidence(profile, stage).who_and_how >= thresholds.who_and_how)
    }

    /// Whether a client that came since the onset belongs to the attack, and the evidence.
    #[must_use]
    pub fn member(&self, profile: &Profile, born: Micros) -> Option<Evidence> {
        self.beyond(profile, born).filter(|(_, beyond)| self.attack && *beyond >= 0.0).map(|(evidence, _)| evidence)
    }

    /// Whether a client that was taken for a member is none: the evidence has to fall somewhat below the threshold.
    #[must_use]
    pub fn is_cleared(&self, profile: &Profile, born: Micros) -> bool {
        self.beyond(profile, born).is_some_and(|(_, beyond)| beyond < -HYSTERESIS)
    }

    /// The evidence, and how far it is beyond the threshold: of the latest picture that there are enough calm clients to
    /// hold it against. Thresholds are for the surplus of the whole surge: who came when it was less needs more.
    fn beyond(&self, profile: &Profile, born: Micros) -> Option<(Evidence, f64)> {
        let mut known = self.thresholds.iter().enumerate().take(profile.stage() + 1);
        let (stage, thresholds) = known.rfind(|(_, thresholds)| thresholds.all.is_finite())?;
        let evidence = self.contrast.evidence(profile, stage);
        let odds = self.arrivals.odds(born).map_or(0.0, |odds| odds - self.contrast.prior());
        Some((evidence, evidence.all - thresholds.all + odds.min(0.0)))
    }

    /// What the evidence about a client is made of.
    #[must_use]
    pub fn parts(&self, profile: &Profile) -> Vec<contrast::Part> {
        self.contrast.parts(profile, profile.stage())
    }
}

fn thresholds_of(contrast: &Contrast, calm: &Calm, stage: usize, tolerated: f64) -> Thresholds {
    let (mut who_and_how, mut all): (Vec<f64>, Vec<f64>) = calm
        .at(stage)
        .map(|profile| contrast.evidence(profile, stage))
        .map(|evidence| (evidence.who_and_how, evidence.all))
        .unzip();
    if who_and_how.len() < LEAST_CALM {
        return Thresholds::default();
    }
    Thresholds {
        who_and_how: above(&mut who_and_how, STRANGE).max(LEAST_EVIDENCE),
        all: above(&mut all, tolerated).max(LEAST_EVIDENCE),
    }
}

/// What only the share `rest` of the values is above.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
fn above(values: &mut [f64], rest: f64) -> f64 {
    let most = ((values.len() as f64 * rest) as usize).min(values.len().saturating_sub(1));
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    // A little above it, so that it is not reached itself.
    values.get(most).map_or(f64::INFINITY, |value| value + 1e-9)
}

#[cfg(test)]
mod tests;
