//! Refusals as RFC 9457 problem documents; denials of a limit are in [`crate::server::problem`].

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::fields::FieldError;
use crate::limiter::DecideError;

/// Every kind of refusal, so that a problem can only have a status of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body cannot be read.
    Malformed,
    /// The body can be read, and a field of it has no meaning.
    Invalid,
    /// No such path.
    NotFound,
    /// No such method on this path.
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    /// The body is larger than it may be.
    TooLarge,
    /// The body's content type is not ours.
    UnsupportedMediaType,
    /// Too many requests at once, or the counters are away.
    Unavailable,
}

impl Kind {
    /// Its status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The registered type is one of draft-ietf-httpapi-ratelimit-headers; the others say nothing beyond their status.
    const fn type_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::Unavailable => (
                "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
                "Request cannot be satisfied due to temporary server capacity constraints",
            ),
            Self::Malformed => ("about:blank", "Bad Request"),
            Self::Invalid => ("about:blank", "Unprocessable Content"),
            Self::NotFound => ("about:blank", "Not Found"),
            Self::MethodNotAllowed => ("about:blank", "Method Not Allowed"),
            Self::Timeout => ("about:blank", "Request Timeout"),
            Self::TooLarge => ("about:blank", "Content Too Large"),
            Self::UnsupportedMediaType => ("about:blank", "Unsupported Media Type"),
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
}

impl Problem {
    /// A refusal with one sentence on what is wrong and what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new() }
    }

    /// Adds a member to the document.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// A refusal because of one field.
    pub fn field(kind: Kind, error: &FieldError) -> Self {
        Self::new(kind, error.to_string()).with("errors", json!([{ "field": error.field, "reason": error.reason }]))
    }

    /// One sentence on what is wrong.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The kind of refusal.
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        let kind = match error {
            DecideError::NoRules | DecideError::Store(_) => Kind::Unavailable,
            _ => Kind::Malformed,
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (kind, title) = self.kind.type_and_title();
        let status = self.kind.status();
        let mut document = json!({
            "type": kind,
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Value::Object(members) = &mut document {
            members.extend(self.members);
        }
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::Unavailable {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
