//! What becomes of requests.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It passed.
    Passed,
    /// A limit as the rules say it denied it.
    LimitedByRules,
    /// It would have passed but for the anomaly worker.
    LimitedByWorker,
}

/// What became of somebody's requests so far.
#[derive(Debug, Default)]
pub struct Fate {
    passed: AtomicU64,
    by_rules: AtomicU64,
    by_worker: AtomicU64,
}

/// The same, as figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that passed.
    pub passed: u64,
    /// Requests that a rule denied.
    pub by_rules: u64,
    /// Requests that only the anomaly worker denied.
    pub by_worker: u64,
}

impl Fate {
    /// Counts an answer.
    pub fn count(&self, answer: Answer) {
        let counter = match answer {
            Answer::Passed => &self.passed,
            Answer::LimitedByRules => &self.by_rules,
            Answer::LimitedByWorker => &self.by_worker,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// So far.
    pub fn figures(&self) -> Figures {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures { passed: of(&self.passed), by_rules: of(&self.by_rules), by_worker: of(&self.by_worker) }
    }
}

impl Figures {
    /// All of them.
    pub const fn all(self) -> u64 {
        self.passed + self.by_rules + self.by_worker
    }

    /// What came since `before`.
    pub const fn since(self, before: Self) -> Self {
        Self {
            passed: self.passed.saturating_sub(before.passed),
            by_rules: self.by_rules.saturating_sub(before.by_rules),
            by_worker: self.by_worker.saturating_sub(before.by_worker),
        }
    }

    /// How many of a hundred did not pass, rounded down, so that 100 means all.
    pub const fn stopped_percent(self) -> u64 {
        let all = if self.all() == 0 { 1 } else { self.all() };
        (self.by_rules + self.by_worker) * 100 / all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_per_cent_means_all() {
        let figures = Figures { passed: 1, by_rules: 500, by_worker: 499 };
        assert_eq!((figures.all(), figures.stopped_percent()), (1_000, 99));
        assert_eq!(Figures { passed: 0, ..figures }.stopped_percent(), 100);
        assert_eq!(Figures::default().stopped_percent(), 0);
    }

    #[test]
    fn answers_are_counted_by_who_decided() {
        let fate = Fate::default();
        for answer in [Answer::Passed, Answer::LimitedByRules, Answer::LimitedByWorker, Answer::LimitedByWorker] {
            fate.count(answer);
        }
        let before = Figures { passed: 1, by_rules: 0, by_worker: 1 };
        assert_eq!(fate.figures(), Figures { passed: 1, by_rules: 1, by_worker: 2 });
        assert_eq!(fate.figures().since(before), Figures { passed: 0, by_rules: 1, by_worker: 1 });
    }
}
