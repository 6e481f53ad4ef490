//! What features and models make of a client together: the stranger of both.
//!
//! Features are held against calm clients' every second, models are asked less often: they cost more. Who joined an attack
//! that is known is not asked about at all; its members are told apart elsewhere, and a flood must not cost more than calm
//! traffic.

use std::cmp::Reverse;

use super::domain::Domain;
use crate::anomaly::baseline::population::{Strangeness, score};
use crate::anomaly::features::client::ByModels;
use crate::anomaly::features::clients::Place;
use crate::anomaly::features::list::{Feature, Vector};
use crate::core::clock::Micros;

/// Models are asked about a client once in so long.
const ASKED_EVERY: Micros = Micros::from_secs(4);
/// And about so many clients a second at most, the busiest.
const MOST_ASKED: usize = 20_000;
/// Reasons of models are worked out so often a second; each costs as much as a hundred scores.
const MOST_REASONS: usize = 16;

/// Who looks twice, at features and by models, finds more; and beyond its training vectors a model's tail is a guess.
pub(super) const PENALTY: f64 = 3.0;
/// What models make of `r` at most: enough for a flag; limits take what features say.
const MOST: f64 = 6.5;

/// How strange a client is, and who says so.
#[derive(Clone, Debug)]
pub struct Fused {
    /// One in `10^r` calm clients is as strange.
    pub r: f64,
    /// By its features alone.
    pub features: Strangeness,
    /// Models decided: they find it stranger than its features are, each by itself.
    pub by_models: bool,
}

impl Fused {
    pub(super) fn score(&self) -> f64 {
        score(self.r)
    }
}

impl Domain {
    /// When there are more clients than models are asked about, the busiest come first.
    pub(super) fn busiest_first(&self, active: &mut [Place]) {
        if active.len() > MOST_ASKED && self.models.models().is_some() {
            let requests = |place: &Place| self.clients.get(*place).map_or(0, |client| client.in_interval);
            active.select_nth_unstable_by_key(MOST_ASKED, |place| Reverse(requests(place)));
        }
    }

    /// What models make of a client now, or made when they were last asked: how much stranger than it usually is. Nothing
    /// when there are none, or nobody knows yet what it is like.
    pub(super) fn by_models(&mut self, place: Place, vector: &Vector, now: Micros) -> Option<f64> {
        let models = self.models.models()?;
        let client = self.clients.get_mut(place)?;
        if now - client.by_models.asked >= ASKED_EVERY && self.recent.asked < MOST_ASKED {
            self.recent.asked += 1;
            #[expect(clippy::cast_possible_truncation, reason = "at most 300")]
            client.by_models.take(now, models.rarity(vector) as f32);
        }
        let ByModels { present, usual, .. } = client.by_models;
        // Of those who were there before the models, nobody knows yet what they are like.
        let usual = if client.born > self.models.since() { Some(usual.unwrap_or_default()) } else { usual };
        let own = if client.suspected { 0.0 } else { usual? };
        Some((f64::from(present - own) - PENALTY).clamp(0.0, MOST))
    }

    /// Features that tell why, the strongest first; nothing when models are not to be asked any more in this second.
    pub(super) fn models_reasons(&mut self, vector: &Vector, most: usize) -> Option<Vec<Feature>> {
        if self.recent.explained >= MOST_REASONS {
            return None;
        }
        self.recent.explained += 1;
        Some(self.models.models()?.reasons(vector, most))
    }
}
