//! Bounds of a request: its time, and how many are decided at once.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
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
    match tokio::time::timeout(guard.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::new(Kind::Timeout, format!("the request was not complete within {:?} of its head", guard.timeout))
                .into_response()
        }
    }
}
