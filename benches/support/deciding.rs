//! A decision of the rate limit service without its connection: the message is read, decided with counters in memory, and
//! answered; and, if anybody wants observations, one is left.

use std::hint::black_box;
use std::sync::Arc;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use prost::Message as _;
use tidegate::anomaly::observe::{Observations, Reader};
use tidegate::config::Config;
use tidegate::core::clock::{ManualClock, Micros};
use tidegate::counters::memory::{MemoryOptions, MemoryStore};
use tidegate::limiter::{Description, Limiter, LimiterOptions};
use tidegate::server::observing::of_decision;
use tidegate::server::rls::message;
use tidegate::server::rls::response::{self, ResponseSettings};
use tidegate::telemetry::decisions::{DecisionMetrics, DecisionMetricsOptions};

/// What decides, and what it is asked: two limits, and all that tells who a client is.
pub struct Deciding {
    limiter: Limiter<MemoryStore<ManualClock>>,
    settings: ResponseSettings,
    message: Vec<u8>,
    observations: Arc<Observations>,
    reader: Option<Reader>,
}

impl Deciding {
    pub fn new(observed: bool) -> Self {
        let clock = ManualClock::at(Micros::from_secs(1_700_000_000));
        let store = MemoryStore::new(clock, MemoryOptions { max_counters: 1_000_000 });
        let metrics = DecisionMetricsOptions { shards: 1, max_series: 10_000, max_domains: 100 };
        let limiter = Limiter::new(store, LimiterOptions::default(), Arc::new(DecisionMetrics::new(metrics)));
        limiter.publish(super::rule_set(10_000), Description::default());
        let descriptor = |entries: &[(&str, &str)]| RateLimitDescriptor {
            entries: entries.iter().map(|(key, value)| Entry { key: (*key).into(), value: (*value).into() }).collect(),
            ..RateLimitDescriptor::default()
        };
        let request = RateLimitRequest {
            domain: "bench".into(),
            descriptors: vec![
                descriptor(&[("user_id", "customer-3141")]),
                descriptor(&[("path", "/api/v1"), ("user_id", "customer-3141")]),
                descriptor(&[
                    ("remote_address", "203.0.113.77"),
                    ("method", "GET"),
                    ("user_agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
                ]),
            ],
            hits_addend: 1,
        };
        let observations = Arc::new(Observations::new(1));
        let mut deciding = Self {
            limiter,
            settings: ResponseSettings::from_config(&Config::default()),
            message: request.encode_to_vec(),
            observations,
            reader: None,
        };
        deciding.want(observed);
        deciding.decide();
        deciding
    }

    /// Whether somebody wants observations from now on.
    pub fn want(&mut self, wanted: bool) {
        self.reader = None;
        self.reader = wanted.then(|| self.observations.read().unwrap());
    }

    /// As the service does it.
    pub fn decide(&self) {
        let active = self.limiter.active();
        let request = message::decode(black_box(&self.message), 100).unwrap();
        let decision = self.limiter.decide_now(&active, &request).unwrap().unwrap();
        if self.observations.are_wanted() {
            let domain = decision.domain.unwrap();
            let keys = self.limiter.options().identities.of(&domain.name);
            if let Some(left) = of_decision(&request, &decision, &domain.name, keys, self.limiter.wall()) {
                self.observations.record(&left);
            }
        }
        black_box(response::encode(Vec::with_capacity(512), &decision, active.revision, &self.settings));
    }

    /// Takes what was left, and returns how many were; none may be lost.
    pub fn take(&mut self) -> u64 {
        assert_eq!(self.observations.lost(), 0);
        self.reader.as_mut().map_or(0, |reader| reader.drain(|observation| _ = black_box(observation)))
    }
}
