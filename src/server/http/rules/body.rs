//! Bodies that say what a record is to be: a form, and beside it why.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::fields::{FieldError, parse};
use super::super::problem::{Kind, Problem};
use super::super::require_json;
use crate::rules::form::{self, FieldProblem};

/// Why something is changed; a body's own `reason` goes before it.
const REASON: HeaderName = HeaderName::from_static("x-change-reason");
/// The longest reason, in bytes.
const MAX_REASON: usize = 1_000;

/// The members of a JSON object.
#[derive(Debug)]
pub struct Body(Map<String, Value>);

impl Body {
    /// Reads the whole body.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        require_json(headers)?;
        let body = super::super::body(body)?;
        match parse(&body).map_err(|error| Problem::field(Kind::Malformed, &error))? {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(Problem::field(Kind::Invalid, &FieldError::new("body", "must be an object"))),
        }
    }

    /// The same for a body that may be empty.
    ///
    /// # Errors
    /// When there is one that is no JSON object.
    pub fn read_optional(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        match body {
            Ok(body) if body.is_empty() => Ok(Self(Map::new())),
            body => Self::read(headers, body),
        }
    }

    /// Whether there is such a member.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a member out; `null` is as if it were not there.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Puts a member in.
    pub fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Takes a text out.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(name, "must be a string")),
        }
    }

    /// Takes the reason out, or that of the header.
    ///
    /// # Errors
    /// When it is too long, or no text.
    pub fn reason(&mut self, headers: &HeaderMap) -> Result<Option<Box<str>>, Problem> {
        match self.text("reason")? {
            Some(reason) => check_reason("reason", &reason),
            None => reason_of(headers),
        }
    }

    /// The name of a member that is left.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.0.keys().next().map(String::as_str)
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// For the first member that nobody took.
    pub fn finish(&self, known: &str) -> Result<(), Problem> {
        self.first().map_or(Ok(()), |name| Err(invalid(name, format!("unknown field; known are {known}"))))
    }

    /// The rest as a form.
    ///
    /// # Errors
    /// The first field that is unknown or of another type.
    pub fn form<T: DeserializeOwned>(self) -> Result<T, Problem> {
        form::read(Value::Object(self.0)).map_err(|problem| Problem::fields(Kind::Invalid, vec![problem]))
    }
}

/// The reason that a header gives.
///
/// # Errors
/// When it is too long, or no text.
pub fn reason_of(headers: &HeaderMap) -> Result<Option<Box<str>>, Problem> {
    let Some(value) = headers.get(REASON) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes());
    check_reason("X-Change-Reason", text.map_err(|_| invalid("X-Change-Reason", "must be UTF-8"))?)
}

fn check_reason(field: &str, reason: &str) -> Result<Option<Box<str>>, Problem> {
    if reason.len() > MAX_REASON {
        return Err(invalid(field, format!("is {} bytes long, at most {MAX_REASON} are kept", reason.len())));
    }
    if reason.contains('\0') {
        return Err(invalid(field, "must not have a NUL character"));
    }
    Ok((!reason.is_empty()).then(|| reason.into()))
}

/// A field of a body that can be read and has no meaning.
pub fn invalid(field: &str, reason: impl Into<String>) -> Problem {
    Problem::fields(Kind::Invalid, vec![FieldProblem::new(field, reason)])
}
