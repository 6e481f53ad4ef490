//! `/json`: a `RateLimitRequest` in protobuf's JSON and a `RateLimitResponse` back, as envoyproxy/ratelimit has it:
//! 200 for OK, 429 for OVER_LIMIT, 500 for an answer that is neither. A request without meaning is 400, here with a
//! text that names the field.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use prost::Message as _;
use serde_json::Value;
use smallvec::SmallVec;

use super::Api;
use super::fields::{FieldError, Notation, Object, parse};
use super::gate::Decider;
use super::openapi::decisions;
use super::problem::{Problem, ProblemDocument};
use super::protojson;
use crate::core::decision::Code;
use crate::core::descriptor::{Descriptor, Entry, LimitOverride, Request};
use crate::core::limit::Unit;
use crate::server::rls::response;

/// Units of a request's own limit, with their numbers in `envoy.type.v3.RateLimitUnit` (which has no week) and in
/// `RateLimitResponse.RateLimit.Unit` (which has).
const UNITS: [(&str, i32, Unit); 7] = [
    ("SECOND", 1, Unit::Second),
    ("MINUTE", 2, Unit::Minute),
    ("HOUR", 3, Unit::Hour),
    ("DAY", 4, Unit::Day),
    ("WEEK", 7, Unit::Week),
    ("MONTH", 5, Unit::Month),
    ("YEAR", 6, Unit::Year),
];

/// Decide a request as envoyproxy/ratelimit does
///
/// Any method will do.
#[utoipa::path(
    post, path = "/json", tag = "decisions", operation_id = "decideJson",
    request_body = decisions::RateLimitRequest,
    responses(
        (status = 200, description = "OK", body = decisions::RateLimitResponse),
        (status = 400, description = "A request without meaning", body = String, content_type = "text/plain"),
        (status = 401, description = "A token is needed, or the one given is worth nothing", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The token lacks the scope", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "The request was not complete in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than `http.max_body_bytes`", content(
            (String = "text/plain"), (ProblemDocument = "application/problem+json"),
        )),
        (status = 429, description = "OVER_LIMIT, or too many wrong tokens came from this address", content(
            (decisions::RateLimitResponse = "application/json"), (ProblemDocument = "application/problem+json"),
        )),
        (status = 500, description = "An answer that cannot be written", body = String, content_type = "text/plain"),
        (status = 503, description = "Too many requests at once, or what is needed is away", content(
            (String = "text/plain"), (ProblemDocument = "application/problem+json"),
        )),
    ),
)]
pub async fn decide(
    State(api): State<Arc<Api>>,
    decider: Result<Decider, Problem>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Err(problem) = decider {
        return problem.into_response();
    }
    let body = match super::body(body) {
        Ok(body) => body,
        Err(problem) => return refuse(&problem),
    };
    let value = match parse(&body) {
        Ok(value) => value,
        Err(error) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let request = match request(&value) {
        Ok(request) => request,
        Err(error) => return text(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let active = api.context.limiter.active();
    let decision = match api.context.limiter.decide(&active, &request, None).await {
        Ok(decision) => decision,
        Err(error) => return refuse(&api.refusal(error)),
    };
    api.context.observe(&request, &decision);
    // The message that Envoy would get, read back: one place says what an answer holds.
    let message = response::encode(Vec::new(), &decision, active.revision, &api.settings);
    match RateLimitResponse::decode(&*message) {
        Ok(message) => (status(decision.code), Json(protojson::response(&message))).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

const fn status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::OverLimit => StatusCode::TOO_MANY_REQUESTS,
    }
}

/// Reads a `RateLimitRequest`.
fn request(value: &Value) -> Result<Request<'_>, FieldError> {
    let object = Object::root(value, Notation::Proto)?;
    object.only(&["domain", "descriptors", "hits_addend"])?;
    Ok(Request {
        domain: object.text("domain")?.unwrap_or_default().as_bytes(),
        descriptors: object.objects("descriptors")?.iter().map(descriptor).collect::<Result<_, _>>()?,
        // No more than 2^32 - 1, so the conversion never falls short.
        hits_addend: u32::try_from(object.whole("hits_addend", u64::from(u32::MAX))?.unwrap_or(0)).unwrap_or(u32::MAX),
        client: None,
    })
}

fn descriptor<'a>(object: &Object<'a>) -> Result<Descriptor<'a>, FieldError> {
    object.only(&["entries", "limit", "hits_addend", "is_negative_hits"])?;
    let mut entries = SmallVec::new();
    for entry in object.objects("entries")? {
        entry.only(&["key", "value"])?;
        entries.push(Entry::new(entry.text("key")?.unwrap_or_default(), entry.text("value")?.unwrap_or_default()));
    }
    Ok(Descriptor {
        entries,
        hits_addend: object.whole("hits_addend", u64::MAX)?,
        is_negative_hits: object.flag("is_negative_hits")?,
        limit: object.object("limit")?.map(|limit| limit_override(&limit)).transpose()?,
    })
}

fn limit_override(object: &Object<'_>) -> Result<LimitOverride, FieldError> {
    object.only(&["requests_per_unit", "unit"])?;
    let requests = object.whole("requests_per_unit", u64::from(u32::MAX))?.unwrap_or(0);
    let unit = object.choice("unit", &UNITS)?.ok_or_else(|| {
        FieldError::new(object.path_of("unit"), "must be given; one of SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, YEAR")
    })?;
    Ok(LimitOverride { requests_per_unit: u32::try_from(requests).unwrap_or(u32::MAX), unit })
}

fn refuse(problem: &Problem) -> Response {
    text(problem.kind().status(), problem.detail())
}

fn text(status: StatusCode, reason: &str) -> Response {
    (status, format!("{reason}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        request(&parse(text.as_bytes()).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn both_spellings_and_both_forms_of_numbers_are_read() {
        let value = parse(
            br#"{"domain": "d", "hitsAddend": 3, "descriptors": [
                {"entries": [{"key": "a", "value": "1"}, {"key": "b"}], "hits_addend": "18446744073709551615",
                 "isNegativeHits": true, "limit": {"requestsPerUnit": "7", "unit": "HOUR"}},
                {"limit": {"unit": 7}}]}"#,
        )
        .unwrap();
        let request = request(&value).unwrap();
        assert_eq!(request.domain, b"d");
        assert_eq!(request.hits_addend, 3);
        let first = &request.descriptors[0];
        assert_eq!(first.entries[..], [Entry::new("a", "1"), Entry::new("b", "")]);
        assert_eq!(first.hits_addend, Some(u64::MAX));
        assert!(first.is_negative_hits);
        assert_eq!(first.limit, Some(LimitOverride { requests_per_unit: 7, unit: Unit::Hour }));
        assert_eq!(request.descriptors[1].limit, Some(LimitOverride { requests_per_unit: 0, unit: Unit::Week }));
        assert_eq!(request.descriptors[1].hits_addend, None);
    }

    #[test]
    fn mistakes_name_their_field() {
        assert_eq!(error("[]"), "body: must be an object, got a list");
        assert_eq!(error(r#"{"domian": "d"}"#), "domian: unknown field; known are domain, descriptors, hits_addend");
        assert_eq!(
            error(r#"{"descriptors": [{"entries": [{"key": 1}]}]}"#),
            "descriptors[0].entries[0].key: must be a string, got 1"
        );
        assert_eq!(
            error(r#"{"descriptors": [{"limit": {"unit": 0}}]}"#),
            "descriptors[0].limit.unit: must be one of SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, YEAR, got 0"
        );
        assert!(error(r#"{"descriptors": [{"limit": {}}]}"#).starts_with("descriptors[0].limit.unit: must be given"));
        assert_eq!(error(r#"{"hitsAddend": -3}"#), "hits_addend: must be a whole number from 0 to 4294967295, got -3");
    }
}
