//! Refusals as RFC 9457 problem documents; denials of a limit are in [`crate::server::problem`].

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Documented, ResponseBuilder};

use super::fields::FieldError;
use super::request_id;
use crate::anomaly::findings::FindingsError;
use crate::limiter::DecideError;
use crate::rules::form::FieldProblem;
use crate::rules::repository::{Found, RepositoryError};

/// The media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Every kind of refusal, so that a problem can only have a status of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be read.
    Malformed,
    /// It can be read, and a field of it has no meaning.
    Invalid,
    /// No token that is worth anything.
    Unauthorized,
    /// Not for this caller.
    Forbidden,
    /// No such path, or nothing there.
    NotFound,
    /// No such method on this path.
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    /// Not while things are as they are.
    Conflict,
    /// Things are not as the caller expects them.
    PreconditionFailed,
    /// The body is larger than it may be.
    TooLarge,
    /// The body's content type is not ours.
    UnsupportedMediaType,
    /// Too often.
    TooManyRequests,
    /// A fault of ours, or of what we work with.
    Internal,
    /// Too many requests at once, or what is needed is away.
    Unavailable,
    /// It may have been done, or not.
    OutcomeUnknown,
}

impl Kind {
    /// Its status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable | Self::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
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
            Self::Unauthorized => ("about:blank", "Unauthorized"),
            Self::Forbidden => ("about:blank", "Forbidden"),
            Self::NotFound => ("about:blank", "Not Found"),
            Self::MethodNotAllowed => ("about:blank", "Method Not Allowed"),
            Self::Timeout => ("about:blank", "Request Timeout"),
            Self::Conflict => ("about:blank", "Conflict"),
            Self::PreconditionFailed => ("about:blank", "Precondition Failed"),
            Self::TooLarge => ("about:blank", "Content Too Large"),
            Self::UnsupportedMediaType => ("about:blank", "Unsupported Media Type"),
            Self::TooManyRequests => ("about:blank", "Too Many Requests"),
            Self::Internal => ("about:blank", "Internal Server Error"),
            Self::OutcomeUnknown => ("about:blank", "Service Unavailable"),
        }
    }

    /// What it means, for the API's document.
    const fn meaning(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read; the problem names where.",
            Self::Invalid => "A field has no meaning; `errors` names it.",
            Self::Unauthorized => "A token is needed, or the one given is worth nothing.",
            Self::Forbidden => "The token lacks the scope, or nothing can be changed before there is a token.",
            Self::NotFound => "There is no such thing.",
            Self::MethodNotAllowed => "No such method on this path.",
            Self::Timeout => "The request was not complete in time.",
            Self::Conflict => "Not while things are as they are: rules come from elsewhere, or a name is taken.",
            Self::PreconditionFailed => "It is not as `If-Match` or `If-None-Match` expects it; nothing was changed.",
            Self::TooLarge => "The body is larger than `http.max_body_bytes`.",
            Self::UnsupportedMediaType => "The body's content type is not one of those named.",
            Self::TooManyRequests => "Too many wrong tokens from this address.",
            Self::Internal => "What is kept cannot be used as it is, or a fault of the server.",
            Self::Unavailable | Self::OutcomeUnknown => {
                "Too many requests at once, or what is needed is away; nothing was done, unless the problem says \
                 `outcome: unknown`."
            }
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
    retry_after: Option<Duration>,
}

/// A problem document (RFC 9457). It may have further members.
#[derive(ToSchema)]
#[allow(dead_code, reason = "documents what Problem writes")]
pub struct ProblemDocument {
    /// A URI of the kind of problem; `about:blank` where the status says it all.
    r#type: String,
    /// The kind of problem in words.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// Every field that has no meaning.
    errors: Option<Vec<FieldDocument>>,
    /// The request's `x-request-id`.
    request_id: Option<String>,
}

/// A field that has no meaning.
#[derive(ToSchema)]
#[allow(dead_code, reason = "documents what Problem writes")]
pub struct FieldDocument {
    /// Which: `rate_limits[1].unit`; a parameter's or a header's name; `body` for the whole.
    field: String,
    /// What is wrong with it, and what to do.
    reason: String,
}

impl Problem {
    /// A refusal with one sentence on what is wrong and what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after = (kind == Kind::Unavailable).then_some(Duration::from_secs(1));
        Self { kind, detail: detail.into(), members: Map::new(), retry_after }
    }

    /// Adds a member to the document.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Tells when to try again.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// A refusal because of one field.
    pub fn field(kind: Kind, error: &FieldError) -> Self {
        Self::fields(kind, vec![FieldProblem::new(error.field.clone(), error.reason.clone())])
    }

    /// A refusal because of some fields.
    pub fn fields(kind: Kind, mut problems: Vec<FieldProblem>) -> Self {
        for problem in &mut problems {
            if problem.field.is_empty() {
                "body".clone_into(&mut problem.field);
            }
        }
        let detail = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let error = |problem: &FieldProblem| json!({ "field": problem.field, "reason": problem.reason });
        Self::new(kind, detail).with("errors", problems.iter().map(error).collect::<Vec<_>>())
    }

    /// One sentence on what is wrong.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The kind of refusal.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// These refusals, for the API's document.
    pub fn documented(kinds: &[Kind]) -> BTreeMap<String, RefOr<Documented>> {
        let document = |kind: &Kind| {
            let schema = Ref::from_schema_name("ProblemDocument");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response = ResponseBuilder::new().description(kind.meaning()).content(MEDIA_TYPE, content).build();
            (kind.status().as_u16().to_string(), response.into())
        };
        kinds.iter().map(document).collect()
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

impl From<RepositoryError> for Problem {
    fn from(error: RepositoryError) -> Self {
        let text = error.to_string();
        match error {
            RepositoryError::Conflict { found, .. } => {
                let revision = match found {
                    Found::Absent => Value::Null,
                    Found::At(revision) => revision.0.into(),
                };
                Self::new(Kind::PreconditionFailed, text).with("current_revision", revision)
            }
            RepositoryError::Moved { found, .. } => {
                Self::new(Kind::PreconditionFailed, text).with("current_revision", found.0)
            }
            RepositoryError::Refused { .. } | RepositoryError::TooManyChanges(_) => Self::new(Kind::Invalid, text),
            RepositoryError::Unavailable { retry_after, .. } => {
                let detail = format!("{text}; nothing was changed, and decisions go on");
                Self::new(Kind::Unavailable, detail).retry_after(retry_after)
            }
            RepositoryError::OutcomeUnknown { .. } => {
                let detail = format!("{text}; read what is there before you try again");
                Self::new(Kind::OutcomeUnknown, detail).with("outcome", "unknown")
            }
            RepositoryError::TokenExists(_) => Self::new(Kind::Conflict, text),
            RepositoryError::Unusable(_) => Self::new(Kind::Internal, text),
        }
    }
}

impl From<FindingsError> for Problem {
    fn from(error: FindingsError) -> Self {
        let text = error.to_string();
        match error {
            FindingsError::Away(_) => Self::new(Kind::Unavailable, format!("{text}; decisions go on")),
            FindingsError::Damaged(_) | FindingsError::Unusable(_) => Self::new(Kind::Internal, text),
        }
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
            members.extend(request_id::current().map(|id| ("request_id".to_owned(), id.into())));
        }
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if self.kind == Kind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidegate\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::repository::{Expected, Revision, Subject};

    fn told(error: RepositoryError) -> (u16, Option<String>, String) {
        let problem = Problem::from(error);
        let detail = problem.detail().to_owned();
        let response = problem.into_response();
        let wait = response.headers().get(RETRY_AFTER).map(|wait| wait.to_str().unwrap().to_owned());
        (response.status().as_u16(), wait, detail)
    }

    #[test]
    fn failures_of_the_repository_say_what_was_done_and_what_to_do() {
        let reason = || "gone".to_owned();
        let (status, wait, detail) =
            told(RepositoryError::Unavailable { reason: reason(), retry_after: Duration::from_secs(7) });
        assert_eq!((status, wait.as_deref()), (503, Some("7")));
        assert_eq!(detail, "the rule repository is away: gone; nothing was changed, and decisions go on");
        let (status, wait, detail) = told(RepositoryError::OutcomeUnknown { reason: reason() });
        assert_eq!((status, wait), (503, None));
        assert!(detail.ends_with("made or not: gone; read what is there before you try again"), "{detail}");
        assert_eq!(told(RepositoryError::Unusable(reason())).0, 500);
        assert_eq!(told(RepositoryError::TokenExists("ci".into())).0, 409);
        assert_eq!(told(RepositoryError::TooManyChanges(9)).0, 422);
        let moved = RepositoryError::Moved { expected: Revision(1), found: Revision(2) };
        assert_eq!(told(moved).0, 412);
        let subject = Subject::Domain("edge".into());
        let conflict = RepositoryError::Conflict { subject, expected: Expected::Present, found: Found::Absent };
        assert_eq!(told(conflict).0, 412);
    }
}
