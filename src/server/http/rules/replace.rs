//! `PUT /rate-limit/rules/{domain}/{path}`: the rule at a path.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::gate::Writer;
use super::super::openapi::records::{RuleBody, RuleWritten};
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::body::Body;
use super::change::make;
use super::preconditions::expected;
use super::target::Target;
use super::{Store, content, record};
use crate::rules::repository::Change;
use crate::rules::repository::record::Subject;

/// Set the rule at a path
///
/// What was there before is replaced.
#[utoipa::path(
    put, path = "/rate-limit/rules/{domain}/{path}", tag = "rules", operation_id = "replaceRule",
    request_body = RuleBody,
    params(
        ("domain" = String, Path, description = "The domain"),
        ("path" = String, Path, description = "The canonical descriptor path, percent-encoded"),
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
pub async fn replace(
    store: Store,
    Writer(caller): Writer,
    Target { domain, path }: Target,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    let mut body = Body::read(&headers, body)?;
    let reason = body.reason(&headers)?;
    let content = content::rule(&store, &domain, &path, body).await?;
    let change = Change { subject: Subject::Rule(domain, path), content: Some(content), expected };
    let made = make(&store, &caller, "set", change, reason).await?;
    Ok(record::written(&made, &[]))
}
