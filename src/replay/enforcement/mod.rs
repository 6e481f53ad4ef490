//! Rules and adjustments enforced as a server enforces them: by its limiter, with counters in memory and the clock of the
//! log. Nothing is decided here.

use std::fmt::Write as _;
use std::sync::Arc;

use super::log::Entry;
use super::questions::Questions;
use crate::anomaly::observation::Outcome;
use crate::core::adjustment::set::AdjustmentSet;
use crate::core::clock::{ManualClock, Micros};
use crate::core::descriptor::Request;
use crate::core::identity::Identities;
use crate::core::ruleset::{CompileError, RuleSet};
use crate::core::spec::DomainSpec;
use crate::counters::memory::{MemoryOptions, MemoryStore};
use crate::limiter::{Description, Limiter, LimiterOptions};
use crate::rules::yaml;
use crate::telemetry::decisions::DecisionMetrics;

/// The rules of a site, for when none are given: each user 300, each address 1200 requests a minute, and 30 tries to log
/// in a minute of each address.
#[must_use]
pub fn site() -> Option<DomainSpec> {
    yaml::parse(include_str!("site.yaml"), 0).domain
}

/// The rules of one domain, and the adjustments in force.
#[derive(Debug)]
pub struct Enforcement {
    limiter: Limiter<MemoryStore<ManualClock>>,
    clock: ManualClock,
    now: Micros,
    domain: String,
    questions: Questions,
    /// The text of the request's address.
    address: String,
}

impl Enforcement {
    /// Enforces the rules of `domain`; `identities` say which of their keys stand for what a log tells.
    ///
    /// # Errors
    /// Every mistake for which they do not compile.
    pub fn new(domain: DomainSpec, identities: Identities) -> Result<Self, Vec<CompileError>> {
        let (questions, name) = (Questions::of(&domain, identities.of(&domain.name)), domain.name.clone());
        let clock = ManualClock::at(Micros::ZERO);
        let store = MemoryStore::new(clock.clone(), MemoryOptions::default());
        let options = LimiterOptions { identities, ..LimiterOptions::default() };
        let limiter = Limiter::new(store, options, Arc::new(DecisionMetrics::default())).with_clock(clock.clone());
        limiter.publish(RuleSet::compile(vec![domain], false)?, Description::default());
        Ok(Self { limiter, clock, now: Micros::ZERO, domain: name, questions, address: String::new() })
    }

    /// The domain that requests are decided in.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Keys of rules that are never met, because no log tells their values.
    #[must_use]
    pub fn unknown_keys(&self) -> &[String] {
        self.questions.unknown()
    }

    /// Whether no rule can be met by any line.
    #[must_use]
    pub const fn asks_nothing(&self) -> bool {
        self.questions.is_empty()
    }

    /// Puts these adjustments in force, and no others, for every request from now on.
    pub fn adjust(&mut self, adjustments: AdjustmentSet) {
        self.limiter.adjust(adjustments);
    }

    /// Decides and charges one request. Times never go back.
    pub fn decide(&mut self, entry: &Entry) -> Outcome {
        self.clock.advance(entry.at - self.now);
        self.now = self.now.max(entry.at);
        self.address.clear();
        if let Some(address) = entry.address {
            // Writing to a String cannot fail.
            let _ = write!(self.address, "{address}");
        }
        let client = entry.client();
        let request = Request {
            domain: self.domain.as_bytes(),
            descriptors: self.questions.ask(entry, &self.address).collect(),
            hits_addend: 1,
            client: Some(&client),
        };
        if request.descriptors.is_empty() {
            // A proxy would not ask.
            return Outcome::Allowed;
        }
        let active = self.limiter.active();
        match self.limiter.decide_now(&active, &request) {
            Some(Ok(decision)) => Outcome::of(&decision),
            // The memory store always answers, and the request always has a meaning.
            Some(Err(_)) | None => Outcome::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
