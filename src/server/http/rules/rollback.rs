//! `POST /rate-limit/rules/{domain}/{path}/rollback`: the rule at a path as it was at a revision.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::gate::Writer;
use super::super::openapi::records::{Rollback, RuleWritten};
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::body::{Body, invalid};
use super::change::make;
use super::preconditions::expected;
use super::target::Target;
use super::{Store, record};
use crate::rules::repository::record::{Revision, Subject};
use crate::rules::repository::{Change, RuleRepository as _};
use crate::server::rule_store::RuleStore;

/// Take the rule at a path back to a revision
///
/// It is then as that revision left it; if there was no rule then, it is deleted. This is a change like any other, with
/// a revision of its own.
#[utoipa::path(
    post, path = "/rate-limit/rules/{domain}/{path}/rollback", tag = "history", operation_id = "rollBackRule",
    request_body = Rollback,
    params(
        ("domain" = String, Path, description = "The domain"),
        ("path" = String, Path, description = "The canonical descriptor path, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The revision in quotes that is to be changed, or *"),
        ("X-Change-Reason" = Option<String>, Header, description = "Why, for the history"),
    ),
    responses(
        (status = 200, description = "As it was then", body = RuleWritten),
        (status = 201, description = "There again", body = RuleWritten),
        refusals::Writing,
    ),
)]
pub async fn rule(
    store: Store,
    Writer(caller): Writer,
    Target { domain, path }: Target,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    let mut body = Body::read(&headers, body)?;
    let reason = body.reason(&headers)?;
    let revision = take_revision(&store, body).await?;
    let subject = Subject::Rule(domain, path);
    let content = match store.repository.content_at(&subject, revision).await? {
        None => None,
        Some(Ok(content)) => Some(content),
        Some(Err(unreadable)) => {
            return Err(invalid(
                "revision",
                format!("what was there at revision {revision} cannot be used: {unreadable}"),
            ));
        }
    };
    let change = Change { subject, content, expected };
    let reason = reason.unwrap_or_else(|| format!("back to revision {revision}").into());
    let made = make(&store, &caller, "roll back", change, Some(reason)).await?;
    Ok(record::written(&made, &[]))
}

/// `revision`: one that there has been.
///
/// # Errors
/// When there has been none of that number, and the repository's.
pub async fn take_revision(store: &RuleStore, mut body: Body) -> Result<Revision, Problem> {
    let revision = match body.take("revision") {
        None => return Err(invalid("revision", "is missing; to which one?")),
        Some(value) => value.as_u64().ok_or_else(|| invalid("revision", "must be a whole number"))?,
    };
    body.finish("revision, reason")?;
    let newest = store.repository.head().await?.revision;
    if revision > newest.0 {
        return Err(invalid("revision", format!("has not been yet; the newest is {newest}")));
    }
    Ok(Revision(revision))
}
