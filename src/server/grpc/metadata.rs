//! Which rule decided, as a `google.protobuf.Struct` for Envoy's access log: the dynamic metadata of
//! `envoy.filters.http.ratelimit` and `envoy.filters.http.ext_authz`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::core::decision::{Code, Decision};
use crate::core::rule::Rule;
use crate::server::headers::LimitName;
use crate::wire::Writer;

/// Nesting of rule metadata beyond which it is left out; it is bounded so that writing it is.
const MAX_DEPTH: usize = 32;

/// The fields of the struct, into `out`.
pub fn encode(out: &mut Writer, decision: &Decision<'_>, revision: u64) {
    text(out, "code", if decision.code == Code::Ok { "OK" } else { "OVER_LIMIT" });
    if let Some(domain) = decision.domain {
        text(out, "domain", &domain.name);
    }
    number(out, "revision", revision);
    if let Some((status, applied)) = decision.deciding() {
        let name = LimitName::of(status, applied);
        match name.plain() {
            Some(name) => text(out, "rule", name),
            None => text(out, "rule", &name.to_string()),
        }
        text(out, "algorithm", applied.algorithm().name());
        let lowered = decision.lowered();
        number(out, "limit", lowered.map_or(&applied.limit, |lowered| &lowered.unadjusted).amount());
        if lowered.is_some() {
            number(out, "adjusted_limit", applied.limit.amount());
        }
        number(out, "remaining", status.remaining);
        number(out, "reset", applied.reset().as_secs_ceil());
        if let Some(cause) = applied.source.cause() {
            text(out, "cause", cause);
        }
        if status.shadowed || decision.globally_shadowed {
            field(out, "shadow", |value| value.boolean(BOOLEAN, true));
        }
    }
    if let Some(adjusted) = &decision.adjustment {
        for (key, by) in [("adjustment", &adjusted.applied), ("adjustment_shadow", &adjusted.shadow)] {
            if let Some(by) = by {
                text(out, key, &by.id);
            }
        }
    }
    if let Some(metadata) = merged(decision) {
        field(out, "metadata", |value| value.message(STRUCT, |fields| structure(fields, &metadata, MAX_DEPTH)));
    }
}

// Fields of google.protobuf.Value.
const NULL: u32 = 1;
const NUMBER: u32 = 2;
const STRING: u32 = 3;
const BOOLEAN: u32 = 4;
const STRUCT: u32 = 5;
const LIST: u32 = 6;

/// One entry of a struct's map of fields.
fn field(out: &mut Writer, key: &str, value: impl FnOnce(&mut Writer)) {
    out.message(1, |entry| {
        entry.bytes(1, key.as_bytes());
        entry.message(2, value);
    });
}

/// A field that is a text.
pub fn text(out: &mut Writer, key: &str, text: &str) {
    field(out, key, |value| value.bytes_always(STRING, text.as_bytes()));
}

/// Numbers of a struct are doubles, exact up to 2^53.
fn number(out: &mut Writer, key: &str, number: u64) {
    field(out, key, |value| value.double(NUMBER, number as f64));
}

fn structure(out: &mut Writer, fields: &Map<String, Value>, depth: usize) {
    for (key, json) in fields {
        field(out, key, |value| self::value(value, json, depth));
    }
}

fn value(out: &mut Writer, json: &Value, depth: usize) {
    let depth = depth.saturating_sub(1);
    match json {
        Value::Bool(truth) => out.boolean(BOOLEAN, *truth),
        Value::Number(number) => out.double(NUMBER, number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => out.bytes_always(STRING, text.as_bytes()),
        Value::Object(fields) if depth > 0 => out.message(STRUCT, |out| structure(out, fields, depth)),
        Value::Array(items) if depth > 0 => out.message(LIST, |out| {
            for item in items {
                out.message(1, |value| self::value(value, item, depth));
            }
        }),
        Value::Null | Value::Object(_) | Value::Array(_) => out.boolean(NULL, false),
    }
}

/// The metadata of the rules whose limits were asked and passed: unlimited rules were not asked. Where two say something
/// of one key, the first holds, except that structs are merged, as envoyproxy/ratelimit does.
fn merged<'s>(decision: &Decision<'s>) -> Option<Cow<'s, Map<String, Value>>> {
    let passed = decision.statuses.iter().filter(|status| status.code == Code::Ok && !status.replaced);
    let asked = passed.filter_map(|status| status.rule.filter(|rule| !rule.is_unlimited()));
    let mut all = asked.filter_map(Rule::metadata);
    let mut merged = Cow::Borrowed(all.next()?);
    for other in all {
        if !std::ptr::eq(merged.as_ref(), other) {
            merge(merged.to_mut(), other);
        }
    }
    Some(merged)
}

fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (None, value) => drop(into.insert(key.clone(), value.clone())),
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (Some(_), _) => {}
        }
    }
}
