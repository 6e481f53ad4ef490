//! `/ddos/anomaly` and what belongs to it: what the anomaly worker found, and what people say of it. One file a route.
//!
//! Findings are about people, so scopes of their own allow seeing and reviewing them. They are listed as long as they are
//! kept, whether a worker runs or not.

pub(super) mod confirm;
pub(super) mod dismiss;
pub(super) mod document;
pub(super) mod list;
mod review;
pub(super) mod show;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::{get, post};

use super::Api;
use super::problem::{Kind, Problem};
use super::query::refused;

/// The routes of anomalies.
pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/ddos/anomaly", get(list::list))
        .route("/ddos/anomaly/{id}", get(show::show))
        .route("/ddos/anomaly/{id}/confirm", post(confirm::confirm))
        .route("/ddos/anomaly/{id}/dismiss", post(dismiss::dismiss))
}

/// The number of a finding.
pub struct Id(u64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let id = text.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(|| refused("id", "must be the number of an anomaly, as the list has it"))
    }
}

fn unknown(id: u64) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no anomaly {id}; it may be forgotten (anomaly.retention)"))
}
