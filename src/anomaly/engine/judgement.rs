//! What an engine makes of each client, for those who ask: training on logs, and evaluation.

use super::Engine;
use crate::anomaly::features::list::Vector;
use crate::core::subject::Subject;

/// A client in one second.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Who.
    pub subject: Subject,
    /// Its features.
    pub vector: Vector,
    /// One in `10^r` calm clients has as strange a feature.
    pub by_features: f64,
    /// The same by the models, where they were asked.
    pub by_models: Option<f64>,
    /// It was calm, and the population took its vector.
    pub learned: bool,
}

impl Engine {
    /// Keeps the judgements of each second, until the next.
    #[must_use]
    pub fn keeping_judgements(mut self) -> Self {
        self.keeps_judgements = true;
        self.domains.values_mut().for_each(|domain| domain.judged = Some(Vec::new()));
        self
    }

    /// Judgements of the last second, of all domains; clients with few requests are not judged.
    pub fn judgements(&self) -> impl Iterator<Item = &Judgement> {
        self.domains.values().flat_map(|domain| domain.judged.iter().flatten())
    }
}
