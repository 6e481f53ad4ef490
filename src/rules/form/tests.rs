//! What is written is read again as it was, and mistakes name their field.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::strategies::{effect, rule};
use super::*;
use crate::core::limit::{Algorithm, Over};
use crate::core::spec::{DomainSettings, EffectSpec};
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
        (limit(json!({ "requests_per_unit": 1, "unit": "day", "name": "" })), "rate_limit.name: is empty"),
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
