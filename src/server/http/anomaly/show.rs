//! `GET /ddos/anomaly/{id}`: one anomaly, and what happened.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::super::Api;
use super::super::gate::Watcher;
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::document::{AnomalyWithHistory, with_history};
use super::{Id, unknown};
use crate::anomaly::findings::Findings as _;

/// Show an anomaly and its history
#[utoipa::path(
    get, path = "/ddos/anomaly/{id}", tag = "anomalies", operation_id = "getAnomaly",
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, description = "The anomaly", body = AnomalyWithHistory), refusals::SeeingOne),
)]
pub async fn show(State(api): State<Arc<Api>>, _: Watcher, Id(id): Id) -> Result<Json<AnomalyWithHistory>, Problem> {
    let finding = api.context.findings.get(id).await?;
    finding.as_ref().map(with_history).map(Json).ok_or_else(|| unknown(id))
}
