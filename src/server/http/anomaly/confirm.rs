//! `POST /ddos/anomaly/{id}/confirm`.

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

/// Say that an anomaly was an attack
///
/// The worker learns from it. Adjustments stay, and end by themselves. Saying it again does no harm.
#[utoipa::path(
    post, path = "/ddos/anomaly/{id}/confirm", tag = "anomalies", operation_id = "confirmAnomaly",
    request_body(content = Option<NoteBody>, content_type = "application/json"),
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, description = "Recorded, and told", body = AnomalyReviewed), refusals::Reviewing),
)]
pub async fn confirm(
    State(api): State<Arc<Api>>,
    Reviewer(caller): Reviewer,
    Id(id): Id,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<AnomalyReviewed>, Problem> {
    review(&api, caller, id, Verdict::Confirmed, &headers, body).await
}
