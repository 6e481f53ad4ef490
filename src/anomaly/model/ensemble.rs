//! All models together: one score, and why.
//!
//! Three views of a vector: an extended isolation forest (how easily is it parted from the others?), the distance to its
//! nearest neighbours (how far is it from anything that was seen?) and the reconstruction error (do its features go together
//! as usual?). The strangest view counts, and is calibrated again, for who looks three times finds more: the fused score
//! means the same as each of its parts. (Tippett, The Methods of Statistics, 1931: the least of several p-values.) So a
//! vector that only one model can see is seen. Forests end at their outermost training vector; the other two go on.
//!
//! Half of the training vectors fit the models, the other half calibrate them. Labels, once there are enough, move what
//! stands out by up to two powers of ten either way.

use serde::{Deserialize, Serialize};

use super::calibration::{Calibration, score};
use super::forest::{Forest, ForestSettings};
use super::labels::{LEAST_OF_A_KIND, Labelled, Labels, MOST_LABELS};
use super::neighbours::{NeighbourSettings, Neighbours};
use super::reconstruction::Reconstruction;
use super::scaling::{Scaled, Scaling};
use super::schema::FeatureSchema;
use super::vectors::Vectors;
use super::{FitError, Model};

/// Fewer training vectors say nothing about how rare something is.
pub const LEAST_VECTORS: usize = 200;
/// No more features than this.
pub const MOST_FEATURES: usize = 256;
/// Of more training vectors, so many are drawn for each half.
const HALF: usize = 16_384;
/// Labels speak of what is at least so rare; of the rest, nobody is asked.
const STANDS_OUT: f64 = 1.0;

/// How many models there are.
pub(super) const PARTS: usize = 3;

/// Settings of an [`Ensemble`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnsembleSettings {
    /// The isolation forest.
    pub forest: ForestSettings,
    /// The nearest neighbours.
    pub neighbours: NeighbourSettings,
}

/// Models that were trained on the same vectors.
#[derive(Debug)]
pub struct Ensemble {
    pub(super) schema: u64,
    pub(super) trained: Trained,
    pub(super) labels: Option<Labels>,
}

/// What training leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trained {
    scaling: Scaling,
    forest: Forest,
    neighbours: Neighbours,
    reconstruction: Reconstruction,
    calibrations: [Calibration; PARTS],
    fused: Calibration,
}

/// How strange a vector is. Each score is 0 (usual) to 1, with the meaning that [`super::calibration`] gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Of all models together, labels included.
    pub fused: f64,
    /// Of each model.
    pub parts: [Part; PARTS],
    /// The probability that a person would confirm it, where labels were asked.
    pub confirmed: Option<f64>,
}

/// What one model says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Its name.
    pub model: &'static str,
    /// Its score.
    pub score: f64,
}

impl Ensemble {
    /// Trains on calm traffic. The same vectors, settings and seed give the same models. Values may be NaN where they are not
    /// known.
    ///
    /// # Errors
    /// When there are too few vectors, or they are not of that schema.
    pub fn fit(
        vectors: &Vectors,
        schema: &FeatureSchema,
        settings: &EnsembleSettings,
        seed: u64,
    ) -> Result<Self, FitError> {
        super::vectors::same_width(schema.width(), vectors.width())?;
        if vectors.width() > MOST_FEATURES {
            return Err(FitError::TooWide { width: vectors.width(), most: MOST_FEATURES });
        }
        if vectors.len() < LEAST_VECTORS {
            return Err(FitError::TooFew { found: vectors.len(), least: LEAST_VECTORS });
        }
        let mut order: Vec<usize> = (0..vectors.len()).collect();
        let mut rng = fastrand::Rng::with_seed(seed);
        rng.shuffle(&mut order);
        let (fitting, calibrating) = order.split_at(order.len() / 2);
        let fitting = vectors.select(&fitting[..fitting.len().min(HALF)]);
        let calibrating = vectors.select(&calibrating[..calibrating.len().min(HALF)]);

        let scaling = Scaling::fit(&fitting, schema);
        let fitting = scaling.scale_all(fitting);
        let calibrating = scaling.scale_all(calibrating);
        let mut trained = Trained {
            scaling,
            forest: Forest::fit(&fitting, settings.forest, rng.u64(..))?,
            neighbours: Neighbours::fit(&fitting, settings.neighbours),
            reconstruction: Reconstruction::fit(&fitting)?,
            calibrations: std::array::from_fn(|_| Calibration::default()),
            fused: Calibration::default(),
        };
        trained.calibrations =
            trained.models().map(|model| Calibration::fit(calibrating.rows().map(|row| model.score(row)).collect()));
        trained.fused = Calibration::fit(calibrating.rows().map(|row| strangest(&trained.rarities(row))).collect());
        Ok(Self { schema: schema.fingerprint(), trained, labels: None })
    }

    /// With what people said of `vectors`: whether they confirmed each. Replaces earlier labels; with too few of either
    /// kind, there are none. Of too many, the last count.
    ///
    /// # Errors
    /// When the vectors are not of the models' schema or not as many as the answers.
    pub fn with_labels(mut self, vectors: &Vectors, confirmed: &[bool], seed: u64) -> Result<Self, FitError> {
        super::vectors::same_width(self.width(), vectors.width())?;
        if vectors.len() != confirmed.len() {
            return Err(FitError::Unlabelled { vectors: vectors.len(), labels: confirmed.len() });
        }
        let first = vectors.len().saturating_sub(MOST_LABELS);
        let vectors = vectors.select(&(first..vectors.len()).collect::<Vec<_>>());
        let confirmed = confirmed[first..].to_vec();
        let yes = confirmed.iter().filter(|&&confirmed| confirmed).count();
        let enough = yes.min(confirmed.len() - yes) >= LEAST_OF_A_KIND;
        let labelled = Labelled { vectors: self.trained.scaling.scale_all(vectors), confirmed, seed };
        self.labels = if enough { Some(Labels::fit(labelled)?) } else { None };
        Ok(self)
    }

    /// Features of the vectors that it scores.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.trained.scaling.width()
    }

    /// How strange `vector` is. Whatever it holds, the scores are within their range; what is not known counts as usual.
    #[must_use]
    pub fn score(&self, vector: &[f64]) -> Score {
        let scaled = self.trained.scaling.scale(vector);
        let rarities = self.trained.rarities(&scaled);
        let mut rarity = self.trained.fused.rarity(strangest(&rarities));
        let asked = self.labels.as_ref().filter(|_| rarity >= STANDS_OUT);
        let confirmed = asked.map(|labels| {
            let probability = labels.score(&scaled);
            rarity = (rarity + labels.evidence(probability)).max(0.0);
            probability
        });
        let names = self.trained.models().map(Model::name);
        let parts = std::array::from_fn(|part| Part { model: names[part], score: score(rarities[part]) });
        Score { fused: score(rarity), parts, confirmed }
    }

    /// Which share of its strangeness each feature of `vector` has, together 1: what each model says, by how rare it finds
    /// the vector. Takes some hundred times longer than a score.
    #[must_use]
    pub fn explain(&self, vector: &[f64]) -> Vec<f64> {
        let scaled = self.trained.scaling.scale(vector);
        let rarities = self.trained.rarities(&scaled);
        let (mut sum, mut shares) = (vec![0.0; scaled.len()], vec![0.0; scaled.len()]);
        for (model, rarity) in self.trained.models().into_iter().zip(rarities) {
            model.explain(&scaled, &mut shares);
            sum.iter_mut().zip(&shares).for_each(|(sum, share)| *sum += rarity * share);
        }
        super::to_shares(&mut sum);
        sum
    }

    /// `vector` on the models' common scale: by how many usual spreads each feature is away from its median in calm traffic.
    #[must_use]
    pub fn deviations(&self, vector: &[f64]) -> Scaled {
        self.trained.scaling.scale(vector)
    }
}

impl Trained {
    fn models(&self) -> [&dyn Model; PARTS] {
        [&self.forest, &self.neighbours, &self.reconstruction]
    }

    fn rarities(&self, scaled: &[f64]) -> [f64; PARTS] {
        let models = self.models();
        std::array::from_fn(|part| self.calibrations[part].rarity(models[part].score(scaled)))
    }

    /// For what was read from elsewhere.
    pub(super) fn is_sound(&self, width: usize) -> bool {
        self.scaling.is_sound(width)
            && self.forest.is_sound(width)
            && self.neighbours.is_sound(width)
            && self.reconstruction.is_sound(width)
            && self.calibrations.iter().chain([&self.fused]).all(Calibration::is_sound)
    }
}

fn strangest(rarities: &[f64; PARTS]) -> f64 {
    rarities.iter().copied().fold(0.0, f64::max)
}
