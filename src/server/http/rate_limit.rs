//! `POST /rate-limit`: the decision for anything that is not Envoy.
//!
//! The body says who asks, `{"user_id": "alice", "ip_address": "192.0.2.1", "path": "/login", "method": "POST"}`, and
//! every descriptor that can be made of it is decided in one request, see [`descriptors`].

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::Api;
use super::fields::{FieldError, Notation, Object, parse};
use super::gate::Decider;
use super::openapi;
use super::problem::{Kind, Problem};
use crate::core::adjustment::Adjustment;
use crate::core::decision::{Code, Decision};
use crate::core::descriptor::{Descriptor, Entry, Request};
use crate::server::headers;
use crate::server::problem;

/// The fields of the body.
const FIELDS: [&str; 6] = ["domain", "user_id", "ip_address", "path", "method", "hits"];

/// The longest text of a field, in bytes.
const MAX_TEXT: usize = 8 * 1024;

/// What the body says.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    domain: Option<String>,
    user_id: Option<String>,
    ip_address: Option<String>,
    path: Option<String>,
    method: Option<String>,
    hits: u64,
}

/// Decide a request
///
/// Every descriptor that can be made of the question is decided together: user, address, both, path, method, method and
/// path, method and user.
#[utoipa::path(
    post, path = "/rate-limit", tag = "decisions", operation_id = "decide",
    request_body = openapi::decisions::Question,
    responses(
        (status = 200, description = "It may pass", body = openapi::decisions::Allowed),
        (status = 429, description = "It may not, or too many wrong tokens came from this address", body = openapi::decisions::Denied, content_type = "application/problem+json"),
        openapi::refusals::Deciding,
    ),
)]
pub async fn decide(
    State(api): State<Arc<Api>>,
    _: Decider,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    super::require_json(&headers)?;
    let body = super::body(body)?;
    let value = parse(&body).map_err(|error| Problem::field(Kind::Malformed, &error))?;
    let question = Question::read(&value).map_err(|error| Problem::field(Kind::Invalid, &error))?;

    let context = &api.context;
    let domain = question.domain.as_deref().unwrap_or(&context.config.http.domain);
    let request =
        Request { domain: domain.as_bytes(), descriptors: descriptors(&question), hits_addend: 1, client: None };
    let active = context.limiter.active();
    let decision = context.limiter.decide(&active, &request, None).await.map_err(|error| api.refusal(error))?;
    context.observe(&request, &decision);
    Ok(answer(&api, domain, &decision))
}

impl Question {
    fn read(value: &Value) -> Result<Self, FieldError> {
        let object = Object::root(value, Notation::Plain)?;
        object.only(&FIELDS)?;
        let question = Self {
            domain: text(&object, "domain")?,
            user_id: text(&object, "user_id")?,
            ip_address: ip_address(&object)?,
            path: text(&object, "path")?,
            method: text(&object, "method")?.map(|method| method.to_ascii_uppercase()),
            hits: object.whole("hits", u64::from(u32::MAX))?.unwrap_or(1),
        };
        if question.user_id.is_none() && question.ip_address.is_none() {
            return Err(FieldError::new("user_id", "user_id or ip_address must be given, or both"));
        }
        Ok(question)
    }
}

/// A text that is not empty.
fn text(object: &Object<'_>, name: &str) -> Result<Option<String>, FieldError> {
    match object.text(name)? {
        None => Ok(None),
        Some("") => Err(FieldError::new(name, "must not be empty; leave it out instead")),
        Some(text) if text.len() > MAX_TEXT => {
            Err(FieldError::new(name, format!("is {} bytes long, at most {MAX_TEXT} are allowed", text.len())))
        }
        Some(text) => Ok(Some(text.to_owned())),
    }
}

/// An address in its canonical text, so that one client has one counter however its address is written.
fn ip_address(object: &Object<'_>) -> Result<Option<String>, FieldError> {
    let Some(text) = object.text("ip_address")? else { return Ok(None) };
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(Some(address.to_canonical().to_string())),
        Err(_) => {
            let shown: String = text.chars().take(64).collect();
            let reason = format!("must be an IPv4 or IPv6 address like 192.0.2.1 or 2001:db8::1, got {shown:?}");
            Err(FieldError::new("ip_address", reason))
        }
    }
}

/// The descriptors of a question, as far as their fields are given: `(user_id)`, `(ip_address)`,
/// `(user_id, ip_address)`, `(path)`, `(method)`, `(method, path)`, `(method, user_id)`.
fn descriptors(question: &Question) -> SmallVec<[Descriptor<'_>; 4]> {
    let user = question.user_id.as_deref().map(|value| Entry::new("user_id", value));
    let address = question.ip_address.as_deref().map(|value| Entry::new("ip_address", value));
    let path = question.path.as_deref().map(|value| Entry::new("path", value));
    let method = question.method.as_deref().map(|value| Entry::new("method", value));
    let sets: [&[Option<Entry<'_>>]; 7] =
        [&[user], &[address], &[user, address], &[path], &[method], &[method, path], &[method, user]];
    sets.into_iter()
        .filter_map(|set| set.iter().copied().collect::<Option<SmallVec<_>>>())
        .map(|entries| Descriptor { entries, hits_addend: Some(question.hits), ..Descriptor::default() })
        .collect()
}

fn answer(api: &Api, domain: &str, decision: &Decision<'_>) -> Response {
    // A denial begins as the problem document that Envoy hands on, too.
    let denial =
        problem::denial(decision, 429).and_then(|denial| serde_json::from_slice::<Map<String, Value>>(&denial).ok());
    let mut document = denial.unwrap_or_default();
    let (status, media_type) = match decision.code {
        Code::Ok => (StatusCode::OK, "application/json"),
        Code::OverLimit => (StatusCode::TOO_MANY_REQUESTS, problem::MEDIA_TYPE),
    };
    document.insert("allowed".to_owned(), (decision.code == Code::Ok).into());
    document.extend(members(domain, decision));
    let mut response = (status, Value::Object(document).to_string()).into_response();
    let to = response.headers_mut();
    to.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers::write(decision, &api.settings.headers, |name, value| {
        // Names are checked with the settings, and values are visible ASCII.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            to.append(name, value);
        }
    });
    response
}

/// What both answers say: the rule that decided and the state of its limit.
fn members(domain: &str, decision: &Decision<'_>) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("domain", domain.into());
    if let Some(adjusted) = &decision.adjustment {
        let id = |by: &Option<Arc<Adjustment>>| by.as_ref().map(|by| Value::from(&*by.id));
        let named = [("adjustment", id(&adjusted.applied)), ("adjustment_shadow", id(&adjusted.shadow))];
        named.into_iter().for_each(|(name, id)| drop(id.map(|id| put(name, id))));
    }
    if decision.code == Code::OverLimit {
        put("retry_after_seconds", headers::retry_after(decision).into());
    }
    let Some((status, applied)) = decision.deciding() else {
        // Unlimited, or nothing matched, or nothing was counted.
        let rule = decision.statuses.iter().find_map(|status| status.rule);
        put("rule", rule.map(|rule| rule.path.to_string()).into());
        let note = match (decision.domain, rule) {
            (None, _) => format!("no rules for domain '{domain}'"),
            (Some(_), _) if decision.denied_by_adjustment().is_some() => "an adjustment lets nothing pass".to_owned(),
            (Some(_), None) => format!("no rule of domain '{domain}' matches"),
            (Some(_), Some(_)) => "no limit applies".to_owned(),
        };
        put("note", note.into());
        return members;
    };
    put("rule", status.rule.map(|rule| rule.path.to_string()).into());
    put("name", applied.name.into());
    put("algorithm", applied.algorithm().name().into());
    let lowered = decision.lowered();
    put("limit", lowered.map_or(&applied.limit, |lowered| &lowered.unadjusted).amount().into());
    if lowered.is_some() {
        put("adjusted_limit", applied.limit.amount().into());
    }
    put("window", applied.limit.window().to_string().into());
    put("remaining", status.remaining.into());
    put("reset_after_seconds", applied.reset().as_secs_ceil().into());
    if status.shadowed {
        put("shadowed", true.into());
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Question, String> {
        Question::read(&parse(text.as_bytes()).unwrap()).map_err(|error| error.to_string())
    }

    fn sets(text: &str) -> Vec<String> {
        let question = read(text).unwrap();
        descriptors(&question)
            .iter()
            .map(|descriptor| {
                let entries = descriptor.entries.iter();
                let entry = |e: &Entry<'_>| format!("{}={}", e.key.escape_ascii(), e.value.escape_ascii());
                entries.map(entry).collect::<Vec<_>>().join(",")
            })
            .collect()
    }

    #[test]
    fn every_descriptor_whose_fields_are_given_is_asked() {
        assert_eq!(sets(r#"{"user_id": "u"}"#), ["user_id=u"]);
        assert_eq!(
            sets(r#"{"user_id": "u", "ip_address": "10.0.0.1", "path": "/p", "method": "get"}"#),
            [
                "user_id=u",
                "ip_address=10.0.0.1",
                "user_id=u,ip_address=10.0.0.1",
                "path=/p",
                "method=GET",
                "method=GET,path=/p",
                "method=GET,user_id=u"
            ]
        );
    }

    #[test]
    fn one_client_has_one_address() {
        for text in ["2001:db8::1", "2001:DB8:0:0:0:0:0:1"] {
            assert_eq!(sets(&format!(r#"{{"ip_address": "{text}"}}"#)), ["ip_address=2001:db8::1"]);
        }
        assert_eq!(sets(r#"{"ip_address": "::ffff:192.0.2.1"}"#), ["ip_address=192.0.2.1"]);
    }

    #[test]
    fn mistakes_name_their_field() {
        assert_eq!(read("{}").unwrap_err(), "user_id: user_id or ip_address must be given, or both");
        assert_eq!(
            read(r#"{"ip_address": "10.0.0.256"}"#).unwrap_err(),
            "ip_address: must be an IPv4 or IPv6 address like 192.0.2.1 or 2001:db8::1, got \"10.0.0.256\""
        );
        assert_eq!(
            read(r#"{"user_id": "u", "hits": 4294967296}"#).unwrap_err(),
            "hits: must be a whole number from 0 to 4294967295, got 4294967296"
        );
        assert_eq!(read(r#"{"user_id": ""}"#).unwrap_err(), "user_id: must not be empty; leave it out instead");
        assert!(read(r#"{"user": "u"}"#).unwrap_err().starts_with("user: unknown field; known are domain, user_id"));
    }
}
