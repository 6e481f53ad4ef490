//! `POST /ddos/anomaly/{id}/dismiss`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;

use super::super::Api;
use super::super::gate::Reviewer;
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::Id;
use super::document::AnomalyReviewed;
use super::review::{NoteBody, review};
use crate::anomaly::event::Verdict;

/// Say that an anomaly was none
///
/// Its adjustment is lifted on every replica at once, and the worker learns from it. Saying it again does no harm.
#[utoipa::path(
    post, path = "/ddos/anomaly/{id}/dismiss", tag = "anomalies", operation_id = "dismissAnomaly",
    request_body(content = Option<NoteBody>, content_type = "application/json"),
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, description = "Recorded, and told", body = AnomalyReviewed), refusals::Reviewing),
)]
pub async fn dismiss(
    State(api): State<Arc<Api>>,
    Reviewer(caller): Reviewer,
    Id(id): Id,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<AnomalyReviewed>, Problem> {
    review(&api, caller, id, Verdict::Dismissed, &headers, body).await
}
