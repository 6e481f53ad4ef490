//! `POST /rate-limit/rules:accept`: the repository's rules hold, whatever replicas had before.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::super::gate::Operator;
use super::super::openapi::records::{HeadDocument, ReasonBody};
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::super::request_id;
use super::body::Body;
use super::change::{Audit, to_the_end};
use super::{Store, whole};
use crate::rules::repository::{Committed, RuleRepository as _};

/// Accept a database that was restored, emptied or replaced
///
/// Replicas that keep to the rules they had, because the repository began another history or lost most of its rules,
/// take over what it has now.
#[utoipa::path(
    post, path = "/rate-limit/rules:accept", tag = "operation", operation_id = "acceptRules",
    request_body(content = Option<ReasonBody>, content_type = "application/json"),
    params(("X-Change-Reason" = Option<String>, Header, description = "Why, for the log")),
    responses((status = 200, description = "They hold", body = HeadDocument), refusals::Writing),
)]
pub async fn accept(
    store: Store,
    Operator(caller): Operator,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let mut body = Body::read_optional(&headers, body)?;
    let reason = body.reason(&headers)?;
    body.finish("reason")?;
    let store = store.clone();
    let answer = to_the_end(async move {
        let head = store.repository.accept(&caller.0, reason.as_deref()).await?;
        let audit = Audit { action: "accept", subject: format!("epoch {}", head.epoch) };
        audit.log(&caller.0, Some(head.revision.0), request_id::current().as_deref());
        Ok(whole::document(&store, &Committed { head, changed: 0 }).await)
    });
    Ok(Json(answer.await?).into_response())
}
