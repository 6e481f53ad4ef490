//! HTTP: the same decision for anything that is not Envoy, `/json` as envoyproxy/ratelimit has it, and health.
//!
//! Every refusal is a problem document that says what is wrong and where, except those of `/json`, which are text.

mod fields;
mod guard;
mod health;
mod json;
pub mod listener;
mod problem;
pub(crate) mod protojson;
mod rate_limit;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use tokio::sync::Semaphore;

pub use problem::{Kind, Problem};

use crate::limiter::DecideError;
use crate::server::Context;
use crate::server::rls::response::ResponseSettings;
use crate::telemetry::decisions::Failure;

/// What the handlers share.
struct Api {
    context: Arc<Context>,
    settings: ResponseSettings,
}

impl Api {
    /// Counts a request without a decision, as on the gRPC port, and says why.
    fn refusal(&self, error: DecideError) -> Problem {
        let failure = if matches!(error, DecideError::Store(_)) { Failure::Store } else { Failure::Service };
        self.context.metrics.decisions().failed(failure);
        error.into()
    }
}

/// The HTTP listener's routes.
pub fn router(context: Arc<Context>) -> Router {
    let guard = guard::Guard {
        slots: Arc::new(Semaphore::new(guard::REQUESTS_AT_ONCE)),
        max_body: context.config.http.max_body_bytes,
        timeout: context.config.http.request_timeout,
    };
    let decisions = Router::new()
        .route("/rate-limit", post(rate_limit::decide))
        .route("/json", any(json::decide))
        .layer(DefaultBodyLimit::max(context.config.http.max_body_bytes))
        .layer(axum::middleware::from_fn_with_state(guard, guard::guard));
    // Health is asked beside the guard: it must answer when everything else is too busy to.
    let health = Router::new()
        .route("/healthcheck", get(health::healthcheck))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz));
    let settings = ResponseSettings::from_config(&context.config);
    refusals(decisions.merge(health)).with_state(Arc::new(Api { context, settings }))
}

/// Answers unknown paths and methods with problem documents, and gRPC calls that are for another port in gRPC.
pub(crate) fn refusals<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.fallback(not_found).method_not_allowed_fallback(|method: Method, uri: Uri| async move {
        Problem::new(Kind::MethodNotAllowed, format!("{method} is not for {}; see the header Allow", uri.path()))
    })
}

async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    let path = shorten(uri.path());
    let grpc =
        headers.get(CONTENT_TYPE).is_some_and(|media_type| media_type.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return tonic::Status::unimplemented(format!("there is no call {path} on this port")).into_http();
    }
    Problem::new(Kind::NotFound, format!("there is nothing at {path}")).into_response()
}

fn shorten(path: &str) -> String {
    path.chars().take(128).collect()
}

/// The whole body, or why there is none.
fn body(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Kind::TooLarge, "body: larger than allowed (http.max_body_bytes)")
        }
        _ => Problem::new(Kind::Malformed, format!("body: cannot be read: {}", rejection.body_text())),
    })
}
