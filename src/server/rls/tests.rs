//! Messages against those of `envoy-types`, field by field.

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{
    Entry as WireEntry, RateLimitOverride,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{DescriptorStatus, RateLimit};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Duration, ListValue, Struct, UInt64Value, Value};
use proptest::prelude::*;
use prost::Message;

use super::message::{self, MAX_ENTRIES, RequestError};
use super::response::{self, ResponseSettings};
use crate::config::Config;
use crate::core::algorithm::{Outcome, Verdict};
use crate::core::clock::Micros;
use crate::core::decision::{Applied, Code, Decision, Source, Status};
use crate::core::descriptor::{Descriptor, Entry, LimitOverride, Operation, Request};
use crate::core::limit::{Limit, LimitParts, Unit, Window};
use crate::core::rule::Rule;
use crate::core::ruleset::RuleSet;
use crate::core::spec::HeaderFamilies;
use crate::rules::files::load_text;

fn unit_of(number: i32) -> Unit {
    match number {
        1 => Unit::Second,
        2 => Unit::Minute,
        3 => Unit::Hour,
        4 => Unit::Day,
        5 => Unit::Month,
        6 => Unit::Year,
        7 => Unit::Week,
        other => panic!("{other}"),
    }
}

/// What a request means, by way of the generated message.
fn meaning(wire: &RateLimitRequest) -> Request<'_> {
    Request {
        domain: wire.domain.as_bytes(),
        descriptors: wire.descriptors.iter().map(descriptor_meaning).collect(),
        hits_addend: wire.hits_addend,
        client: None,
    }
}

fn descriptor_meaning(wire: &RateLimitDescriptor) -> Descriptor<'_> {
    let limit = |limit: RateLimitOverride| LimitOverride {
        requests_per_unit: limit.requests_per_unit,
        unit: unit_of(limit.unit),
    };
    Descriptor {
        entries: wire.entries.iter().map(|entry| Entry::new(&entry.key, &entry.value)).collect(),
        hits_addend: wire.hits_addend.map(|hits| hits.value),
        is_negative_hits: wire.is_negative_hits,
        limit: wire.limit.map(limit),
    }
}

prop_compose! {
    fn descriptors()(
        entries in prop::collection::vec(("\\PC{0,40}", "\\PC{0,200}"), 0..6),
        hits in prop::option::of(any::<u64>()),
        is_negative_hits in any::<bool>(),
        limit in prop::option::of((any::<u32>(), 1..=7)),
    ) -> RateLimitDescriptor {
        RateLimitDescriptor {
            entries: entries.into_iter().map(|(key, value)| WireEntry { key, value }).collect(),
            limit: limit.map(|(requests_per_unit, unit)| RateLimitOverride { requests_per_unit, unit }),
            hits_addend: hits.map(|value| UInt64Value { value }),
            is_negative_hits,
        }
    }
}

proptest! {
    #[test]
    fn any_request_is_read_as_the_generated_message_reads_it(
        domain in "\\PC{0,40}",
        descriptors in prop::collection::vec(descriptors(), 0..8),
        hits_addend in any::<u32>(),
    ) {
        let wire = RateLimitRequest { domain, descriptors, hits_addend };
        let bytes = wire.encode_to_vec();
        prop_assert_eq!(message::decode(&bytes, 8).unwrap(), meaning(&wire));
    }

    #[test]
    fn damaged_messages_are_read_as_the_generated_message_reads_them(
        descriptors in prop::collection::vec(descriptors(), 0..3),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let wire = RateLimitRequest { domain: "edge".to_owned(), descriptors, hits_addend: 1 };
        let mut bytes = wire.encode_to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        // What the generated message cannot read, ours sometimes can: invalid UTF-8, fields of unexpected types.
        let Ok(wire) = RateLimitRequest::decode(&bytes[..]) else { return Ok(()) };
        match message::decode(&bytes, 1_000) {
            Ok(ours) => prop_assert_eq!(ours, meaning(&wire)),
            Err(RequestError::Unit { descriptor, unit }) => {
                prop_assert_eq!(wire.descriptors[descriptor].limit.unwrap().unit, unit);
                prop_assert!(!(1..=7).contains(&unit));
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_message_cut_short_is_never_another_one(cut in 0_usize..60) {
        let wire = RateLimitRequest {
            domain: "edge".to_owned(),
            descriptors: vec![RateLimitDescriptor {
                entries: vec![WireEntry { key: "user".to_owned(), value: "somebody".to_owned() }],
                ..RateLimitDescriptor::default()
            }],
            hits_addend: 3,
        };
        let bytes = wire.encode_to_vec();
        let cut = cut.min(bytes.len());
        if let Ok(wire) = RateLimitRequest::decode(&bytes[..cut]) {
            prop_assert_eq!(message::decode(&bytes[..cut], 8).unwrap(), meaning(&wire));
        } else {
            prop_assert!(message::decode(&bytes[..cut], 8).is_err());
        }
    }
}

/// A request whose texts are any bytes, encoded by hand.
fn raw_request(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = crate::wire::Writer::default();
    out.bytes(1, b"edge\xff");
    out.message(2, |descriptor| {
        descriptor.message(1, |entry| {
            entry.bytes(1, key);
            entry.bytes(2, value);
        });
    });
    out.into_inner()
}

#[test]
fn texts_are_bytes() {
    for value in [&b"\xff\xfe"[..], b"\0\r\n", &[0xc3; 70_000], b""] {
        let bytes = raw_request(b"ke\xffy", value);
        let request = message::decode(&bytes, 10).unwrap();
        assert_eq!(request.domain, b"edge\xff");
        assert_eq!(request.descriptors[0].entries[0], Entry { key: b"ke\xffy", value });
    }
}

#[test]
fn unknown_fields_are_skipped() {
    let mut bytes = raw_request(b"user", b"a");
    // Field 15 as every type: a number, bytes, fixed numbers, a group.
    bytes.extend_from_slice(&[0x78, 1, 0x7a, 1, 1, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7d, 1, 2, 3, 4, 0x7b, 0x7c]);
    let request = message::decode(&bytes, 10).unwrap();
    assert_eq!(request.descriptors[0].entries[0], Entry::new("user", "a"));
}

#[test]
fn overrides_without_a_unit_are_named() {
    for unit in [0, 8, 99, -1, i32::MIN] {
        let limit = Some(RateLimitOverride { requests_per_unit: 1, unit });
        let good = RateLimitDescriptor::default();
        let bad = RateLimitDescriptor { limit, ..RateLimitDescriptor::default() };
        let wire = RateLimitRequest { descriptors: vec![good, bad], ..RateLimitRequest::default() };
        let error = message::decode(&wire.encode_to_vec(), 10).unwrap_err();
        assert_eq!(error, RequestError::Unit { descriptor: 1, unit });
        assert!(
            error.to_string().starts_with(&format!("descriptors[1].limit.unit: {unit} is no unit; use 1 (SECOND)"))
        );
    }
}

#[test]
fn too_much_is_counted_and_refused() {
    let wire = RateLimitRequest { descriptors: vec![RateLimitDescriptor::default(); 11], ..Default::default() };
    let error = message::decode(&wire.encode_to_vec(), 10).unwrap_err();
    assert_eq!(error.to_string(), "descriptors: 11 in one request, at most 10 are allowed");
    let entries = vec![WireEntry::default(); MAX_ENTRIES + 1];
    let descriptor = RateLimitDescriptor { entries, ..RateLimitDescriptor::default() };
    let wire = RateLimitRequest { descriptors: vec![descriptor], ..RateLimitRequest::default() };
    let error = message::decode(&wire.encode_to_vec(), 10).unwrap_err();
    assert_eq!(error.to_string(), "descriptors[0].entries: 101 in one descriptor, at most 100 are allowed");
}

const RULES: &str = r#"
domain: edge
descriptors:
  - key: plain
    rate_limit: { unit: minute, requests_per_unit: 10 }
    metadata: { team: { name: alpha, size: 3 }, first: one }
  - key: named
    rate_limit: { name: "a \"quoted\" \\ näme\r\nX-Evil: 1", unit: hour, requests_per_unit: 100 }
    metadata: { team: { name: beta, site: north }, list: [1, yes, null, { a: b }] }
  - key: several
    rate_limits:
      - { unit: second, requests_per_unit: 5 }
      - { unit: day, requests_per_unit: 1000 }
  - key: odd
    rate_limit: { window: 1500ms, requests_per_unit: 7 }
  - key: free
    rate_limit: { unlimited: true }
    metadata: { first: free, tier: gold }
"#;

fn rules() -> RuleSet {
    load_text("rules.yaml", RULES).unwrap_or_else(|report| panic!("{report}")).rules
}

fn rule<'a>(rules: &'a RuleSet, key: &str) -> &'a Rule {
    rules.domain(b"edge").unwrap().find(&[Entry::new(key, "x")]).expect("a rule")
}

fn applied(rule: &Rule, at: usize, verdict: Verdict, remaining: u64, reset: u64) -> Applied<'_> {
    let limit = &rule.limits()[at];
    let outcome = Outcome { verdict, level: 0, remaining, reset_after: Micros(reset) };
    Applied { limit: limit.limit.clone(), name: limit.name.as_deref(), outcome, source: Source::Counter }
}

fn status<'a>(rule: Option<&'a Rule>, applied: Option<Applied<'a>>) -> Status<'a> {
    let over = applied.as_ref().is_some_and(|applied| !applied.outcome.allowed());
    let remaining = applied.as_ref().map_or(0, |applied| if over { 0 } else { applied.outcome.remaining });
    Status {
        code: if over { Code::OverLimit } else { Code::Ok },
        rule,
        applied,
        remaining,
        operation: Operation::Charge(1),
        replaced: false,
        shadowed: false,
    }
}

fn decision<'a>(rules: &'a RuleSet, statuses: Vec<Status<'a>>, deciding: Option<usize>) -> Decision<'a> {
    let over = statuses.iter().any(|status| status.code == Code::OverLimit);
    Decision {
        code: if over { Code::OverLimit } else { Code::Ok },
        domain: rules.domain(b"edge"),
        statuses: statuses.into(),
        deciding,
        charged: true,
        globally_shadowed: false,
        adjustment: None,
    }
}

fn settings() -> ResponseSettings {
    ResponseSettings::from_config(&Config::default())
}

fn answer(decision: &Decision<'_>, settings: &ResponseSettings) -> RateLimitResponse {
    let bytes = response::encode(vec![1, 2, 3], decision, 42, settings);
    assert_eq!(bytes[..3], [1, 2, 3], "what was there stays");
    RateLimitResponse::decode(&bytes[3..]).expect("a RateLimitResponse")
}

fn header(key: &str, value: &str) -> HeaderValue {
    HeaderValue { key: key.to_owned(), value: value.to_owned(), raw_value: Vec::new() }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn number(number: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(number)) }
}

fn structure<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
}

fn nested(fields: Struct) -> Value {
    Value { kind: Some(Kind::StructValue(fields)) }
}

#[test]
fn a_passed_request_says_everything() {
    let rules = rules();
    let (plain, named) = (rule(&rules, "plain"), rule(&rules, "named"));
    let statuses = vec![
        status(Some(plain), Some(applied(plain, 0, Verdict::Allowed, 9, 12_000_001))),
        status(Some(named), Some(applied(named, 0, Verdict::Allowed, 50, 3_600_000_000))),
        status(None, None),
    ];
    let answer = answer(&decision(&rules, statuses, Some(0)), &settings());
    let name = "a \"quoted\" \\ näme\r\nX-Evil: 1";
    let expected = RateLimitResponse {
        overall_code: 1,
        statuses: vec![
            DescriptorStatus {
                code: 1,
                current_limit: Some(RateLimit { name: String::new(), requests_per_unit: 10, unit: 2 }),
                limit_remaining: 9,
                duration_until_reset: Some(Duration { seconds: 13, nanos: 0 }),
                ..DescriptorStatus::default()
            },
            DescriptorStatus {
                code: 1,
                current_limit: Some(RateLimit { name: name.to_owned(), requests_per_unit: 100, unit: 3 }),
                limit_remaining: 50,
                duration_until_reset: Some(Duration { seconds: 3600, nanos: 0 }),
                ..DescriptorStatus::default()
            },
            DescriptorStatus { code: 1, ..DescriptorStatus::default() },
        ],
        response_headers_to_add: vec![
            header("RateLimit-Policy", r#""plain";q=10;w=60, "a \"quoted\" \\ n%C3%A4me%0D%0AX-Evil: 1";q=100;w=3600"#),
            header("RateLimit", r#""plain";r=9;t=13"#),
        ],
        dynamic_metadata: Some(structure([
            ("code", text("OK")),
            ("domain", text("edge")),
            ("revision", number(42.0)),
            ("rule", text("plain")),
            ("algorithm", text("fixed_window")),
            ("limit", number(10.0)),
            ("remaining", number(9.0)),
            ("reset", number(13.0)),
            (
                "metadata",
                nested(structure([
                    (
                        "team",
                        nested(structure([("name", text("alpha")), ("size", number(3.0)), ("site", text("north"))])),
                    ),
                    ("first", text("one")),
                    (
                        "list",
                        Value {
                            kind: Some(Kind::ListValue(ListValue {
                                values: vec![
                                    number(1.0),
                                    Value { kind: Some(Kind::BoolValue(true)) },
                                    Value { kind: Some(Kind::NullValue(0)) },
                                    nested(structure([("a", text("b"))])),
                                ],
                            })),
                        },
                    ),
                ])),
            ),
        ])),
        ..RateLimitResponse::default()
    };
    assert_eq!(answer, expected);
}

#[test]
fn a_denial_says_when_to_come_back() {
    let rules = rules();
    let (plain, several) = (rule(&rules, "plain"), rule(&rules, "several"));
    let statuses = vec![
        status(Some(plain), Some(applied(plain, 0, Verdict::NotUntil(Micros(2_000_001)), 0, 60_000_000))),
        status(Some(several), Some(applied(several, 1, Verdict::NotUntil(Micros(7_000_000)), 0, 60_000_000))),
    ];
    let mut settings = settings();
    settings.headers.families = HeaderFamilies { draft: true, legacy: true, x: true };
    let answer = answer(&decision(&rules, statuses, Some(1)), &settings);
    assert_eq!(answer.overall_code, 2);
    let resets: Vec<i64> = answer.statuses.iter().map(|s| s.duration_until_reset.unwrap().seconds).collect();
    assert_eq!(resets, [3, 7]);
    assert_eq!(
        answer.response_headers_to_add,
        [
            header("RateLimit-Policy", r#""plain";q=10;w=60, "several/1s";q=5;w=1, "several/86400s";q=1000;w=86400"#,),
            header("RateLimit", r#""several/86400s";r=0;t=7"#),
            header("RateLimit-Limit", "1000"),
            header("RateLimit-Remaining", "0"),
            header("RateLimit-Reset", "7"),
            header("X-RateLimit-Limit", "1000"),
            header("X-RateLimit-Remaining", "0"),
            header("X-RateLimit-Reset", "7"),
            header("Retry-After", "7"),
            header("Content-Type", "application/problem+json"),
        ]
    );
    let body: serde_json::Value = serde_json::from_slice(&answer.raw_body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Rate limit exceeded",
            "status": 429,
            "detail": "The limit 'several/86400s' of 1000 per 86400s is exceeded; try again in 7 s.",
            "violated-policies": ["plain", "several/86400s"],
        })
    );
    let metadata = answer.dynamic_metadata.unwrap().fields;
    assert_eq!(metadata["code"], text("OVER_LIMIT"));
    assert_eq!(metadata["rule"], text("several/86400s"));
    assert!(!metadata.contains_key("metadata"), "that of denied descriptors is left out");
}

#[test]
fn what_never_fits_is_not_invited_to_retry() {
    let rules = rules();
    let plain = rule(&rules, "plain");
    let never = applied(plain, 0, Verdict::InsufficientCapacity, 3, 20_000_000);
    let answer = answer(&decision(&rules, vec![status(Some(plain), Some(never))], Some(0)), &settings());
    assert_eq!(answer.overall_code, 2);
    let names: Vec<&str> = answer.response_headers_to_add.iter().map(|header| header.key.as_str()).collect();
    assert_eq!(names, ["RateLimit-Policy", "RateLimit", "Content-Type"]);
    let body: serde_json::Value = serde_json::from_slice(&answer.raw_body).unwrap();
    assert_eq!(body["detail"], "The limit 'plain' of 10 per 60s can never hold a request of this cost.");
}

#[test]
fn windows_without_a_unit_are_unknown_and_named() {
    let rules = rules();
    let odd = rule(&rules, "odd");
    let statuses = vec![status(Some(odd), Some(applied(odd, 0, Verdict::Allowed, 6, 1_500_000)))];
    let answer = answer(&decision(&rules, statuses, Some(0)), &settings());
    let limit = answer.statuses[0].current_limit.clone().unwrap();
    assert_eq!(limit, RateLimit { name: "odd".to_owned(), requests_per_unit: 7, unit: 0 });
    assert_eq!(answer.response_headers_to_add[0], header("RateLimit-Policy", r#""odd";q=7;w=2"#));
}

#[test]
fn large_numbers_saturate() {
    let rules = rules();
    let most = crate::core::limit::MAX_HITS;
    let limit = Limit::new(LimitParts::fixed_window(most, Window::Length(Unit::Week.length()))).unwrap();
    let outcome = Outcome { verdict: Verdict::Allowed, level: 1, remaining: most - 1, reset_after: Micros(1) };
    let statuses = vec![status(None, Some(Applied { limit, name: None, outcome, source: Source::Counter }))];
    let answer = answer(&decision(&rules, statuses, Some(0)), &settings());
    let limit = answer.statuses[0].current_limit.clone().unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit), (u32::MAX, 7));
    assert_eq!(answer.statuses[0].limit_remaining, u32::MAX);
    assert_eq!(
        answer.response_headers_to_add,
        [
            header("RateLimit-Policy", r#""override";q=999999999999999;w=604800"#),
            header("RateLimit", r#""override";r=999999999999999;t=1"#),
        ]
    );
}

#[test]
fn shadows_say_so_and_deny_nothing() {
    let rules = rules();
    let plain = rule(&rules, "plain");
    let mut shadowed = status(Some(plain), Some(applied(plain, 0, Verdict::NotUntil(Micros::SECOND), 0, 60_000_000)));
    shadowed.shadowed = true;
    shadowed.code = Code::Ok;
    let answer = answer(&decision(&rules, vec![shadowed], Some(0)), &settings());
    assert_eq!((answer.overall_code, answer.statuses[0].code), (1, 1));
    assert!(answer.raw_body.is_empty());
    assert!(!answer.response_headers_to_add.iter().any(|header| header.key == "Retry-After"));
    let metadata = answer.dynamic_metadata.unwrap().fields;
    assert_eq!(metadata["shadow"], Value { kind: Some(Kind::BoolValue(true)) });
}

#[test]
fn headers_and_metadata_can_be_left_out() {
    let rules = rules();
    let plain = rule(&rules, "plain");
    let statuses = vec![status(Some(plain), Some(applied(plain, 0, Verdict::Allowed, 9, 1)))];
    let mut settings = settings();
    settings.headers.families = HeaderFamilies { draft: false, legacy: false, x: false };
    settings.dynamic_metadata = false;
    let answer = answer(&decision(&rules, statuses, Some(0)), &settings);
    assert!(answer.response_headers_to_add.is_empty());
    assert_eq!(answer.dynamic_metadata, None);
}

#[test]
fn metadata_of_unlimited_rules_is_left_out() {
    let rules = rules();
    let (free, plain) = (rule(&rules, "free"), rule(&rules, "plain"));
    let limited = || status(Some(plain), Some(applied(plain, 0, Verdict::Allowed, 9, 1)));
    let both = answer(&decision(&rules, vec![status(Some(free), None), limited()], Some(1)), &settings());
    let fields = both.dynamic_metadata.unwrap().fields;
    let team = nested(structure([("name", text("alpha")), ("size", number(3.0))]));
    assert_eq!(fields["metadata"], nested(structure([("team", team), ("first", text("one"))])));
    let alone = answer(&decision(&rules, vec![status(Some(free), None)], None), &settings());
    assert!(!alone.dynamic_metadata.unwrap().fields.contains_key("metadata"));
}

#[test]
fn policies_are_listed_once_and_bounded() {
    let rules = rules();
    let plain = rule(&rules, "plain");
    let one = || status(Some(plain), Some(applied(plain, 0, Verdict::Allowed, 9, 1)));
    let twice = answer(&decision(&rules, vec![one(), one()], Some(0)), &settings());
    assert_eq!(twice.response_headers_to_add[0], header("RateLimit-Policy", r#""plain";q=10;w=60"#));
    let many = (1..=100).map(|amount| {
        let limit = Limit::new(LimitParts::fixed_window(amount, Window::Length(Unit::Week.length()))).unwrap();
        let outcome = Outcome { verdict: Verdict::Allowed, level: 1, remaining: 0, reset_after: Micros(1) };
        status(None, Some(Applied { limit, name: None, outcome, source: Source::Counter }))
    });
    let many = answer(&decision(&rules, many.collect(), Some(0)), &settings());
    assert_eq!(many.response_headers_to_add[0].value.matches("override").count(), 16);
}
