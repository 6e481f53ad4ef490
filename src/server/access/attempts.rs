//! Wrong tokens, counted and limited by the limiter itself: a rule of its own per client, with counters in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smallvec::smallvec;

use super::peer::Peer;
use crate::core::clock::{Micros, SystemClock};
use crate::core::decision::Code;
use crate::core::descriptor::{Descriptor, Entry, Request};
use crate::core::limit::{Algorithm, Limit, LimitParts, Over, Unit, Window};
use crate::core::ruleset::RuleSet;
use crate::core::spec::{DescriptorSpec, DomainSpec, EffectSpec, LimitSpec, RuleSpec};
use crate::counters::memory::{MemoryOptions, MemoryStore};
use crate::limiter::{Description, Limiter, LimiterOptions};
use crate::telemetry::decisions::{DecisionMetrics, DecisionMetricsOptions};

/// Wrong tokens that a client may show in a minute.
pub const PER_MINUTE: u64 = 20;
/// Clients that are told apart.
const CLIENTS: usize = 10_000;

const DOMAIN: &str = "access";
const KEY: &str = "client";

/// Counts and limits the showing of wrong tokens.
#[derive(Debug)]
pub struct Attempts {
    limiter: Limiter<MemoryStore<SystemClock>>,
    limited: AtomicU64,
}

impl Default for Attempts {
    fn default() -> Self {
        let metrics = DecisionMetricsOptions { shards: 1, max_series: 1, max_domains: 1 };
        let store = MemoryStore::new(SystemClock::new(), MemoryOptions { max_counters: CLIENTS });
        let limiter = Limiter::new(store, LimiterOptions::default(), Arc::new(DecisionMetrics::new(metrics)));
        if let Some(rules) = rules() {
            limiter.publish(rules, Description::default());
        }
        Self { limiter, limited: AtomicU64::new(0) }
    }
}

/// `PER_MINUTE` for each client.
fn rules() -> Option<RuleSet> {
    let parts = LimitParts {
        algorithm: Algorithm::SlidingWindowCounter,
        over: Over::Drop,
        ..LimitParts::fixed_window(PER_MINUTE, Window::Length(Unit::Minute.length()))
    };
    let limit = LimitSpec { limit: Limit::new(parts).ok()?, name: None, replaces: Vec::new() };
    let rule = RuleSpec { effect: Some(EffectSpec::Limits(vec![limit])), ..RuleSpec::default() };
    let descriptors = vec![DescriptorSpec { key: KEY.to_owned(), rule, ..DescriptorSpec::default() }];
    RuleSet::compile(vec![DomainSpec { descriptors, ..DomainSpec::new(DOMAIN) }], false).ok()
}

impl Attempts {
    /// Counts a wrong token.
    ///
    /// # Errors
    /// When the client has shown too many: how long until it may again.
    pub fn count(&self, peer: &Peer) -> Result<(), Duration> {
        let client = peer.counted_as();
        let descriptor = Descriptor { entries: smallvec![Entry::new(KEY, &client)], ..Descriptor::default() };
        let request =
            Request { domain: DOMAIN.as_bytes(), descriptors: smallvec![descriptor], hits_addend: 1, client: None };
        let active = self.limiter.active();
        // Counters in memory always answer, and the request has a meaning.
        let Some(Ok(decision)) = self.limiter.decide_now(&active, &request) else { return Ok(()) };
        if decision.code == Code::Ok {
            return Ok(());
        }
        self.limited.fetch_add(1, Ordering::Relaxed);
        let wait = decision.deciding().and_then(|(_, applied)| applied.outcome.retry_after());
        Err(Duration::from_secs(wait.unwrap_or(Micros::from_secs(60)).as_secs_ceil()))
    }

    /// How often a client had shown too many.
    pub fn limited(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
    }

    /// Forgets counters that are as new, for ever.
    pub async fn keep_house(&self) {
        self.limiter.store().sweep_forever(Duration::from_secs(60)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_err_only_so_often() {
        let attempts = Attempts::default();
        let peer = |address: &str| Peer::Network(address.parse().unwrap());
        let (one, other) = (peer("192.0.2.1:1"), peer("192.0.2.2:1"));
        for _ in 0..PER_MINUTE {
            assert_eq!(attempts.count(&one), Ok(()));
        }
        let wait = attempts.count(&one).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(120), "{wait:?}");
        assert_eq!(attempts.count(&other), Ok(()));
        assert_eq!(attempts.limited(), 1);
    }
}
