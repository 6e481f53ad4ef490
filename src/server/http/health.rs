//! Health for load balancers and Kubernetes: the same truth as gRPC health. `/healthcheck` is that of
//! envoyproxy/ratelimit.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Api;
use super::openapi::decisions::Readiness;
use crate::server::rules::{standing, xds};

/// Whether traffic is welcome, as envoyproxy/ratelimit says it
#[utoipa::path(
    get, path = "/healthcheck", tag = "health", operation_id = "healthcheck",
    responses(
        (status = 200, description = "`OK`", body = String, content_type = "text/plain"),
        (status = 500, description = "It is not", body = String, content_type = "text/plain"),
    ),
)]
pub async fn healthcheck(State(api): State<Arc<Api>>) -> (StatusCode, &'static str) {
    if api.context.health.serving() { (StatusCode::OK, "OK") } else { (StatusCode::INTERNAL_SERVER_ERROR, "") }
}

/// Whether the process runs
///
/// It says nothing of rules or counters, since a restart would cure neither.
#[utoipa::path(
    get, path = "/livez", tag = "health", operation_id = "livez",
    responses((status = 200, description = "`OK`", body = String, content_type = "text/plain")),
)]
pub async fn livez() -> &'static str {
    "OK"
}

/// Whether traffic is welcome
///
/// With `?verbose`, what that is made of.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz",
    params(("verbose" = Option<bool>, Query, description = "Tell what it is made of, in JSON", allow_reserved = false)),
    responses(
        (status = 200, description = "It is", content((String = "text/plain"), (Readiness = "application/json"))),
        (status = 503, description = "It is not", content((String = "text/plain"), (Readiness = "application/json"))),
    ),
)]
pub async fn readyz(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response {
    let components = api.context.health.components();
    let (status, word) =
        if components.serving() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let verbose = |query: String| query.split('&').any(|part| part.split('=').next() == Some("verbose"));
    if !query.is_some_and(verbose) {
        return (status, word).into_response();
    }
    let details = json!({
        "ready": components.serving(),
        "components": { "rules_loaded": components.rules_loaded, "shutting_down": components.shutting_down },
        "rules": {
            "revision": api.context.limiter.active().revision,
            "loads": api.context.reloads.successes(),
            "failed_loads": api.context.reloads.failures(),
            "repository": api.context.live.as_ref().map(|live| standing::document(&live.status().standing())),
            "xds": api.context.xds.as_ref().map(|status| xds::document(status)),
            // The rules in force are older than those of the files or the xDS server, which have mistakes.
            "outdated": api.context.reloads.failure().is_some()
                || api.context.xds.as_ref().is_some_and(|status| status.standing().refusal.is_some()),
        },
        "lists": api.context.lists.document(),
        "counters": crate::server::counters::state(&api.context),
        "anomaly": crate::server::anomaly::state(&api.context),
    });
    (status, Json(details)).into_response()
}
