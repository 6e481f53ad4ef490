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
use axum::http::{StatusCode, Uri};
use axum::routing::{any, get, post};
use tokio::sync::Semaphore;

pub use problem::{Kind, Problem};

use crate::server::Context;
use crate::server::rls::response::ResponseSettings;

/// What the handlers share.
struct Api {
    context: Arc<Context>,
    settings: ResponseSettings,
}

/// The HTTP listener's routes.
pub fn router(context: Arc<Context>) -> Router {
    let guard = guard::Guard {
        slots: Arc::new(Semaphore::new(guard::REQUESTS_AT_ONCE)),
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

/// Answers unknown paths and methods with problem documents.
pub(crate) fn refusals<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(|uri: Uri| async move {
            Problem::new(Kind::NotFound, format!("there is nothing at {}", shorten(uri.path())))
        })
        .method_not_allowed_fallback(|method: axum::http::Method, uri: Uri| async move {
            Problem::new(Kind::MethodNotAllowed, format!("{method} is not for {}; see the header Allow", uri.path()))
        })
}

fn shorten(path: &str) -> String {
    path.chars().take(128).collect()
}

/// The whole body, or why there is none.
fn body(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Kind::TooLarge, "body: larger than http.max_body_bytes allows"),
        _ => Problem::new(Kind::Malformed, format!("body: cannot be read: {}", rejection.body_text())),
    })
}
