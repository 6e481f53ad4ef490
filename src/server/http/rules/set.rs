//! `PUT /rate-limit/rules`: one customer's limit in a line, or a whole rule.
//!
//! In short, `{"user_id": "123", "limit_per_minute": 5}` is the rule at `user_id=123` of `http.domain`, as
//! `POST /rate-limit` asks for it. In full, the fields of a rule stand beside `domain` and `path` (or `descriptor`).

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;

use super::super::Api;
use super::super::gate::Writer;
use super::super::openapi::records::{RuleWritten, SetRule};
use super::super::openapi::refusals;
use super::super::problem::{Kind, Problem};
use super::body::{Body, invalid};
use super::change::make;
use super::preconditions::expected;
use super::{Store, content, record, target};
use crate::core::limit::{Algorithm, Limit, LimitParts, MAX_LOG_AMOUNT, Over, Unit, Window};
use crate::core::path::{DescriptorPath, PathEntry};
use crate::core::spec::{EffectSpec, LimitSpec, RuleSpec};
use crate::rules::form::FieldProblem;
use crate::rules::repository::Change;
use crate::rules::repository::record::{Content, Subject};

/// The limits of the short form.
const LIMITS: [(&str, Unit); 4] = [
    ("limit_per_second", Unit::Second),
    ("limit_per_minute", Unit::Minute),
    ("limit_per_hour", Unit::Hour),
    ("limit_per_day", Unit::Day),
];
/// The clients of the short form.
const CLIENTS: [&str; 2] = ["user_id", "ip_address"];

/// Set the limit of a customer, or a whole rule
///
/// In short, `{"user_id": "123", "limit_per_minute": 5}`; in full, the fields of a rule with its domain and path. What
/// was there before is replaced.
#[utoipa::path(
    put, path = "/rate-limit/rules", tag = "rules", operation_id = "setRule",
    request_body = SetRule,
    params(
        ("If-Match" = Option<String>, Header, description = "The revision in quotes that is to be changed, or *"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none"),
        ("X-Change-Reason" = Option<String>, Header, description = "Why, for the history"),
    ),
    responses(
        (status = 200, description = "Changed, or as it was", body = RuleWritten),
        (status = 201, description = "Created", body = RuleWritten),
        refusals::Writing,
    ),
)]
pub async fn set(
    State(api): State<Arc<Api>>,
    store: Store,
    Writer(caller): Writer,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    let mut body = Body::read(&headers, body)?;
    let reason = body.reason(&headers)?;
    let domain = match body.text("domain")? {
        Some(domain) => target::domain(&domain).map_err(|problem| Problem::fields(Kind::Invalid, vec![problem]))?,
        None => api.context.config.http.domain.as_str().into(),
    };
    let short = CLIENTS.iter().chain(LIMITS.iter().map(|(name, _)| name)).any(|name| body.has(name));
    let (path, content, notes) = if short {
        let (path, rule, notes) = in_short(body)?;
        (path, Content::Rule(rule), notes)
    } else {
        let path = take_path(&mut body)?;
        let content = content::rule(&store, &domain, &path, body).await?;
        (path, content, Vec::new())
    };
    let change = Change { subject: Subject::Rule(domain, path), content: Some(content), expected };
    let made = make(&store, &caller, "set", change, reason).await?;
    Ok(record::written(&made, &notes))
}

/// `path` as text, or `descriptor` as a list of entries.
fn take_path(body: &mut Body) -> Result<DescriptorPath, Problem> {
    let wrong = |problem: FieldProblem| Problem::fields(Kind::Invalid, vec![problem]);
    match (body.text("path")?, body.take("descriptor")) {
        (Some(text), None) => target::path(&text).map_err(wrong),
        (None, Some(Value::Array(entries))) => {
            let entries = entries.into_iter().enumerate().map(|(position, entry)| {
                entry_of(entry).map_err(|(field, reason)| invalid(&format!("descriptor[{position}]{field}"), reason))
            });
            let path = DescriptorPath::new(entries.collect::<Result<Vec<_>, _>>()?);
            path.map_err(|error| wrong(FieldProblem::new("descriptor", error.to_string())))
        }
        (None, Some(_)) => Err(invalid("descriptor", "must be a list of {\"key\": ..., \"value\": ...}")),
        (Some(_), Some(_)) => Err(invalid("descriptor", "path and descriptor say the same; leave one of them out")),
        (None, None) => Err(invalid(
            "path",
            "is missing; write a path such as user_id=123, a descriptor, or in short user_id and limit_per_minute",
        )),
    }
}

fn entry_of(entry: Value) -> Result<PathEntry, (String, &'static str)> {
    let Value::Object(members) = entry else { return Err((String::new(), "must be {\"key\": ..., \"value\": ...}")) };
    let (mut key, mut value) = (None, None);
    for (name, member) in members {
        match (&*name, member) {
            ("key", Value::String(text)) => key = Some(text),
            ("value", Value::String(text)) => value = Some(text),
            ("value", Value::Null) => {}
            ("key" | "value", _) => return Err((format!(".{name}"), "must be a string")),
            _ => return Err((format!(".{name}"), "unknown field; known are key, value")),
        }
    }
    let key = key.ok_or((".key".to_owned(), "is missing"))?;
    Ok(PathEntry { key: key.into(), value: value.map(Into::into) })
}

/// The short form: who, and how much.
fn in_short(mut body: Body) -> Result<(DescriptorPath, RuleSpec, Vec<String>), Problem> {
    let user = body.text("user_id")?;
    if let Some(user) = &user {
        if user.is_empty() {
            return Err(invalid("user_id", "must not be empty; leave it out instead"));
        }
        if user.contains('*') {
            let reason =
                "has a '*', which would match other users too; if that is meant, write the full form with path";
            return Err(invalid("user_id", reason));
        }
    }
    // Written as `POST /rate-limit` asks for it.
    let address = body.text("ip_address")?.map(|text| match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical().to_string()),
        Err(_) => Err(invalid("ip_address", "must be an IPv4 or IPv6 address like 192.0.2.1 or 2001:db8::1")),
    });
    let clients = [("user_id", user), ("ip_address", address.transpose()?)];
    let entries = clients
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| PathEntry { key: key.into(), value: Some(value.into()) }));
    let entries: Vec<_> = entries.collect();
    if entries.is_empty() {
        return Err(invalid("user_id", "user_id or ip_address must be given, or both"));
    }
    let path = DescriptorPath::new(entries).map_err(|error| invalid("user_id", error.to_string()))?;

    let mut limits = Vec::new();
    let mut notes = Vec::new();
    for (field, unit) in LIMITS {
        let Some(value) = body.take(field) else { continue };
        let wrong = || invalid(field, format!("must be a whole number from 0 to {}", u32::MAX));
        let amount = value.as_u64().filter(|amount| u32::try_from(*amount).is_ok()).ok_or_else(wrong)?;
        let algorithm = if amount > MAX_LOG_AMOUNT {
            notes.push(format!(
                "{field}: above {MAX_LOG_AMOUNT}, where sliding_window_log ends; sliding_window_counter counts instead"
            ));
            Algorithm::SlidingWindowCounter
        } else {
            Algorithm::SlidingWindowLog
        };
        let window = Window::Length(unit.length());
        let parts = LimitParts { amount, window, algorithm, burst: None, over: Over::Drop, post_paid: false };
        let limit = Limit::new(parts).map_err(|error| invalid(field, error.to_string()))?;
        limits.push(LimitSpec { limit, name: None, replaces: Vec::new() });
    }
    let names = LIMITS.map(|(name, _)| name).join(", ");
    if limits.is_empty() {
        return Err(invalid("limit_per_minute", format!("how much? Write one or more of {names}")));
    }
    if let Some(other) = body.first() {
        let reason = format!(
            "is no field of the short form, which has domain, user_id, ip_address, reason, {names}; write the full form \
             with path instead"
        );
        return Err(invalid(other, reason));
    }
    Ok((path, RuleSpec { effect: Some(EffectSpec::Limits(limits)), ..RuleSpec::default() }, notes))
}
