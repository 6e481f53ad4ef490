//! What is wrong with the settings, in sentences for whoever wrote them.

use std::fmt;

use figment::error::Kind;

/// Every mistake found, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            several => {
                write!(f, "{} settings are wrong:", several.len())?;
                several.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// One mistake: the field, where it was written, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{origin}: {message}", if field.is_empty() { String::new() } else { format!("{field} from ") })]
pub struct ConfigError {
    /// The field, `grpc.address`; empty when a source as a whole is wrong.
    pub field: String,
    /// Where its value was written: `FILE:LINE`, the environment variable's name, the flag, or `default`.
    pub origin: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl ConfigError {
    pub(super) fn new(field: impl Into<String>, origin: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), origin: origin.into(), message: message.into() }
    }
}

/// The sentence for what figment found.
pub(super) fn sentence(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("expected {}, found {}", plain(expected), plain_actual(&actual.to_string()))
        }
        Kind::UnknownField(name, known) => {
            format!("there is no setting '{name}'; here are {}", known.join(", "))
        }
        Kind::UnknownVariant(name, known) => {
            format!("'{name}' is none of the choices; write one of {}", known.join(", "))
        }
        Kind::MissingField(name) => format!("'{name}' is missing; write it too"),
        Kind::Message(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rust's types in the words of a reader.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative and not too large",
        "f32" | "f64" => "a number",
        "a boolean" | "bool" => "true or false",
        "a string" => "a text",
        "path string" => "a path",
        "a sequence" => "a list",
        "a map" => "a section",
        other if other.starts_with("struct ") => "a section with settings in it",
        other => other,
    }
}

fn plain_actual(actual: &str) -> String {
    let kinds = ["string ", "signed int ", "unsigned int ", "bool ", "float "];
    let actual = kinds.iter().find_map(|kind| actual.strip_prefix(kind)).unwrap_or(actual);
    match actual {
        "map" => "a section".to_owned(),
        "sequence" => "a list".to_owned(),
        other => other.replace('`', ""),
    }
}
