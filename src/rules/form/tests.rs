//! What is written is read again as it was, and mistakes name their field.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::calendar::{CalendarUnit, CalendarWindow};
use crate::core::clock::Micros;
use crate::core::limit::{Algorithm, Limit, LimitParts, Over, Unit, Window};
use crate::core::spec::{DomainSettings, EffectSpec, FailureMode, LimitSpec, RuleSpec};
use crate::rules::repository::record::Override;

fn subject(path: &str) -> Subject {
    Subject::Rule("edge".into(), path.parse().unwrap())
}

fn refused(path: &str, value: Value) -> String {
    read_content(&subject(path), value).unwrap_err().0
}

#[test]
fn mistakes_name_their_field() {
    let limit = |limit: Value| json!({ "rate_limit": limit });
    let cases = [
        (json!({ "rate_limt": {} }), "rate_limt: unknown field `rate_limt`, expected one of"),
        (limit(json!({ "unit": "minute" })), "rate_limit.requests_per_unit: is missing"),
        (limit(json!({ "requests_per_unit": -1 })), "rate_limit.requests_per_unit: invalid value: integer `-1`"),
        (limit(json!({ "requests_per_unit": 1 })), "rate_limit.unit: is missing"),
        (limit(json!({ "requests_per_unit": 1, "unit": "fortnight" })), "rate_limit.unit: unknown unit 'fortnight'"),
        (limit(json!({ "requests_per_unit": 1, "window": "1 month" })), "rate_limit.window: '1 month' is in months"),
        (limit(json!({ "requests_per_unit": 20_000, "unit": "day" })), "rate_limit.requests_per_unit: sliding_window_"),
        (limit(json!({ "unlimited": true, "unit": "day" })), "rate_limit.unit: has no meaning when unlimited"),
        (json!({ "rate_limits": [] }), "rate_limits: is empty"),
        (json!({ "rate_limits": [{ "unlimited": true }] }), "rate_limits[0].unlimited: one of several"),
        (json!({ "share_threshold": true }), "share_threshold: can only be used"),
        (json!({ "failure_mode": "never" }), "failure_mode: unknown variant `never`"),
        (
            limit(json!({ "requests_per_unit": 1, "unit": "day", "name": "a", "replaces": [{ "name": "a" }] })),
            "rate_limit.replaces: 'a' is a limit of this rule itself",
        ),
    ];
    for (value, start) in cases {
        let text = refused("user_id", value);
        assert!(text.starts_with(start), "{text}");
    }
    let both = refused("k", json!({ "rate_limit": { "requests_per_unit": 1, "unit": "x", "algorithm": "y" } }));
    assert!(both.contains("rate_limit.unit") && both.contains("rate_limit.algorithm"), "{both}");
}

#[test]
fn what_is_missing_has_the_apis_defaults() {
    let value = json!({ "rate_limit": { "requests_per_unit": 5, "unit": "minute" } });
    let Content::Rule(rule) = read_content(&subject("user_id=123"), value).unwrap() else { panic!() };
    let Some(EffectSpec::Limits(limits)) = rule.effect else { panic!() };
    assert_eq!((limits[0].limit.algorithm(), limits[0].limit.over()), (Algorithm::SlidingWindowLog, Over::Drop));
}

fn window() -> impl Strategy<Value = Window> {
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin"]);
    let unit =
        prop::sample::select(vec![CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year]);
    prop_oneof![
        prop::sample::select(Unit::ALL.to_vec()).prop_map(|unit| Window::Length(unit.length())),
        (1..10_000_000_000_u64).prop_map(|length| Window::Length(Micros(length))),
        (unit, zone).prop_map(|(unit, zone)| Window::Calendar(Arc::new(CalendarWindow::new(unit, zone).unwrap()))),
    ]
}

fn limit() -> impl Strategy<Value = LimitSpec> {
    let algorithm = prop::sample::select(Algorithm::ALL.to_vec());
    let parts = (0..10_001_u64, window(), algorithm, prop::option::of(1..1_000_u64), any::<bool>(), any::<bool>());
    (parts, prop::option::of("[a-z]{1,4}"), prop::collection::vec("[A-Z]{1,4}", 0..3)).prop_filter_map(
        "no such limit",
        |((amount, window, algorithm, burst, record, post_paid), name, replaces)| {
            let over = if record { Over::Record } else { Over::Drop };
            let burst = burst.filter(|_| algorithm.has_burst());
            let limit = Limit::new(LimitParts { amount, window, algorithm, burst, over, post_paid }).ok()?;
            Some(LimitSpec { limit, name, replaces })
        },
    )
}

fn effect() -> impl Strategy<Value = EffectSpec> {
    prop_oneof![
        prop::collection::vec(limit(), 1..4).prop_map(EffectSpec::Limits),
        prop::option::of("[a-z]{1,4}").prop_map(|name| EffectSpec::Unlimited { name, replaces: vec!["R".to_owned()] }),
    ]
}

prop_compose! {
    fn rule()(
        effect in prop::option::of(effect()),
        flags in any::<[bool; 7]>(),
        metadata in prop::option::of("[a-z]{1,4}"),
        failure_mode in prop::option::of(prop::sample::select(vec![FailureMode::Open, FailureMode::Local, FailureMode::Error])),
        tags in prop::collection::vec(".{0,4}", 0..3),
        order in 0..3_u32,
    ) -> RuleSpec {
        let [shadow_mode, quota_mode, detailed_metric, value_to_metric, share_threshold, disabled, protect] = flags;
        RuleSpec {
            effect, shadow_mode, quota_mode, detailed_metric, value_to_metric, share_threshold, disabled, protect,
            metadata: metadata.map(|text| serde_json::Map::from_iter([(text.clone(), json!([text, 1.5, null]))])),
            failure_mode, tags, order, ..RuleSpec::default()
        }
    }
}

proptest! {
    #[test]
    fn rules_are_read_as_they_were_written(rule in rule()) {
        let content = Content::Rule(rule);
        prop_assert_eq!(read_content(&subject("user*"), write_content(&content)).unwrap(), content);
    }

    #[test]
    fn overrides_are_read_as_they_were_written(effect in effect(), second in 0..4_000_000_000_i64) {
        let until = jiff::Timestamp::from_second(second).unwrap();
        let content = Content::Override(Override { effect, until });
        let subject = Subject::Override("edge".into(), "user_id=1".parse().unwrap());
        prop_assert_eq!(read_content(&subject, write_content(&content)).unwrap(), content);
    }
}

#[test]
fn domains_are_read_as_they_were_written() {
    let subject = Subject::Domain("edge".into());
    for settings in [DomainSettings::API, DomainSettings::FILE] {
        let content = Content::Domain(settings);
        assert_eq!(read_content(&subject, write_content(&content)).unwrap(), content);
    }
    let text = read_content(&subject, json!({ "charge": "all", "response_headers": ["draft", "y"] })).unwrap_err().0;
    assert_eq!(
        text,
        "charge: unknown charge 'all'; use independent or all_or_nothing; response_headers[1]: unknown response headers \
         'y'; use draft, legacy or x"
    );
}

#[test]
fn text_is_read_as_values_are_and_what_cannot_be_read_is_passed_on() {
    for value in [json!({ "rate_limit": { "requests_per_unit": 5, "unit": "minute" } }), json!({ "rate_limits": [] })] {
        let read = read_content(&subject("user_id"), value.clone());
        assert_eq!(read_content_text(&subject("user_id"), &value.to_string()), read);
        assert!(read.is_ok() || read.unwrap_err().1 == value);
    }
    let error = read_content_text(&subject("user_id"), "{").unwrap_err();
    assert!(error.0.contains("EOF") && error.1 == json!("{"), "{error:?}");
}
