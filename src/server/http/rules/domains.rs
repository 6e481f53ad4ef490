//! `/rate-limit/domains/{domain}`: what holds for all rules of a domain.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::gate::{Reader, Writer};
use super::super::openapi::records::{DomainBody, DomainRecord, DomainWritten};
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::body::Body;
use super::change::make;
use super::preconditions::expected;
use super::target::TargetDomain;
use super::{Store, content, record, show};
use crate::rules::repository::Change;
use crate::rules::repository::record::Subject;

/// Show the settings of a domain
///
/// A domain without settings of its own has those that `PUT` with `{}` would write.
#[utoipa::path(
    get, path = "/rate-limit/domains/{domain}", tag = "domains", operation_id = "getDomain",
    params(
        ("domain" = String, Path, description = "The domain"),
        ("If-None-Match" = Option<String>, Header, description = "A revision in quotes that is known already"),
    ),
    responses(
        (status = 200, description = "Its settings", body = DomainRecord, headers(("ETag" = String, description = "Their revision in quotes"))),
        (status = 304, description = "Still at the revision of `If-None-Match`"),
        refusals::ReadingOne,
    ),
)]
pub async fn get(
    store: Store,
    _: Reader,
    TargetDomain(domain): TargetDomain,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    show::one(&store, &Subject::Domain(domain), &headers).await
}

/// Set the settings of a domain
///
/// What is missing has its default.
#[utoipa::path(
    put, path = "/rate-limit/domains/{domain}", tag = "domains", operation_id = "setDomain",
    request_body = DomainBody,
    params(
        ("domain" = String, Path, description = "The domain"),
        ("If-Match" = Option<String>, Header, description = "The revision in quotes that is to be changed, or *"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there are none"),
        ("X-Change-Reason" = Option<String>, Header, description = "Why, for the history"),
    ),
    responses(
        (status = 200, description = "Changed, or as they were", body = DomainWritten),
        (status = 201, description = "Created", body = DomainWritten),
        refusals::Writing,
    ),
)]
pub async fn put(
    store: Store,
    Writer(caller): Writer,
    TargetDomain(domain): TargetDomain,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    let mut body = Body::read(&headers, body)?;
    let reason = body.reason(&headers)?;
    let change = Change { subject: Subject::Domain(domain), content: Some(content::domain(body)?), expected };
    let made = make(&store, &caller, "set", change, reason).await?;
    Ok(record::written(&made, &[]))
}
