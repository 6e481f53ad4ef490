//! Models of a domain's calm traffic, which see what is strange only together.
//!
//! They are trained on the population that features are held against ([`crate::anomaly::baseline::population`]), so what
//! attackers cannot teach one, they cannot teach the other. Training takes longer than an interval may, so whoever runs the
//! engine does it, elsewhere: [`Engine::training`] hands out a job, [`TrainingJob::run`] does it on any thread, and
//! [`Engine::trained`] puts the new models in the place of the old ones. Without that the engine judges by features alone.

pub mod file;
mod rows;
mod saved;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::saved::{ModelsError, to_bytes as save};

use self::rows::{row, schema};
use super::Engine;
use super::domain::Domain;
use super::fusion::PENALTY;
use crate::anomaly::baseline::population::score;
use crate::anomaly::event::Verdict;
use crate::anomaly::features::list::{Feature, Vector};
use crate::anomaly::model::FitError;
use crate::anomaly::model::ensemble::{Ensemble, EnsembleSettings};
use crate::anomaly::model::labels::LEAST_OF_A_KIND;
use crate::anomaly::model::vectors::Vectors;
use crate::core::clock::Micros;

/// Fewer calm vectors say too little of what goes together.
pub const LEAST: usize = 512;
/// Models that were trained elsewhere, on more than an engine keeps, give way to those of so many vectors only.
const LEAST_INSTEAD: usize = 2_048;
/// How often models are trained anew while all is calm.
const EVERY: Micros = Micros::from_secs(300);
/// A job that did not come back in this time never will.
const LOST: Micros = Micros::from_secs(120);
/// Who comes within so long after models were loaded is told apart from others only once it was seen for a while.
const KNOWN_AFTER: Micros = Micros::from_secs(120);
/// So many new vectors make it worth while.
const NEW_VECTORS: u64 = 64;

/// Features that explain less than this share are no reasons.
const LEAST_SHARE: f64 = 0.1;

/// Which models are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counts up in a domain.
    pub number: u64,
    /// When they were trained: wall time, microseconds since the Unix epoch.
    pub trained: Micros,
    /// Calm vectors that they were trained on.
    pub vectors: usize,
    /// Findings that people confirmed or dismissed, and that they learned from.
    pub labels: usize,
}

/// Models, and what they were trained on.
#[derive(Debug)]
pub struct Models {
    version: Version,
    ensemble: Ensemble,
}

impl Models {
    /// Which they are.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// How strange a client is to them: one in `10^r` calm vectors is as strange. 0 to 300.
    #[must_use]
    pub fn rarity(&self, vector: &Vector) -> f64 {
        let fused = self.ensemble.score(&row(vector)).fused;
        // Of a score r / (r + 3).
        (3.0 * fused / (1.0 - fused).max(f64::EPSILON)).clamp(0.0, 300.0)
    }

    /// The features that make it strange, the strongest first; those that explain at least a tenth.
    #[must_use]
    pub fn reasons(&self, vector: &Vector, most: usize) -> Vec<Feature> {
        let shares = self.ensemble.explain(&row(vector));
        let known = |feature: &Feature| vector.get(feature.index()).is_some_and(|value| value.is_finite());
        let mut found: Vec<(Feature, f64)> = rows::features().zip(shares).collect();
        found.retain(|(feature, share)| *share > LEAST_SHARE && known(feature));
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found.into_iter().take(most).map(|(feature, _)| feature).collect()
    }
}

/// The score of a rarity among models as the engine counts it: with what it costs to look twice taken off.
#[must_use]
pub fn counted(rarity: f64) -> f64 {
    score(rarity - PENALTY)
}

/// What training takes. It owns all of it, so that it may be run on any thread.
#[derive(Clone, Debug)]
pub struct TrainingJob {
    /// The domain.
    pub domain: String,
    /// Calm vectors.
    pub vectors: Vec<Vector>,
    /// Vectors of findings, and whether people confirmed them.
    pub labels: Vec<(Vector, bool)>,
    /// Which models these will be.
    pub number: u64,
    /// Wall time.
    pub at: Micros,
    /// The same job and seed give the same models.
    pub seed: u64,
}

/// What came of training.
#[derive(Debug)]
pub struct Trained {
    domain: String,
    models: Result<Models, FitError>,
}

impl Trained {
    /// Why there are no models.
    #[must_use]
    pub fn error(&self) -> Option<&FitError> {
        self.models.as_ref().err()
    }

    /// The domain, and the models.
    ///
    /// # Errors
    /// When there are none.
    pub fn into_models(self) -> Result<Models, FitError> {
        self.models
    }
}

impl TrainingJob {
    /// Trains; takes a tenth of a second or so.
    #[must_use]
    pub fn run(self) -> Trained {
        let models = self.train();
        Trained { domain: self.domain, models }
    }

    fn train(&self) -> Result<Models, FitError> {
        let vectors = matrix(self.vectors.iter())?;
        let settings = EnsembleSettings::default();
        let mut ensemble = Ensemble::fit(&vectors, &schema(), &settings, self.seed)?;
        let labels = if has_enough(&self.labels) { self.labels.len() } else { 0 };
        if labels > 0 {
            let confirmed: Vec<bool> = self.labels.iter().map(|(_, confirmed)| *confirmed).collect();
            let vectors = matrix(self.labels.iter().map(|(vector, _)| vector))?;
            ensemble = ensemble.with_labels(&vectors, &confirmed, self.seed)?;
        }
        let version = Version { number: self.number, trained: self.at, vectors: self.vectors.len(), labels };
        Ok(Models { version, ensemble })
    }
}

fn matrix<'a>(vectors: impl Iterator<Item = &'a Vector>) -> Result<Vectors, FitError> {
    let mut matrix = Vectors::new(rows::WIDTH);
    for vector in vectors {
        matrix.push(&row(vector))?;
    }
    Ok(matrix)
}

/// Whether there are enough labels of either kind.
fn has_enough(labels: &[(Vector, bool)]) -> bool {
    let confirmed = labels.iter().filter(|(_, confirmed)| *confirmed).count();
    confirmed.min(labels.len() - confirmed) >= LEAST_OF_A_KIND
}

/// A domain's models, and when they are trained.
#[derive(Debug, Default)]
pub struct Learner {
    models: Option<Arc<Models>>,
    /// Since when there are any, on the engine's time.
    since: Micros,
    /// Trained elsewhere.
    foreign: bool,
    /// The last job: when it was handed out, and whether it is under way.
    asked: Micros,
    under_way: bool,
    /// What the population had learned then, and how many labels there were.
    learned: u64,
    labels: u64,
    number: u64,
}

impl Learner {
    /// Those in force.
    #[must_use]
    pub const fn models(&self) -> Option<&Arc<Models>> {
        self.models.as_ref()
    }

    /// Since when there are any.
    pub const fn since(&self) -> Micros {
        self.since
    }

    /// Puts models into force that were trained elsewhere or before. Clients get to be known first.
    pub fn load(&mut self, models: Arc<Models>, now: Micros) {
        self.since = now + KNOWN_AFTER;
        self.number = self.number.max(models.version.number);
        self.models = Some(models);
        self.foreign = true;
    }

    /// What was loaded is of this domain's own traffic.
    pub(super) const fn are_own(&mut self) {
        self.foreign = false;
    }
}

impl Domain {
    /// A job, if it is time: at first with [`LEAST`] vectors, then every five minutes while all is calm, and after new labels.
    fn training(&mut self, now: Micros, wall: Micros, seed: u64) -> Option<TrainingJob> {
        let population = &self.calm.population;
        let learner = &self.models;
        let labelled = self.labelled();
        let least = if learner.foreign { LEAST_INSTEAD } else { LEAST };
        let first = learner.asked == Micros::ZERO || learner.foreign && learner.learned == 0;
        let changed = population.learned() - learner.learned >= NEW_VECTORS;
        let due = first || labelled != learner.labels || changed && now - learner.asked >= EVERY;
        let waits = learner.under_way && now - learner.asked < LOST;
        if population.len() < least || self.is_attack() || waits || !due {
            return None;
        }
        // Who has an open incident was learned from before it was found.
        let vectors = population.vectors(|client| self.incidents.get(client).is_none());
        let learned = population.learned();
        if vectors.len() < least {
            return None;
        }
        let labels = self.labels();
        let number = self.models.number + 1;
        self.models = Learner {
            asked: now,
            under_way: true,
            learned,
            labels: labelled,
            number,
            models: self.models.models.take(),
            foreign: self.models.foreign,
            since: self.models.since,
        };
        Some(TrainingJob { domain: self.name.clone(), vectors, labels, number, at: wall, seed: seed ^ number })
    }

    /// How often people said something of findings.
    const fn labelled(&self) -> u64 {
        self.labels.count()
    }

    /// What people said of findings.
    fn labels(&self) -> Vec<(Vector, bool)> {
        self.labels.iter().map(|(vector, verdict)| (*vector, verdict == Verdict::Confirmed)).collect()
    }
}

impl Engine {
    /// Models that are to be trained now, if any; asked for after each [`Engine::tick`]. One that was handed out is not
    /// handed out again for two minutes, unless it comes back.
    pub fn training(&mut self) -> Option<TrainingJob> {
        let (now, wall) = self.time.last()?;
        let mut domains: Vec<&mut Domain> = self.domains.values_mut().collect();
        domains.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        domains.into_iter().find_map(|domain| domain.training(now, wall, super::SEED))
    }

    /// Takes what came of training: the new models are in force from now on. After a failure the old ones stay.
    pub fn trained(&mut self, trained: Trained) {
        let Some(domain) = self.domains.get_mut(trained.domain.as_str()) else { return };
        domain.models.under_way = false;
        let now = self.time.last().map_or(Micros::ZERO, |(now, _)| now);
        if let Ok(models) = trained.models
            && models.version.number >= domain.models.models().map_or(0, |models| models.version.number)
        {
            if domain.models.models.is_none() {
                domain.models.since = now;
            }
            domain.models.models = Some(Arc::new(models));
            domain.models.foreign = false;
        }
    }

    /// Trains in place whatever is to be trained: for logs in virtual time, where nobody waits.
    pub fn train_in_place(&mut self) {
        while let Some(job) = self.training() {
            let trained = job.run();
            self.trained(trained);
        }
    }

    /// The models that are in force, by domain.
    pub fn versions(&self) -> impl Iterator<Item = (&str, Version)> {
        let versions = self.domains.values();
        versions.filter_map(|domain| Some((domain.name(), domain.models.models()?.version())))
    }
}

/// The usual value of each feature in some vectors: the median, and what nine and ninety-nine of a hundred are below.
#[must_use]
pub fn usual_values(vectors: &[Vector]) -> Vec<(Feature, [f64; 3])> {
    let of = |feature: Feature| {
        let mut values: Vec<f64> = vectors.iter().filter_map(|vector| vector.get(feature.index()).copied()).collect();
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: usize| values.get((values.len() * share / 100).min(values.len().saturating_sub(1))).copied();
        Some((feature, [at(50)?, at(90)?, at(99)?]))
    };
    Feature::ALL.into_iter().filter_map(of).collect()
}
