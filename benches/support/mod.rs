//! Rule sets that the benchmarks share.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod deciding;

use std::fmt::Write as _;

use tidegate::core::clock::Micros;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::core::ruleset::RuleSet;
use tidegate::core::spec::{DescriptorSpec, DomainSpec, EffectSpec, LimitSpec, RuleSpec};

/// A limit that no benchmark exhausts.
pub fn ample(algorithm: Algorithm) -> Limit {
    let amount = if algorithm == Algorithm::SlidingWindowLog { 10_000 } else { 1_000_000_000 };
    let burst = algorithm.has_burst().then_some(amount);
    let window = Window::Length(Micros::from_secs(3_600));
    Limit::new(LimitParts { amount, window, algorithm, burst, over: Over::Record, post_paid: false }).unwrap()
}

pub fn limited(key: &str, value: Option<String>, algorithm: Algorithm) -> DescriptorSpec {
    let limit = LimitSpec { limit: ample(algorithm), name: None, replaces: Vec::new() };
    let rule = RuleSpec { effect: Some(EffectSpec::Limits(vec![limit])), ..RuleSpec::default() };
    DescriptorSpec { rule, ..branch(key, value, Vec::new()) }
}

pub fn branch(key: &str, value: Option<String>, descriptors: Vec<DescriptorSpec>) -> DescriptorSpec {
    DescriptorSpec { key: key.to_owned(), value, descriptors, ..DescriptorSpec::default() }
}

/// A domain `bench` with `rules` rules under one key, a default for that key, and as many again below one branch.
pub fn rule_set(rules: usize) -> RuleSet {
    let values = |key: &'static str| {
        (0..rules / 2).map(move |n| limited(key, Some(format!("customer-{n}")), Algorithm::FixedWindow))
    };
    let mut descriptors: Vec<_> = values("user_id").collect();
    descriptors.push(limited("user_id", None, Algorithm::FixedWindow));
    descriptors.push(branch("path", Some("/api/v1".to_owned()), values("user_id").collect()));
    RuleSet::compile(vec![DomainSpec { descriptors, ..DomainSpec::new("bench") }], false).unwrap()
}

/// A domain `bench` with `rules` wildcards under one key.
pub fn wildcard_set(rules: usize) -> RuleSet {
    let descriptors =
        (0..rules).map(|n| limited("path", Some(format!("/api/{n}/*/items")), Algorithm::FixedWindow)).collect();
    RuleSet::compile(vec![DomainSpec { descriptors, ..DomainSpec::new("bench") }], false).unwrap()
}

/// YAML of a domain with `rules` rules on one to three levels.
pub fn yaml(domain: &str, rules: usize) -> String {
    let mut text = format!("domain: {domain}\ndescriptors:\n");
    let limit = "rate_limit: { unit: hour, requests_per_unit: 1000000000 }";
    for n in 0..rules.div_ceil(4) {
        let _ = write!(
            text,
            "  - key: user_id\n    value: \"customer-{n}\"\n    {limit}\n    descriptors:\n      - key: path\n        \
             value: /api/v1/*\n        {limit}\n      - key: method\n        {limit}\n        descriptors:\n          \
             - key: path\n            {limit}\n"
        );
    }
    text
}
