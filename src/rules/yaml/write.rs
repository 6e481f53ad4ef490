//! Writing a domain so that it is read as it was: block style down to the descriptors, one line for what a descriptor
//! says. Algorithm and `over` are always written, as in JSON, and so are a domain's settings.

use serde_json::{Map, Value};

use super::scalar::Meaning;
use crate::core::spec::{DescriptorSpec, DomainSpec};
use crate::rules::form::{DomainForm, RuleForm};

/// A key longer than this must be marked as one; YAML looks no further for its colon.
const LONGEST_PLAIN_KEY: usize = 1_000;

/// The text of a domain. Where something was written is not said; nor is `order`, which is that of writing.
#[must_use]
pub fn write(domain: &DomainSpec) -> String {
    let mut out = String::new();
    field(&mut out, "domain", &Value::from(&*domain.name));
    fields(&mut out, 0, object(serde_json::to_value(DomainForm::from(&domain.settings))));
    descriptors(&mut out, 0, &domain.descriptors);
    out
}

/// The text of several domains, a document each.
#[must_use]
pub fn write_all<'d>(domains: impl IntoIterator<Item = &'d DomainSpec>) -> String {
    domains.into_iter().map(write).collect::<Vec<_>>().join("---\n")
}

fn object(value: serde_json::Result<Value>) -> Map<String, Value> {
    // Forms are maps of what JSON can say.
    match value {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn descriptors(out: &mut String, depth: usize, all: &[DescriptorSpec]) {
    if all.is_empty() {
        return;
    }
    indent(out, depth);
    out.push_str("descriptors:\n");
    for descriptor in all {
        indent(out, depth);
        out.push_str("  - ");
        field(out, "key", &Value::from(&*descriptor.key));
        if let Some(value) = descriptor.value.as_deref().filter(|value| !value.is_empty()) {
            indent(out, depth + 2);
            field(out, "value", &Value::from(value));
        }
        let mut rule = object(serde_json::to_value(RuleForm::from(&descriptor.rule)));
        rule.shift_remove("order");
        fields(out, depth + 2, rule);
        descriptors(out, depth + 2, &descriptor.descriptors);
    }
}

fn fields(out: &mut String, depth: usize, map: Map<String, Value>) {
    for (key, value) in map {
        indent(out, depth);
        match &value {
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
                out.push_str(&key);
                out.push_str(":\n");
                for item in items {
                    indent(out, depth);
                    out.push_str("  - ");
                    flow(out, item);
                    out.push('\n');
                }
            }
            _ => field(out, &key, &value),
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn field(out: &mut String, key: &str, value: &Value) {
    out.push_str(key);
    out.push_str(": ");
    flow(out, value);
    out.push('\n');
}

/// A value on one line.
fn flow(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => scalar(out, text),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { ", " });
                flow(out, item);
            }
            out.push(']');
        }
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Object(map) => {
            out.push_str("{ ");
            for (position, (key, value)) in map.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { ", " });
                out.push_str(if key.len() > LONGEST_PLAIN_KEY { "? " } else { "" });
                scalar(out, key);
                out.push_str(": ");
                flow(out, value);
            }
            out.push_str(" }");
        }
    }
}

/// A text: as it is where nobody can take it for something else, or in quotation marks.
fn scalar(out: &mut String, text: &str) {
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && Meaning::of_plain(text) == Meaning::Text;
    if is_word {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // What is not printable to YAML, or breaks lines for some readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}') => {
                out.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
