//! Counters of a test, and limits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use smallvec::smallvec;
use tidegate::core::algorithm::Outcome;
use tidegate::core::clock::{Clock, Micros, SystemClock};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, MAX_WINDOW, Over, Window};
use tidegate::core::spec::FailureMode;
use tidegate::counters::{CounterKey, CounterName, Hit};

/// Ways of recording.
pub const OVERS: [Over; 2] = [Over::Record, Over::Drop];

/// So long a window that nothing drains, and of which no aligned one ends while tests run.
pub static WINDOW: LazyLock<Micros> = LazyLock::new(|| {
    let (hour, day) = (Micros::from_secs(3_600), Micros::from_secs(86_400));
    let now = SystemClock::new().now().wall;
    let lengths = (0..100).map(|days| MAX_WINDOW - Micros(days * day.0));
    lengths.into_iter().find(|length| length.0 - now.0 % length.0 > hour.0).unwrap()
});

/// So many hits in years.
pub fn limit(algorithm: Algorithm, amount: u64, over: Over) -> Limit {
    with(|parts| LimitParts { amount, over, burst: algorithm.has_burst().then_some(amount.max(1)), algorithm, ..parts })
}

/// A limit with parts of one's own.
pub fn with(parts: impl FnOnce(LimitParts) -> LimitParts) -> Limit {
    Limit::new(parts(LimitParts::fixed_window(1, Window::Length(*WINDOW)))).unwrap()
}

/// Counters of one limit.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The test, so that no two share a counter.
    domain: &'static str,
    path: &'static str,
    limit: Option<&'static str>,
}

impl Subject {
    pub const fn new(domain: &'static str, path: &'static str) -> Self {
        Self { domain, path, limit: None }
    }

    /// One of several limits of the same descriptor.
    pub const fn of_limit(self, limit: &'static str) -> Self {
        Self { limit: Some(limit), ..self }
    }

    pub fn key<'a>(self, client: &'a str, limit: &Limit) -> CounterKey<'a> {
        // The space is that of the name, the algorithm and the window, as it is in rules.
        let mut hasher = DefaultHasher::new();
        (self.domain, self.path, self.limit, limit.algorithm(), limit.window()).hash(&mut hasher);
        CounterKey {
            space: hasher.finish().into(),
            name: CounterName { domain: self.domain, path: self.path, limit: self.limit },
            values: smallvec![client.as_bytes()],
        }
    }

    /// A hit that only its counter answers.
    pub fn hit<'a>(self, client: &'a str, limit: &'a Limit, operation: Operation) -> Hit<'a> {
        let key = self.key(client, limit);
        Hit { key, limit, operation, enforced: true, failure_mode: FailureMode::Error }
    }

    /// The same, in shadow.
    pub fn shadow<'a>(self, client: &'a str, limit: &'a Limit, operation: Operation) -> Hit<'a> {
        Hit { enforced: false, ..self.hit(client, limit, operation) }
    }
}

pub fn allowed(outcomes: &[Outcome]) -> Vec<bool> {
    outcomes.iter().map(Outcome::allowed).collect()
}

pub fn levels(outcomes: &[Outcome]) -> Vec<u64> {
    outcomes.iter().map(|outcome| outcome.level).collect()
}
