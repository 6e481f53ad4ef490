//! HTTP: the same decision for anything that is not Envoy, `/json` as envoyproxy/ratelimit has it, and health.
//!
//! Every refusal is a problem document that says what is wrong and where, except those of `/json`, which are text.

mod anomaly;
mod fields;
pub(crate) mod gate;
mod guard;
mod health;
mod json;
pub mod listener;
pub mod openapi;
mod problem;
pub(crate) mod protojson;
mod query;
mod rate_limit;
mod request_id;
mod rules;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use tokio::sync::Semaphore;

pub use problem::{Kind, Problem};

use crate::limiter::DecideError;
use crate::server::Context;
use crate::server::access::Access;
use crate::server::rls::response::ResponseSettings;
use crate::telemetry::decisions::Failure;

/// The most requests about rules, anomalies and tokens at once.
const CHANGES_AT_ONCE: usize = 64;
/// The most whole rule sets at once: each may be large.
const APPLIES_AT_ONCE: usize = 2;

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
    let guard = |slots| {
        let guard = guard::Guard {
            slots: Arc::new(Semaphore::new(slots)),
            max_body: context.config.http.max_body_bytes,
            timeout: context.config.http.request_timeout,
        };
        axum::middleware::from_fn_with_state(guard, guard::guard)
    };
    let body_limit = DefaultBodyLimit::max(context.config.http.max_body_bytes);
    let decisions = Router::new()
        .route("/rate-limit", post(rate_limit::decide))
        .route("/json", any(json::decide))
        .layer(body_limit)
        .layer(guard(guard::REQUESTS_AT_ONCE));
    // Slots of their own: changes may wait for a database, and decisions must not wait for them.
    let changes = rules::routes()
        .merge(anomaly::routes())
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{name}", delete(tokens::revoke))
        .layer(body_limit)
        .layer(guard(CHANGES_AT_ONCE));
    let bulk = rules::bulk().layer(DefaultBodyLimit::max(context.config.http.max_apply_bytes)).layer(
        axum::middleware::from_fn_with_state(
            guard::Guard {
                slots: Arc::new(Semaphore::new(APPLIES_AT_ONCE)),
                max_body: context.config.http.max_apply_bytes,
                timeout: context.config.http.apply_timeout,
            },
            guard::guard,
        ),
    );
    // Health is asked beside the guard: it must answer when everything else is too busy to.
    let health = Router::new()
        .route("/healthcheck", get(health::healthcheck))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::page));
    let settings = ResponseSettings::from_config(&context.config);
    refusals(decisions.merge(changes).merge(bulk).merge(health))
        .layer(axum::middleware::from_fn(request_id::assign))
        .with_state(Arc::new(Api { context, settings }))
}

impl FromRef<Arc<Api>> for Access {
    fn from_ref(api: &Arc<Api>) -> Self {
        api.context.access.clone()
    }
}

impl FromRef<Arc<Context>> for Access {
    fn from_ref(context: &Arc<Context>) -> Self {
        context.access.clone()
    }
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

/// That a body is announced as JSON.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let got = if given.is_empty() { "none".to_owned() } else { format!("'{given}'") };
    Err(Problem::new(Kind::UnsupportedMediaType, format!("content-type: must be application/json, got {got}")))
}
