#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, ListValue, Struct, Value};
use envoy_types::pb::ratelimit::config::ratelimit::v3::{
    RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitReplace, RateLimitUnit,
};
use prost::Message as _;

use super::{TYPE_URL, translate};
use crate::core::path::DescriptorPath;
use crate::core::ruleset::RuleSet;
use crate::core::spec::{Origin, RuleSpec};
use crate::rules::files::load_text;

fn resource(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> Any {
    let config = RateLimitConfig { name: format!("{domain}-name"), domain: domain.to_owned(), descriptors };
    Any { type_url: TYPE_URL.to_owned(), value: config.encode_to_vec() }
}

fn descriptor(key: &str, value: &str) -> RateLimitDescriptor {
    RateLimitDescriptor { key: key.to_owned(), value: value.to_owned(), ..RateLimitDescriptor::default() }
}

fn limited(key: &str, value: &str, unit: RateLimitUnit, requests_per_unit: u32) -> RateLimitDescriptor {
    let policy = RateLimitPolicy { unit: unit.into(), requests_per_unit, ..RateLimitPolicy::default() };
    RateLimitDescriptor { rate_limit: Some(policy), ..descriptor(key, value) }
}

fn named(descriptor: RateLimitDescriptor, name: &str, replaces: &[&str]) -> RateLimitDescriptor {
    let replaces = replaces.iter().map(|name| RateLimitReplace { name: (*name).to_owned() }).collect();
    let policy = RateLimitPolicy { name: name.to_owned(), replaces, ..descriptor.rate_limit.unwrap() };
    RateLimitDescriptor { rate_limit: Some(policy), ..descriptor }
}

fn mistakes(resources: Vec<Any>) -> Vec<String> {
    translate(resources, false).unwrap_err().told.iter().map(ToString::to_string).collect()
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn fields<const N: usize>(fields: [(&str, Kind); N]) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, kind)| (key.to_owned(), value(kind))).collect() }
}

/// What is written at a path, but for the place.
fn spec(rules: &RuleSet, path: &str) -> Option<RuleSpec> {
    let path: DescriptorPath = path.parse().unwrap();
    rules.spec("edge", &path).map(|spec| RuleSpec { origin: Origin::default(), ..spec })
}

#[test]
fn a_set_means_what_the_same_words_mean_in_a_file() {
    let file = load_text(
        "edge.yaml",
        r#"
domain: edge
descriptors:
  - { key: second, rate_limit: { unit: second, requests_per_unit: 1 } }
  - { key: minute, rate_limit: { unit: minute, requests_per_unit: 2 } }
  - { key: hour, rate_limit: { unit: hour, requests_per_unit: 3 }, shadow_mode: true }
  - { key: day, rate_limit: { unit: day, requests_per_unit: 4 }, quota_mode: true }
  - { key: week, rate_limit: { unit: week, requests_per_unit: 5 }, detailed_metric: true }
  - { key: month, rate_limit: { unit: month, requests_per_unit: 0 } }
  - { key: year, rate_limit: { unit: year, requests_per_unit: 4294967295 } }
  - { key: free, value: "ye*", rate_limit: { unlimited: true, name: free, replaces: [{ name: other }] } }
  - key: tenant
    value: a
    descriptors:
      - key: path
        rate_limit: { unit: day, requests_per_unit: 7, name: paths, replaces: [{ name: a }, { name: b }] }
        metadata: { tier: gold, level: 2, share: 0.5, tags: [x, null, true], deep: { a: b } }
"#,
    );
    let file = file.unwrap().rules;

    let unlimited = RateLimitPolicy { unlimited: true, ..RateLimitPolicy::default() };
    let free = RateLimitDescriptor { rate_limit: Some(unlimited), ..descriptor("free", "ye*") };
    let list = vec![value(Kind::StringValue("x".into())), value(Kind::NullValue(0)), value(Kind::BoolValue(true))];
    let metadata = fields([
        ("tier", Kind::StringValue("gold".into())),
        ("level", Kind::NumberValue(2.0)),
        ("share", Kind::NumberValue(0.5)),
        ("tags", Kind::ListValue(ListValue { values: list })),
        ("deep", Kind::StructValue(fields([("a", Kind::StringValue("b".into()))]))),
    ]);
    let path = named(limited("path", "", RateLimitUnit::Day, 7), "paths", &["a", "b"]);
    let path = RateLimitDescriptor { metadata: Some(metadata), ..path };
    let descriptors = vec![
        limited("second", "", RateLimitUnit::Second, 1),
        limited("minute", "", RateLimitUnit::Minute, 2),
        RateLimitDescriptor { shadow_mode: true, ..limited("hour", "", RateLimitUnit::Hour, 3) },
        RateLimitDescriptor { quota_mode: true, ..limited("day", "", RateLimitUnit::Day, 4) },
        RateLimitDescriptor { detailed_metric: true, ..limited("week", "", RateLimitUnit::Week, 5) },
        limited("month", "", RateLimitUnit::Month, 0),
        limited("year", "", RateLimitUnit::Year, u32::MAX),
        named(free, "free", &["other"]),
        RateLimitDescriptor { descriptors: vec![path], ..descriptor("tenant", "a") },
    ];
    let set = translate(vec![resource("edge", descriptors)], false).unwrap();
    assert_eq!(set.rule_count(), file.rule_count());
    let settings = |rules: &RuleSet| rules.domain(b"edge").unwrap().settings;
    assert_eq!(settings(&set), settings(&file));
    let keys = ["second", "minute", "hour", "day", "week", "month", "year", "free=ye*", "tenant=a", "tenant=a,path"];
    for path in keys {
        let (ours, theirs) = (spec(&set, path), spec(&file, path));
        assert!(ours.is_some(), "{path}");
        assert_eq!(ours, theirs, "{path}");
    }
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let month = || limited("month", "", RateLimitUnit::Month, 1);
    let unlimited_month = RateLimitPolicy { unlimited: true, ..month().rate_limit.unwrap() };
    let nan = fields([("share", Kind::NumberValue(f64::NAN))]);
    let below = RateLimitDescriptor { rate_limit: Some(unlimited_month), ..descriptor("b", "") };
    let found = mistakes(vec![resource(
        "edge",
        vec![
            limited("none", "", RateLimitUnit::Unknown, 1),
            RateLimitDescriptor { descriptors: vec![below], ..descriptor("a", "x=y") },
            descriptor("", "v"),
            named(month(), "m", &["", "m"]),
            RateLimitDescriptor { metadata: Some(nan), ..descriptor("c", "") },
        ],
    )]);
    let expected = [
        "domain 'edge', descriptor 'none': invalid rate limit unit 0; use SECOND, MINUTE, HOUR, DAY, WEEK, \
         MONTH or YEAR",
        "domain 'edge', descriptor 'a=x%3Dy,b': should not specify rate limit unit when unlimited; leave one \
         of them out",
        "domain 'edge', descriptor '=v': has no key; every descriptor needs one",
        "domain 'edge', descriptor 'month': should not have an empty replaces entry; name the rate \
         limit that is replaced",
        "domain 'edge', descriptor 'month': replaces should not contain name of same descriptor; name a rate limit of \
         another one",
        "domain 'edge', descriptor 'c': metadata cannot hold NaN; use a finite number",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_only_the_whole_shows_is_told_too() {
    let day = |key: &str| limited(key, "", RateLimitUnit::Day, 1);
    let twice = mistakes(vec![resource("edge", vec![day("a"), day("b"), day("a")])]);
    assert_eq!(twice, ["domain 'edge': duplicate descriptor composite key 'edge.a'"]);

    let same = || vec![resource("edge", vec![day("a")]), resource("edge", vec![day("b")])];
    assert_eq!(mistakes(same()), ["domain 'edge': duplicate domain 'edge' in config file"]);
    assert_eq!(translate(same(), true).unwrap().rule_count(), 2);

    let mut deep = day("end");
    for _ in 0..64 {
        deep = RateLimitDescriptor { descriptors: vec![deep], ..descriptor("k", "") };
    }
    let found = mistakes(vec![resource("edge", vec![deep])]);
    assert_eq!(found, ["domain 'edge': descriptors are nested more than 64 levels deep"]);

    let nameless = mistakes(vec![resource("", vec![day("a")])]);
    assert_eq!(nameless, ["resource '-name': has no domain; every configuration needs one"]);
}

#[test]
fn many_mistakes_are_counted_and_long_names_cut() {
    let wrong = |number: usize| limited(&format!("key-{number}"), "", RateLimitUnit::Unknown, 1);
    let refused = translate(vec![resource("edge", (0..1_000).map(wrong).collect())], false).unwrap_err();
    assert_eq!((refused.told.len(), refused.more), (20, 980));
    assert!(refused.to_string().ends_with("; and 980 more"));

    let long = limited(&"k\n".repeat(100_000), "", RateLimitUnit::Unknown, 1);
    let message = translate(vec![resource("edge", vec![long])], false).unwrap_err().to_string();
    assert!(message.len() < 1_000 && !message.contains('\n'), "{message}");
}

#[test]
fn nothing_is_a_set_without_rules() {
    assert_eq!(translate(Vec::new(), false).unwrap().rule_count(), 0);
    let empty = translate(vec![resource("edge", Vec::new())], false).unwrap();
    assert_eq!((empty.rule_count(), empty.domains().len()), (0, 1));
}

#[test]
fn the_order_of_a_set_means_nothing() {
    let set = || vec![resource("b", Vec::new()), resource("a", Vec::new()), resource("edge", Vec::new())];
    let names = |resources| {
        let rules = translate(resources, false).unwrap();
        rules.domains().map(|domain| domain.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(set()), names(set().into_iter().rev().collect()));
}
