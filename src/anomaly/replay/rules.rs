//! Rules enforced as the server would, by its limiter with counters in memory and the log's clock, and adjustments upon
//! them.
//!
//! A factor is put into effect by letting a request cost as many hits as the factor makes the limit smaller (rounded, so
//! a factor between 2/3 and 1 has no effect), on the descriptors that name the user or the address it is about. Floors
//! are not known here.

use std::fmt::Write as _;
use std::sync::Arc;

use super::enforcement::Enforcement;
use super::log::Entry;
use super::questions::Questions;
use super::subjects::{BySubject, Kind};
use crate::anomaly::observation::Outcome;
use crate::core::adjustment::{Adjustment, Effect};
use crate::core::clock::{ManualClock, Micros};
use crate::core::decision::Code;
use crate::core::descriptor::Request;
use crate::core::ruleset::{CompileError, RuleSet};
use crate::core::spec::DomainSpec;
use crate::counters::memory::{MemoryOptions, MemoryStore};
use crate::limiter::{Description, Limiter, LimiterOptions};
use crate::rules::yaml;
use crate::telemetry::decisions::DecisionMetrics;

/// The most that a factor lets a request cost.
const MAX_COST: u64 = 1_000_000;

/// The rules of a site, for when none are given: each user 300, each address 1200 requests a minute, and 30 tries to log
/// in a minute of each address.
#[must_use]
pub fn site() -> Option<DomainSpec> {
    yaml::parse(include_str!("site.yaml"), 0).domain
}

/// The rules of one domain, and the adjustments in force.
#[derive(Debug)]
pub struct Rules {
    limiter: Limiter<MemoryStore<ManualClock>>,
    clock: ManualClock,
    now: Micros,
    domain: String,
    questions: Questions,
    adjusted: BySubject<Adjusted>,
    /// The text of the request's address.
    address: String,
}

/// What is in force for one subject.
#[derive(Debug, Default)]
struct Adjusted {
    adjustments: Vec<Adjustment>,
    /// Of a limit of its own: what is left, and when that was so.
    tokens: Option<(f64, Micros)>,
}

/// What adjustments make of one request.
#[derive(Clone, Copy, Debug)]
struct Toll {
    user: f64,
    address: f64,
    blocked: bool,
}

impl Rules {
    /// Enforces the rules of `domain`.
    ///
    /// # Errors
    /// Every mistake for which they do not compile.
    pub fn new(domain: DomainSpec) -> Result<Self, Vec<CompileError>> {
        let (questions, name) = (Questions::of(&domain), domain.name.clone());
        let clock = ManualClock::at(Micros::ZERO);
        let store = MemoryStore::new(clock.clone(), MemoryOptions::default());
        let limiter = Limiter::new(store, LimiterOptions::default(), Arc::new(DecisionMetrics::default()));
        limiter.publish(RuleSet::compile(vec![domain], false)?, Description::default());
        Ok(Self {
            limiter,
            clock,
            now: Micros::ZERO,
            domain: name,
            questions,
            adjusted: BySubject::default(),
            address: String::new(),
        })
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

    /// What the adjustments of the user and of the address say.
    fn toll(&mut self, entry: &Entry) -> Toll {
        let mut toll = Toll { user: 1.0, address: 1.0, blocked: false };
        self.adjusted.of(entry, |kind, adjusted| {
            for adjustment in in_force(&adjusted.adjustments, entry.at) {
                match adjustment.effect {
                    Effect::Block => toll.blocked = true,
                    Effect::Factor { factor, .. } => {
                        if kind != Kind::Address {
                            toll.user = toll.user.min(factor);
                        }
                        if kind != Kind::User {
                            toll.address = toll.address.min(factor);
                        }
                    }
                    Effect::Limit { .. } => {}
                }
            }
        });
        toll
    }

    /// Whether the limits that adjustments make for their subjects let the request pass.
    fn within_own_limits(&mut self, entry: &Entry) -> bool {
        let mut within = true;
        self.adjusted.of(entry, |_, adjusted| {
            for adjustment in in_force(&adjusted.adjustments, entry.at) {
                if let Effect::Limit { rate, burst } = adjustment.effect {
                    let (left, since) = adjusted.tokens.unwrap_or((burst as f64, entry.at));
                    let left = (left + rate * (entry.at - since).0 as f64 / 1e6).min(burst as f64);
                    let passes = left >= 1.0;
                    adjusted.tokens = Some((if passes { left - 1.0 } else { left }, entry.at));
                    within &= passes;
                }
            }
        });
        within
    }

    /// Whether the rules let it pass, and if not, whether only the toll is why.
    fn ask(&mut self, entry: &Entry, toll: Toll) -> Outcome {
        self.address.clear();
        if let Some(address) = entry.address {
            // Writing to a String cannot fail.
            let _ = write!(self.address, "{address}");
        }
        let mut request =
            Request { domain: self.domain.as_bytes(), descriptors: Default::default(), hits_addend: 1, client: None };
        for (mut descriptor, user, address) in self.questions.ask(entry, &self.address) {
            let factor = (if user { toll.user } else { 1.0 }).min(if address { toll.address } else { 1.0 });
            if factor < 1.0 {
                descriptor.hits_addend = Some(((1.0 / factor).round() as u64).clamp(1, MAX_COST));
            }
            request.descriptors.push(descriptor);
        }
        if request.descriptors.is_empty() {
            return Outcome::Allowed;
        }
        let active = self.limiter.active();
        match self.limiter.decide_now(&active, &request) {
            Some(Ok(decision)) if decision.code == Code::Ok => Outcome::Allowed,
            Some(Ok(decision)) => {
                let denied = decision.statuses.iter().zip(&request.descriptors);
                let mut denied = denied.filter(|(status, _)| status.code == Code::OverLimit);
                let tolled = denied.all(|(_, descriptor)| descriptor.hits_addend.is_some());
                if tolled { Outcome::LimitedByAdjustment } else { Outcome::Limited }
            }
            // The memory store always answers, and the request always has a meaning.
            Some(Err(_)) | None => Outcome::Unknown,
        }
    }
}

fn in_force(adjustments: &[Adjustment], now: Micros) -> impl Iterator<Item = &Adjustment> {
    adjustments.iter().filter(move |adjustment| !adjustment.shadow && now < adjustment.expires)
}

impl Enforcement for Rules {
    fn domain(&self) -> &str {
        &self.domain
    }

    fn decide(&mut self, entry: &Entry) -> Outcome {
        self.clock.advance(entry.at - self.now);
        self.now = self.now.max(entry.at);
        if self.adjusted.len() == 0 {
            return self.ask(entry, Toll { user: 1.0, address: 1.0, blocked: false });
        }
        let toll = self.toll(entry);
        if toll.blocked {
            return Outcome::LimitedByAdjustment;
        }
        match self.ask(entry, toll) {
            Outcome::Allowed if !self.within_own_limits(entry) => Outcome::LimitedByAdjustment,
            outcome => outcome,
        }
    }

    fn adjust(&mut self, adjustments: &[Adjustment]) {
        let mut before = std::mem::take(&mut self.adjusted);
        for adjustment in adjustments {
            let old = before.entry(&adjustment.subject, Adjusted::default);
            let tokens = old.tokens;
            let adjusted = self.adjusted.entry(&adjustment.subject, || Adjusted { adjustments: Vec::new(), tokens });
            adjusted.adjustments.push(adjustment.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use smallvec::smallvec;

    use super::*;
    use crate::anomaly::replay::log::Reader;
    use crate::core::subject::{Attribute, Subject};

    /// Decides so many requests, all at the same second, and counts outcomes: allowed, limited, limited by adjustment.
    fn decide(rules: &mut Rules, count: usize, line: &str) -> [usize; 3] {
        let mut outcomes = [0; 3];
        let mut reader = Reader::new(Cursor::new(format!("{line}\n").repeat(count)), None).unwrap();
        while let Some(entry) = reader.read().unwrap() {
            match rules.decide(&entry) {
                Outcome::Allowed => outcomes[0] += 1,
                Outcome::Limited => outcomes[1] += 1,
                Outcome::LimitedByAdjustment => outcomes[2] += 1,
                Outcome::Unknown => panic!("no answer"),
            }
        }
        outcomes
    }

    fn rules() -> Rules {
        Rules::new(site().unwrap()).unwrap()
    }

    fn adjustment(subject: Subject, effect: Effect) -> Adjustment {
        let expires = Micros::from_secs(1_000);
        Adjustment { id: "1".into(), subject, domain: None, effect, expires, shadow: false }
    }

    const ALICE: &str = r#"{"ts":60,"user_id":"alice","ip_address":"192.0.2.1","path":"/","country":"DE"}"#;

    #[test]
    fn the_rules_of_a_site_are_enforced() {
        let mut rules = rules();
        assert!(rules.unknown_keys().is_empty() && !rules.asks_nothing());
        assert_eq!(decide(&mut rules, 400, ALICE), [300, 100, 0]);
        let login = r#"{"ts":60,"ip_address":"192.0.2.2","path":"/login"}"#;
        assert_eq!(decide(&mut rules, 40, login), [30, 10, 0]);
    }

    #[test]
    fn a_factor_makes_limits_smaller_until_it_expires() {
        let mut rules = rules();
        let effect = Effect::Factor { factor: 0.1, floor: 1 };
        rules.adjust(&[adjustment(Subject::User("alice".into()), effect)]);
        assert_eq!(decide(&mut rules, 400, ALICE), [30, 0, 370]);
        let later = ALICE.replace("60", "2000");
        assert_eq!(decide(&mut rules, 300, &later), [300, 0, 0]);
        let bob = later.replace("alice", "bob");
        assert_eq!(decide(&mut rules, 300, &bob), [300, 0, 0]);
    }

    #[test]
    fn a_group_gets_a_limit_of_its_own() {
        let mut rules = rules();
        let group = Subject::Group(smallvec![(Attribute::Country, "DE".into()), (Attribute::Path, "/".into())]);
        let limit = adjustment(group, Effect::Limit { rate: 2.0, burst: 5 });
        rules.adjust(std::slice::from_ref(&limit));
        assert_eq!(decide(&mut rules, 10, ALICE), [5, 0, 5]);
        // Said again, it goes on where it was.
        rules.adjust(&[limit]);
        assert_eq!(decide(&mut rules, 10, ALICE), [0, 0, 10]);
        assert_eq!(decide(&mut rules, 10, &ALICE.replace("60", "61")), [2, 0, 8]);
        assert_eq!(decide(&mut rules, 10, &ALICE.replace("DE", "FR").replace("60", "61")), [10, 0, 0]);
        rules.adjust(&[]);
        assert_eq!(decide(&mut rules, 10, &ALICE.replace("60", "61")), [10, 0, 0]);
    }

    #[test]
    fn a_block_lets_nothing_pass_and_a_shadow_everything() {
        let mut rules = rules();
        let mut block = adjustment(Subject::Address("192.0.2.1".parse().unwrap()), Effect::Block);
        rules.adjust(std::slice::from_ref(&block));
        assert_eq!(decide(&mut rules, 10, ALICE), [0, 0, 10]);
        block.shadow = true;
        rules.adjust(&[block]);
        assert_eq!(decide(&mut rules, 10, ALICE), [10, 0, 0]);
    }

    #[test]
    fn keys_that_no_log_tells_are_named() {
        let text = "domain: d\ndescriptors:\n  - key: tenant\n    rate_limit: { unit: day, requests_per_unit: 1 }\n";
        let rules = Rules::new(yaml::parse(text, 0).domain.unwrap()).unwrap();
        assert_eq!(rules.unknown_keys(), ["tenant"]);
        assert!(rules.asks_nothing());
    }
}
