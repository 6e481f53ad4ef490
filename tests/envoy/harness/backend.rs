//! The service that Envoy protects.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{any, post};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Site;

/// Answers everything with 200 and, in `x-seen-user`, the `x-user-id` that reached it; `/v1/...` as a language model that
/// used as many tokens as `x-tokens` says, `/echo` with the headers that came, and gRPC health checks; over HTTP/1.1 and
/// HTTP/2. It runs on a thread of its own, as the other servers do.
pub struct Backend {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    pub fn start(site: &Site) -> Self {
        Self::serve(site, app())
    }

    /// Answers as this says.
    pub fn serve(site: &Site, app: Router) -> Self {
        let listener = std::net::TcpListener::bind(site.free_address()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let app = app.layer(axum::middleware::from_fn_with_state(Arc::clone(&requests), count));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, app) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, requests, stop: Some(stop), thread: Some(thread) }
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which its message on standard error tells.
            let _ = thread.join();
        }
    }
}

/// Takes more and larger headers than Envoy lets through.
async fn accept(listener: TcpListener, app: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http1().max_headers(200);
            server.http2().max_header_list_size(1 << 20);
            // How a connection ends is the client's business.
            let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

fn app() -> Router {
    let (_reporter, health) = tonic_health::server::health_reporter();
    tonic::service::Routes::new(health)
        .into_axum_router()
        .route("/v1/{*path}", post(model).get(model))
        .route("/echo", any(echo))
        .fallback(any(served))
}

async fn count(
    State(requests): State<Arc<AtomicUsize>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    requests.fetch_add(1, Ordering::Relaxed);
    next.run(request).await
}

/// A list of values for each name.
async fn echo(headers: HeaderMap) -> Json<Value> {
    let values = |name| headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    Json(headers.keys().map(|name| (name.to_string(), json!(values(name).collect::<Vec<_>>()))).collect())
}

async fn served(headers: HeaderMap) -> impl IntoResponse {
    let user = headers.get("x-user-id").cloned();
    (user.map(|user| [("x-seen-user", user)]), "served\n")
}

async fn model(headers: HeaderMap) -> Json<Value> {
    let tokens = headers.get("x-tokens").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    Json(match tokens {
        Some(tokens) => json!({ "choices": [], "usage": { "prompt_tokens": 1, "total_tokens": tokens } }),
        None => json!({ "error": "nothing was used" }),
    })
}
