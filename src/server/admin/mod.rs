//! Administration: metrics, the rules in force, and `tidegate.admin.v1.Admin` over gRPC on the same port.
//!
//! Metrics are open to whoever reaches the port. The rules, and the calls of `Admin`, ask for the tokens of the HTTP API:
//! reading once there is a token, resetting counters always.

mod counters;
mod describe;
mod explain;
pub mod proto;
mod rlconfig;
mod service;
mod stats;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::server::Context;
use crate::server::http::gate::Reader;

/// The largest message of the admin protocol accepted, in bytes.
const MAX_MESSAGE: usize = 1 << 20;

const INDEX: &str = "\
tidegate administration

GET /metrics    counters and gauges, for Prometheus
GET /rlconfig   the rules in force, one a line
GET /stats      the same counters as JSON
gRPC tidegate.admin.v1.Admin: Explain and DescribeRules; see `tidegate explain --help`
";

/// The administration listener's routes.
pub fn router(context: Arc<Context>) -> Router {
    let service = proto::admin_server::AdminServer::new(service::Service::new(Arc::clone(&context)))
        .max_decoding_message_size(MAX_MESSAGE);
    let routes = Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics))
        .route("/rlconfig", get(rlconfig))
        .route("/stats", get(stats::stats))
        .route_service("/tidegate.admin.v1.Admin/{*method}", service);
    crate::server::http::refusals(routes).with_state(context)
}

async fn metrics(State(context): State<Arc<Context>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, crate::telemetry::metrics::CONTENT_TYPE)], context.metrics.encode())
}

async fn rlconfig(State(context): State<Arc<Context>>, _: Reader) -> impl IntoResponse {
    rlconfig::text(&context.limiter.active().rules)
}
