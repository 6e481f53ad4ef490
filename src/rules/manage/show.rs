//! Differences as people and programs read them.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::diff::Difference;
use crate::rules::form::write_content;

/// A field that changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// Which: `rate_limits[1].unit`.
    pub field: String,
    /// What it says; `None` when it is not there.
    pub before: Option<Value>,
    /// What it is to say.
    pub after: Option<Value>,
}

/// A difference in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DifferenceView {
    /// `create`, `update` or `delete`.
    pub change: &'static str,
    /// `domain`, `rule` or `override`.
    pub kind: &'static str,
    /// Its domain.
    pub domain: String,
    /// Its descriptor path; a domain has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the record says; missing when there is none, or when it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is to say; missing when it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The fields that an update changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

impl Difference {
    /// The fields that change, when there is a content before and after.
    #[must_use]
    pub fn fields(&self) -> Vec<FieldChange> {
        let mut fields = Vec::new();
        if let (Some(Ok(before)), Some(after)) = (&self.before, &self.after) {
            compare(String::new(), Some(&write_content(before)), Some(&write_content(after)), &mut fields);
        }
        fields
    }

    /// As JSON.
    #[must_use]
    pub fn view(&self) -> DifferenceView {
        let before = self.before.as_ref().and_then(|before| before.as_ref().ok());
        DifferenceView {
            change: match (&self.before, &self.after) {
                (None, _) => "create",
                (Some(_), Some(_)) => "update",
                (Some(_), None) => "delete",
            },
            kind: self.subject.kind().name(),
            domain: self.subject.domain().to_owned(),
            path: self.subject.path().map(ToString::to_string),
            before: before.map(write_content),
            after: self.after.as_ref().map(write_content),
            fields: self.fields(),
        }
    }
}

impl fmt::Display for Difference {
    /// One line: `~ rule edge user_id=123: rate_limit.requests_per_unit 5 -> 10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.before, &self.after) {
            (None, _) => '+',
            (Some(_), Some(_)) => '~',
            (Some(_), None) => '-',
        };
        write!(f, "{sign} {} ", self.subject.kind().name())?;
        // A domain may be called anything, but a line stays a line.
        for character in self.subject.domain().chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?
            } else {
                write!(f, "{character}")?
            }
        }
        if let Some(path) = self.subject.path() {
            write!(f, " {path}")?;
        }
        if let (Some(Err(_)), Some(_)) = (&self.before, &self.after) {
            f.write_str(": could not be read")?;
        }
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), Value::to_string);
        for (position, change) in self.fields().iter().enumerate() {
            f.write_str(if position == 0 { ": " } else { ", " })?;
            write!(f, "{} {} -> {}", change.field, shown(&change.before), shown(&change.after))?;
        }
        Ok(())
    }
}

/// Fields of maps one by one, items of lists when there are as many.
fn compare(field: String, before: Option<&Value>, after: Option<&Value>, fields: &mut Vec<FieldChange>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let below = |key: &str| if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") };
            for (key, value) in before {
                compare(below(key), Some(value), after.get(key), fields);
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                compare(below(key), None, Some(value), fields);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if before.len() == after.len() => {
            for (position, (before, after)) in before.iter().zip(after).enumerate() {
                compare(format!("{field}[{position}]"), Some(before), Some(after), fields);
            }
        }
        (before, after) => fields.push(FieldChange { field, before: before.cloned(), after: after.cloned() }),
    }
}
