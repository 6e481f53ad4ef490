//! A process that only computes for the anomaly worker: it reads what others observe, and tells them what to do. It
//! decides nothing, and listens for nothing but metrics and health.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::http::listener::{Bounds, HttpListener, serve};
use super::listener::bind_tcp;
use super::shutdown::{Phase, Shutdown};
use super::{Background, StartError, anomaly, findings};
use crate::anomaly::worker::Handle;
use crate::config::Config;
use crate::telemetry::metrics::{self, Metrics};

const INDEX: &str = "\
tidegate anomaly worker

GET /metrics    counters and gauges, for Prometheus
GET /livez      whether the process runs
GET /readyz     whether Redis answers, and how the worker stands
";

/// A running worker.
#[derive(Debug)]
pub struct Computing {
    /// Where metrics and health are served.
    pub admin_address: SocketAddr,
    /// The worker.
    pub worker: Arc<Handle>,
    shutdown: Shutdown,
    _background: Background,
}

/// What routes share.
#[derive(Debug)]
struct Told {
    worker: Arc<Handle>,
    metrics: Metrics,
}

/// Starts one. It computes whatever `anomaly.enabled` and `anomaly.compute` say.
///
/// # Errors
/// [`StartError`], with the setting to change.
pub fn start(mut config: Config) -> Result<Computing, StartError> {
    if config.redis.is_none() {
        return Err(StartError::NoBus);
    }
    (config.anomaly.enabled, config.anomaly.compute) = (true, true);
    let (background, handle) = Background::start()?;
    let entered = handle.enter();
    let listener = bind_tcp(config.admin.address, "admin", "admin.address")?;
    let admin_address = listener.local_addr()?;
    let found = Arc::new(findings::open(&config, None)?);
    let worker = anomaly::open(&config, &found, None, &handle)?.ok_or(StartError::NoBus)?;
    let worker = Arc::new(worker);
    let metrics = Metrics::new(Arc::default(), Arc::default());
    anomaly::register(&metrics, &worker);
    let told = Arc::new(Told { worker: Arc::clone(&worker), metrics });
    let shutdown = Shutdown::default();
    let bounds = Bounds { grace: config.shutdown.grace_period, ..Bounds::default() };
    let (closing, end) = (shutdown.clone(), shutdown.clone());
    let closing = async move { closing.reached(Phase::Closing).await };
    let serving = tokio::spawn(serve(HttpListener::Tcp(listener, None), router(told), bounds, closing));
    anomaly::say(&config);
    worker.start(None, &handle);
    let ending = Arc::clone(&worker);
    tokio::spawn(async move {
        end.reached(Phase::Closing).await;
        ending.stop().await;
        let _ = serving.await;
        tracing::info!("stopped");
        end.advance(Phase::Closed);
    });
    drop(entered);
    Ok(Computing { admin_address, worker, shutdown, _background: background })
}

impl Computing {
    /// Begins the end: it leaves a checkpoint and gives up the seat.
    pub fn shutdown(&self) {
        self.shutdown.advance(Phase::Closing);
    }

    /// Waits until everything has ended.
    pub async fn wait(&self) {
        self.shutdown.reached(Phase::Closed).await;
    }
}

fn router(told: Arc<Told>) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "OK" }))
        .route("/readyz", get(readyz))
        .with_state(told)
}

async fn metrics(State(told): State<Arc<Told>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], told.metrics.encode())
}

async fn readyz(State(told): State<Arc<Told>>) -> impl IntoResponse {
    let state = told.worker.standing();
    let ready = state.bus_away_since.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "anomaly": state })))
}
