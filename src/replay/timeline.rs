//! Requests over time, in a bounded number of steps however long the log is.

use crate::anomaly::observation::Outcome;
use crate::core::clock::Micros;

/// The most steps; with more, each becomes twice as long.
const MAX_STEPS: usize = 720;
/// The most labels told apart; those of further ones, and none, are [`UNLABELLED`].
const MAX_LABELS: usize = 8;

/// The name of requests without a label.
pub const UNLABELLED: &str = "no label";

/// What may become of a request, in the order of [`Timeline::outcomes`].
pub const OUTCOMES: [&str; 3] = ["passed", "limited", "limited by an adjustment"];

/// Requests over time.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// When the first step begins.
    pub start: Micros,
    /// How long a step is.
    pub step: Micros,
    steps: Vec<Step>,
    labels: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Step {
    outcomes: [u64; OUTCOMES.len()],
    /// Of each label, [`UNLABELLED`] first.
    labels: [u64; MAX_LABELS + 1],
}

impl Default for Timeline {
    fn default() -> Self {
        Self { start: Micros::ZERO, step: Micros::SECOND, steps: Vec::new(), labels: vec![UNLABELLED.to_owned()] }
    }
}

impl Timeline {
    pub(super) fn add(&mut self, at: Micros, label: Option<&str>, outcome: Outcome) {
        if self.steps.is_empty() {
            self.start = Micros(at.0 / 1_000_000 * 1_000_000);
        }
        let mut position = ((at - self.start).0 / self.step.0) as usize;
        while position >= MAX_STEPS {
            self.halve();
            position /= 2;
        }
        if position >= self.steps.len() {
            self.steps.resize_with(position + 1, Step::default);
        }
        let label = label.map_or(0, |label| self.label(label));
        let step = &mut self.steps[position];
        step.labels[label] += 1;
        step.outcomes[match outcome {
            Outcome::Unknown | Outcome::Allowed => 0,
            Outcome::Limited => 1,
            Outcome::LimitedByAdjustment => 2,
        }] += 1;
    }

    fn label(&mut self, label: &str) -> usize {
        if let Some(at) = self.labels.iter().position(|known| known == label) {
            return at;
        }
        if self.labels.len() > MAX_LABELS {
            return 0;
        }
        self.labels.push(label.to_owned());
        self.labels.len() - 1
    }

    fn halve(&mut self) {
        self.step = self.step + self.step;
        let pairs = self.steps.chunks(2).map(|pair| {
            let mut sum = Step::default();
            for step in pair {
                sum.outcomes.iter_mut().zip(step.outcomes).for_each(|(sum, count)| *sum += count);
                sum.labels.iter_mut().zip(step.labels).for_each(|(sum, count)| *sum += count);
            }
            sum
        });
        self.steps = pairs.collect();
    }

    /// When the last step ends.
    #[must_use]
    pub fn end(&self) -> Micros {
        self.start + Micros(self.step.0.saturating_mul(self.steps.len().max(1) as u64))
    }

    /// Requests a second of each step, of each outcome.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(&str, Vec<f64>)> {
        OUTCOMES.iter().enumerate().map(|(at, &name)| (name, self.rates(|step| step.outcomes[at]))).collect()
    }

    /// Requests a second of each step, of each label that there is.
    #[must_use]
    pub fn labels(&self) -> Vec<(&str, Vec<f64>)> {
        let each = self.labels.iter().enumerate().map(|(at, name)| (&**name, self.rates(|step| step.labels[at])));
        each.filter(|(_, rates)| rates.iter().any(|&rate| rate > 0.0)).collect()
    }

    fn rates(&self, count: impl Fn(&Step) -> u64) -> Vec<f64> {
        let seconds = self.step.0 as f64 / 1e6;
        self.steps.iter().map(|step| count(step) as f64 / seconds).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_with_the_log_and_lose_nothing() {
        let mut timeline = Timeline::default();
        for second in 0..10_000 {
            let label = if second % 2 == 0 { "legit" } else { "flood" };
            timeline.add(Micros::from_secs(1_000 + second), Some(label), Outcome::Allowed);
        }
        assert_eq!(timeline.step, Micros::from_secs(16));
        assert_eq!(timeline.end(), Micros::from_secs(11_000));
        let labels = timeline.labels();
        assert_eq!(labels.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["legit", "flood"]);
        for (_, rates) in labels {
            assert_eq!(rates.iter().sum::<f64>() * 16.0, 5_000.0);
        }
        // A gap of years.
        timeline.add(Micros::from_secs(1_000_000_000), None, Outcome::Limited);
        assert!(timeline.steps.len() <= MAX_STEPS);
    }

    #[test]
    fn labels_are_bounded() {
        let mut timeline = Timeline::default();
        for number in 0..100 {
            timeline.add(Micros::SECOND, Some(&format!("label {number}")), Outcome::Allowed);
        }
        assert_eq!(timeline.labels().len(), MAX_LABELS + 1);
        assert_eq!(timeline.labels()[0], (UNLABELLED, vec![92.0]));
    }
}
