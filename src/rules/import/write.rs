//! Domains as text of rule files, which [`crate::rules::yaml::parse`] reads back to the same domains.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::core::limit::{Limit, Over, Unit, Window};
use crate::core::spec::{
    Charge, DescriptorSpec, DomainSettings, DomainSpec, EffectSpec, FailureMode, HeaderFamilies, LimitSpec, RuleSpec,
};
use crate::rules::yaml::scalar::Meaning;

/// The text of a domain's file.
#[must_use]
pub fn write(domain: &DomainSpec) -> String {
    let mut text = format!("domain: {}\n", scalar(&domain.name));
    settings(&mut text, &domain.settings);
    if !domain.descriptors.is_empty() {
        text.push_str("descriptors:\n");
        descriptors(&mut text, &domain.descriptors, 1);
    }
    text
}

/// Only what differs from a file's defaults. Each limit names its algorithm, so the default one needs no word.
fn settings(text: &mut String, settings: &DomainSettings) {
    let defaults = DomainSettings::FILE;
    if settings.charge != defaults.charge {
        let charge = match settings.charge {
            Charge::Independent => "independent",
            Charge::AllOrNothing => "all_or_nothing",
        };
        line(text, 0, "charge", charge);
    }
    if settings.default_algorithm != defaults.default_algorithm {
        line(text, 0, "default_algorithm", settings.default_algorithm.name());
    }
    if let Some(HeaderFamilies { draft, legacy, x }) = settings.response_headers {
        let families = [("draft", draft), ("legacy", legacy), ("x", x)];
        let names: Vec<&str> = families.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
        line(text, 0, "response_headers", &format!("[{}]", names.join(", ")));
    }
    if settings.accept_overrides != defaults.accept_overrides {
        line(text, 0, "accept_overrides", &settings.accept_overrides.to_string());
    }
    if settings.accept_refunds != defaults.accept_refunds {
        line(text, 0, "accept_refunds", &settings.accept_refunds.to_string());
    }
}

fn descriptors(text: &mut String, descriptors: &[DescriptorSpec], depth: usize) {
    for DescriptorSpec { key, value, rule, descriptors: below } in descriptors {
        let _ = writeln!(text, "{:width$}- key: {}", "", scalar(key), width = depth * 4 - 2);
        if let Some(value) = value {
            line(text, depth, "value", &scalar(value));
        }
        write_rule(text, depth, rule);
        if !below.is_empty() {
            line(text, depth, "descriptors", "");
            self::descriptors(text, below, depth + 1);
        }
    }
}

fn write_rule(text: &mut String, depth: usize, rule: &RuleSpec) {
    match &rule.effect {
        None => {}
        Some(EffectSpec::Unlimited { name, replaces }) => {
            let mut fields = Map::from_iter([("unlimited".to_owned(), json!(true))]);
            named(&mut fields, name.as_deref(), replaces);
            line(text, depth, "rate_limit", &flow(&fields));
        }
        Some(EffectSpec::Limits(limits)) => match &limits[..] {
            [limit] => line(text, depth, "rate_limit", &flow(&limit_fields(limit))),
            limits => {
                line(text, depth, "rate_limits", "");
                for limit in limits {
                    let fields = flow(&limit_fields(limit));
                    let _ = writeln!(text, "{:width$}- {fields}", "", width = depth * 4 + 2);
                }
            }
        },
    }
    let flags = [
        ("shadow_mode", rule.shadow_mode),
        ("quota_mode", rule.quota_mode),
        ("detailed_metric", rule.detailed_metric),
        ("value_to_metric", rule.value_to_metric),
        ("share_threshold", rule.share_threshold),
        ("protect", rule.protect),
    ];
    for (name, _) in flags.into_iter().filter(|(_, on)| *on) {
        line(text, depth, name, "true");
    }
    if rule.disabled {
        line(text, depth, "enabled", "false");
    }
    if let Some(mode) = rule.failure_mode {
        let name = match mode {
            FailureMode::Local => "local",
            FailureMode::Open => "open",
            FailureMode::Closed => "closed",
            FailureMode::Error => "error",
        };
        line(text, depth, "failure_mode", name);
    }
    if !rule.tags.is_empty() {
        line(text, depth, "tags", &json!(rule.tags).to_string());
    }
    if let Some(metadata) = &rule.metadata {
        // JSON is YAML, and its keys are quoted, so none of them turns into a boolean.
        line(text, depth, "metadata", &Value::Object(metadata.clone()).to_string());
    }
}

fn line(text: &mut String, depth: usize, key: &str, value: &str) {
    let space = if value.is_empty() { "" } else { " " };
    let _ = writeln!(text, "{:width$}{key}:{space}{value}", "", width = depth * 4);
}

fn limit_fields(LimitSpec { limit, name, replaces }: &LimitSpec) -> Map<String, Value> {
    let mut fields = Map::new();
    window(&mut fields, limit);
    fields.insert("requests_per_unit".to_owned(), json!(limit.amount()));
    fields.insert("algorithm".to_owned(), json!(limit.algorithm().name()));
    if limit.algorithm().has_burst() && limit.amount() > 0 {
        fields.insert("burst".to_owned(), json!(limit.capacity()));
    }
    if limit.over() == Over::Drop {
        fields.insert("over".to_owned(), json!("drop"));
    }
    if limit.post_paid() {
        fields.insert("post_paid".to_owned(), json!(true));
    }
    named(&mut fields, name.as_deref(), replaces);
    fields
}

fn window(fields: &mut Map<String, Value>, limit: &Limit) {
    match limit.window() {
        Window::Length(length) => match limit.window().unit() {
            Some(unit) => fields.insert("unit".to_owned(), json!(unit.name())),
            None if length.0 % 1_000_000 == 0 => {
                fields.insert("window".to_owned(), json!(format!("{}s", length.0 / 1_000_000)))
            }
            None => fields.insert("window".to_owned(), json!(format!("{}us", length.0))),
        },
        Window::Calendar(calendar) => {
            fields.insert("unit".to_owned(), json!(Unit::from(calendar.unit()).name()));
            fields.insert("calendar".to_owned(), json!(true));
            fields.insert("time_zone".to_owned(), json!(calendar.zone_name()))
        }
    };
}

fn named(fields: &mut Map<String, Value>, name: Option<&str>, replaces: &[String]) {
    if let Some(name) = name {
        fields.insert("name".to_owned(), json!(name));
    }
    if !replaces.is_empty() {
        let replaces: Vec<Value> = replaces.iter().map(|name| json!({ "name": name })).collect();
        fields.insert("replaces".to_owned(), Value::Array(replaces));
    }
}

/// `{ unit: minute, requests_per_unit: 5 }`.
fn flow(fields: &Map<String, Value>) -> String {
    let field = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key}: {}", scalar(text)),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(Value::as_object).map(flow).collect();
            format!("{key}: [{}]", items.join(", "))
        }
        other => format!("{key}: {other}"),
    };
    format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
}

/// A text, in quotation marks unless it is a plain word. Those of JSON are among those of YAML.
fn scalar(text: &str) -> String {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let plain = first && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.'));
    if plain && Meaning::of_plain(text) == Meaning::Text { text.to_owned() } else { json!(text).to_string() }
}
