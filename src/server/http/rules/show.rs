//! `GET /rate-limit/rules/{domain}/{path}`: the rule at a path.

use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::super::gate::Reader;
use super::super::openapi::records::RuleRecord;
use super::super::openapi::refusals;
use super::super::problem::{Kind, Problem};
use super::preconditions::{etag, is_known};
use super::target::Target;
use super::{Store, record};
use crate::rules::repository::RuleRepository as _;
use crate::rules::repository::record::Subject;
use crate::server::rule_store::RuleStore;

/// Show the rule at a path
#[utoipa::path(
    get, path = "/rate-limit/rules/{domain}/{path}", tag = "rules", operation_id = "getRule",
    params(
        ("domain" = String, Path, description = "The domain"),
        ("path" = String, Path, description = "The canonical descriptor path, percent-encoded"),
        ("If-None-Match" = Option<String>, Header, description = "A revision in quotes that is known already"),
    ),
    responses(
        (status = 200, description = "The rule", body = RuleRecord, headers(("ETag" = String, description = "Its revision in quotes"))),
        (status = 304, description = "It is still at the revision of `If-None-Match`"),
        refusals::ReadingOne,
    ),
)]
pub async fn show(
    store: Store,
    _: Reader,
    Target { domain, path }: Target,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    one(&store, &Subject::Rule(domain, path), &headers).await
}

/// One record, or that there is none.
///
/// # Errors
/// When there is none, and the repository's.
pub async fn one(store: &RuleStore, subject: &Subject, headers: &HeaderMap) -> Result<Response, Problem> {
    let Some(record) = store.repository.get(subject).await? else {
        return Err(Problem::new(Kind::NotFound, format!("there is no {subject}")));
    };
    if is_known(headers, record.revision) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag(record.revision))]).into_response());
    }
    Ok(record::shown(&record))
}
