//! `DELETE /rate-limit/rules/{domain}/{path}`: no rule at a path.

use axum::http::HeaderMap;
use axum::response::Response;

use super::super::gate::Writer;
use super::super::openapi::records::Deleted;
use super::super::openapi::refusals;
use super::super::problem::{Kind, Problem};
use super::body::reason_of;
use super::change::make;
use super::preconditions::expected;
use super::target::Target;
use super::{Store, record};
use crate::rules::repository::record::Subject;
use crate::rules::repository::{Change, Expected, RuleRepository as _};
use crate::server::access::Caller;
use crate::server::rule_store::RuleStore;

/// Delete the rule at a path
#[utoipa::path(
    delete, path = "/rate-limit/rules/{domain}/{path}", tag = "rules", operation_id = "deleteRule",
    params(
        ("domain" = String, Path, description = "The domain"),
        ("path" = String, Path, description = "The canonical descriptor path, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The revision in quotes that is to be deleted, or *"),
        ("X-Change-Reason" = Option<String>, Header, description = "Why, for the history"),
    ),
    responses((status = 200, description = "Deleted", body = Deleted), refusals::Deleting),
)]
pub async fn delete(
    store: Store,
    Writer(caller): Writer,
    Target { domain, path }: Target,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    one(&store, &caller, Subject::Rule(domain, path), &headers).await
}

/// Deletes one record.
///
/// # Errors
/// When there is none, or it is not as expected, and the repository's.
pub async fn one(
    store: &RuleStore,
    caller: &Caller,
    subject: Subject,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let reason = reason_of(headers)?;
    let expected = expected(headers)?;
    if expected == Expected::Absent {
        return Err(super::super::query::refused("If-None-Match", "has no meaning when something is to be deleted"));
    }
    if expected == Expected::Anything && store.repository.get(&subject).await?.is_none() {
        return Err(Problem::new(Kind::NotFound, format!("there is no {subject}")));
    }
    let change = Change { subject, content: None, expected };
    let made = make(store, caller, "delete", change, reason).await?;
    Ok(record::written(&made, &[]))
}
