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

/// Models are asked about a client once in so many seconds.
const ASKED_EVERY: u64 = 4;
/// Models are asked about so many clients a second at most, the busiest; with a share of [`ASKED_EVERY`] of them each second,
/// that is about all of 80 000 active clients.
const MOST_ACTIVE: usize = 20_000 * ASKED_EVERY as usize;
/// Reasons of models are worked out so often a second; each costs as much as a hundred scores.
const MOST_REASONS: usize = 16;

/// Who looks twice, at features and by models, finds more; and beyond its training vectors a model's tail is a guess.
pub(super) const PENALTY: f64 = 2.0;
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
    /// Clients beyond those that models are asked about go last, the busiest first.
    pub(super) fn busiest_first(&self, active: &mut [Place]) {
        if active.len() > MOST_ACTIVE {
            let requests = |place: &Place| self.clients.get(*place).map_or(0, |client| client.in_interval);
            active.select_nth_unstable_by_key(MOST_ACTIVE, |place| Reverse(requests(place)));
        }
    }

    /// What models make of the `index`-th active client; what they said last, if it is not its turn.
    pub(super) fn by_models(&mut self, index: usize, place: Place, vector: &Vector) -> Option<f64> {
        let models = self.models.models()?;
        let client = self.clients.get_mut(place)?;
        let turn = (u64::from(place.slot) + self.ticks).is_multiple_of(ASKED_EVERY);
        if turn && index < MOST_ACTIVE {
            #[expect(clippy::cast_possible_truncation, reason = "at most 300")]
            client.by_models.take(models.rarity(vector) as f32);
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
