//! Bounds of a request: its time, and how many are decided at once.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::problem::{Kind, Problem};

/// The most requests at once, of all connections.
pub const REQUESTS_AT_ONCE: usize = 512;

/// The bounds of one listener's requests.
#[derive(Clone, Debug)]
pub struct Guard {
    /// One for each request under way.
    pub slots: Arc<Semaphore>,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// The most time from a request's head to its answer, its body included.
    pub timeout: Duration,
}

/// Refuses a request when too many are under way, and cuts one that takes too long.
pub async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Ok(_slot) = guard.slots.try_acquire() else {
        return Problem::new(
            Kind::Unavailable,
            format!("{REQUESTS_AT_ONCE} requests are under way, and more are not taken at once; try again"),
        )
        .into_response();
    };
    // A body that is announced to be too large is not waited for.
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > guard.max_body as u64) {
        return Problem::new(
            Kind::TooLarge,
            format!("body: larger than {} bytes, the most allowed (http.max_body_bytes)", guard.max_body),
        )
        .into_response();
    }
    match tokio::time::timeout(guard.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(Kind::Timeout, format!("the request was not complete within {:?} of its head", guard.timeout))
                .into_response()
        }
    }
}
