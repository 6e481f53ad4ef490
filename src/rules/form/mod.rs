//! Rules in JSON: what the API takes and gives, and what repositories keep.
//!
//! The fields are those of a descriptor in a rule file (`docs/rules.md`), one by one, without `key`, `value` and
//! `descriptors`, which the path says. A form that is read becomes a [`RuleSpec`](crate::core::spec::RuleSpec), which
//! is valid; every field that has no meaning is told. What is written names algorithm and `over` always, so that it
//! means the same under other defaults.

mod domain;
mod limit;
mod rule;
#[cfg(test)]
pub(crate) mod strategies;
#[cfg(test)]
mod tests;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use domain::DomainForm;
pub use limit::{Defaults, LimitForm, ReplacesForm};
pub use rule::{OverrideForm, RuleForm};

use crate::core::path::DescriptorPath;
use crate::rules::repository::record::{Content, Kind, Subject, Unreadable};

/// A field that has no meaning, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct FieldProblem {
    /// Which: `rate_limits[1].unit`. Empty for the whole.
    pub field: String,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

impl FieldProblem {
    /// A problem with a field.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// Reads a form; only its shape is checked.
///
/// # Errors
/// The first field that is unknown or of another type.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, FieldProblem> {
    read_from(&value)
}

fn read_from<T: DeserializeOwned>(value: &Value) -> Result<T, FieldProblem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        FieldProblem { field: if field == "." { String::new() } else { field }, reason: error.inner().to_string() }
    })
}

/// What is kept of a content.
#[must_use]
pub fn write_content(content: &Content) -> Value {
    let written = match content {
        Content::Domain(settings) => serde_json::to_value(DomainForm::from(settings)),
        Content::Rule(rule) => serde_json::to_value(RuleForm::from(rule)),
        Content::Override(over) => serde_json::to_value(OverrideForm::from(over)),
    };
    // Strings, numbers and maps with text keys: nothing that JSON cannot say.
    written.unwrap_or_default()
}

/// Reads what is kept of a subject's content.
///
/// # Errors
/// Every field that has no meaning.
pub fn read_content(subject: &Subject, value: Value) -> Result<Content, Unreadable> {
    let one = |problem: FieldProblem| vec![problem];
    let content = match subject.kind() {
        Kind::Domain => read_from(&value).map_err(one).and_then(domain_content),
        Kind::Rule => read_from(&value).map_err(one).and_then(|form| rule_content(subject, form)),
        Kind::Override => read_from(&value).map_err(one).and_then(override_content),
    };
    content
        .map_err(|problems| Unreadable(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "), value))
}

/// The same of JSON text.
///
/// # Errors
/// Every field that has no meaning; or that it is no JSON, and then it is passed on as a string.
pub fn read_content_text(subject: &Subject, text: &str) -> Result<Content, Unreadable> {
    // Nearly all are well. What is wrong with the others, and where, is found out by reading them again.
    let content = match subject.kind() {
        Kind::Domain => serde_json::from_str(text).ok().and_then(|form| domain_content(form).ok()),
        Kind::Rule => serde_json::from_str(text).ok().and_then(|form| rule_content(subject, form).ok()),
        Kind::Override => serde_json::from_str(text).ok().and_then(|form| override_content(form).ok()),
    };
    content.map_or_else(
        || match serde_json::from_str(text) {
            Ok(value) => read_content(subject, value),
            Err(error) => Err(Unreadable(error.to_string(), Value::String(text.to_owned()))),
        },
        Ok,
    )
}

fn domain_content(form: DomainForm) -> Result<Content, Vec<FieldProblem>> {
    form.settings().map(Content::Domain)
}

fn rule_content(subject: &Subject, form: RuleForm) -> Result<Content, Vec<FieldProblem>> {
    form.spec(subject.path().is_some_and(has_wildcard), Defaults::API).map(Content::Rule)
}

fn override_content(form: OverrideForm) -> Result<Content, Vec<FieldProblem>> {
    form.over(Defaults::API).map(Content::Override)
}

/// Whether the last entry of a path has a `*`, so that its values can share a threshold.
#[must_use]
pub fn has_wildcard(path: &DescriptorPath) -> bool {
    path.entries()
        .last()
        .is_some_and(|entry| entry.key.contains('*') || entry.value.as_ref().is_some_and(|value| value.contains('*')))
}
