//! `/rate-limit/overrides`: what holds for a time instead of a rule, and ends by itself.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};

use super::super::gate::{Reader, Writer};
use super::super::openapi::records::{Deleted, OverrideBody, OverrideRecord, OverrideWritten, RecordPage};
use super::super::openapi::refusals;
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::body::{Body, invalid};
use super::change::make;
use super::preconditions::expected;
use super::target::Target;
use super::{Store, content, delete, list, record, show};
use crate::config::scalar::parse_duration;
use crate::rules::form::OverrideForm;
use crate::rules::repository::Change;
use crate::rules::repository::record::{Content, Kind as RecordKind, Subject};

/// List overrides
///
/// Those that have ended, too, until they are deleted.
#[utoipa::path(
    get, path = "/rate-limit/overrides", tag = "overrides", operation_id = "listOverrides",
    params(
        ("domain" = Option<String>, Query, description = "Only this domain"),
        ("path" = Option<String>, Query, description = "Only paths that begin with this text"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Overrides on a page, 1 to 1000; 100 unless said otherwise"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page", body = RecordPage), refusals::Reading),
)]
pub async fn all(store: Store, _: Reader, query: Query) -> Result<Response, Problem> {
    list::page(&store, Some(RecordKind::Override), query, "domain, path, limit, cursor").await
}

/// Show the override at a path
#[utoipa::path(
    get, path = "/rate-limit/overrides/{domain}/{path}", tag = "overrides", operation_id = "getOverride",
    params(
        ("domain" = String, Path, description = "The domain"),
        ("path" = String, Path, description = "The canonical descriptor path, percent-encoded"),
        ("If-None-Match" = Option<String>, Header, description = "A revision in quotes that is known already"),
    ),
    responses(
        (status = 200, description = "The override", body = OverrideRecord),
        (status = 304, description = "It is still at the revision of `If-None-Match`"),
        refusals::ReadingOne,
    ),
)]
pub async fn get(
    store: Store,
    _: Reader,
    Target { domain, path }: Target,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    show::one(&store, &Subject::Override(domain, path), &headers).await
}

/// Exempt or raise a customer for a time
///
/// `{"rate_limit": {"unlimited": true}, "for": "2h", "reason": "migration"}` exempts; the rule's own flags stay. It ends
/// by itself.
#[utoipa::path(
    put, path = "/rate-limit/overrides/{domain}/{path}", tag = "overrides", operation_id = "setOverride",
    request_body = OverrideBody,
    params(
        ("domain" = String, Path, description = "The domain"),
        ("path" = String, Path, description = "The canonical descriptor path, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The revision in quotes that is to be changed, or *"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none"),
        ("X-Change-Reason" = Option<String>, Header, description = "Why, for the history"),
    ),
    responses(
        (status = 200, description = "Changed, or as it was", body = OverrideWritten),
        (status = 201, description = "Created", body = OverrideWritten),
        refusals::Writing,
    ),
)]
pub async fn put(
    store: Store,
    Writer(caller): Writer,
    Target { domain, path }: Target,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    let mut body = Body::read(&headers, body)?;
    let reason = body.reason(&headers)?;
    take_end(&mut body)?;
    let form: OverrideForm = body.form()?;
    if form.until <= Timestamp::now() {
        return Err(invalid("until", "is over already; write a time to come"));
    }
    let limits = form.rate_limit.iter().chain(form.rate_limits.iter().flatten());
    let defaults = content::defaults(&store, &domain, limits).await?;
    let over = form.over(defaults).map_err(|problems| Problem::fields(Kind::Invalid, problems))?;
    let change = Change { subject: Subject::Override(domain, path), content: Some(Content::Override(over)), expected };
    let made = make(&store, &caller, "override", change, reason).await?;
    Ok(record::written(&made, &[]))
}

/// Writes `for` as `until`.
fn take_end(body: &mut Body) -> Result<(), Problem> {
    match (body.text("for")?, body.has("until")) {
        (None, true) => Ok(()),
        (None, false) => Err(invalid("until", "is missing; until when, or for how long (\"for\": \"2h\")?")),
        (Some(_), true) => Err(invalid("for", "until and for exclude each other; leave one of them out")),
        (Some(text), false) => {
            let length = parse_duration(&text).map_err(|reason| invalid("for", reason))?;
            let length = SignedDuration::try_from(length).ok().filter(|length| !length.is_zero());
            let until = length.and_then(|length| Timestamp::now().checked_add(length).ok());
            let until = until.ok_or_else(|| invalid("for", "is no length of time that could be waited for"))?;
            body.put("until", until.to_string().into());
            Ok(())
        }
    }
}

/// End the override at a path now
#[utoipa::path(
    delete, path = "/rate-limit/overrides/{domain}/{path}", tag = "overrides", operation_id = "deleteOverride",
    params(
        ("domain" = String, Path, description = "The domain"),
        ("path" = String, Path, description = "The canonical descriptor path, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The revision in quotes that is to be deleted, or *"),
        ("X-Change-Reason" = Option<String>, Header, description = "Why, for the history"),
    ),
    responses((status = 200, description = "Deleted", body = Deleted), refusals::Deleting),
)]
pub async fn end(
    store: Store,
    Writer(caller): Writer,
    Target { domain, path }: Target,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    delete::one(&store, &caller, Subject::Override(domain, path), &headers).await
}
