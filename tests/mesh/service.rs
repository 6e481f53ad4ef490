//! The service at the end of the chain: it remembers what reached it, and speaks everything that a service may.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{any, post};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::harness::{Backend, Site};

/// A request as it arrived, without its body.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
}

impl Seen {
    /// The values of a header, joined; empty when there is none.
    pub fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(", ")
    }
}

#[derive(Clone, Default)]
struct Memory {
    seen: Arc<Mutex<Vec<Seen>>>,
    uploaded: Arc<AtomicU64>,
    trailers: Arc<Mutex<Option<HeaderMap>>>,
}

pub struct Service {
    backend: Backend,
    memory: Memory,
    health: HealthReporter,
}

impl Service {
    /// Answers 200 to everything, or becomes a socket that gives back every byte; `/upload` counts bytes, `/trailers`
    /// ends with some, and gRPC's health service has a unary and a streaming method.
    pub fn start(site: &Site) -> Self {
        let (health, health_server) = tonic_health::server::health_reporter();
        let memory = Memory::default();
        let app = tonic::service::Routes::new(health_server)
            .into_axum_router()
            .route("/upload", post(upload))
            .route("/trailers", post(trailers))
            .fallback(any(serve))
            .layer(axum::middleware::from_fn(remember))
            .layer(Extension(memory.clone()));
        Self { backend: Backend::serve(site, app), memory, health }
    }

    pub fn address(&self) -> SocketAddr {
        self.backend.address
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.backend.requests()
    }

    /// Everything that has come.
    pub fn seen(&self) -> Vec<Seen> {
        self.memory.seen.lock().unwrap().clone()
    }

    /// Bytes of uploads so far.
    pub fn uploaded(&self) -> u64 {
        self.memory.uploaded.load(Ordering::SeqCst)
    }

    /// The trailers of the last request to `/trailers`.
    pub fn trailers(&self) -> Option<HeaderMap> {
        self.memory.trailers.lock().unwrap().clone()
    }

    /// What gRPC's health service tells of `service`, to those who watch, too.
    pub async fn set_health(&self, service: &str, status: ServingStatus) {
        self.health.set_service_status(service, status).await;
    }
}

async fn remember(Extension(memory): Extension<Memory>, request: Request, next: Next) -> Response {
    let seen = Seen { path: request.uri().to_string(), headers: request.headers().clone() };
    memory.seen.lock().unwrap().push(seen);
    next.run(request).await
}

async fn serve(mut request: Request) -> Response {
    if !request.headers().contains_key(UPGRADE) {
        return Response::new(Body::from("served\n"));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.unwrap());
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.unwrap();
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

async fn upload(Extension(memory): Extension<Memory>, request: Request) -> String {
    let mut body = request.into_body();
    let mut total = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        total += length;
        memory.uploaded.fetch_add(length, Ordering::SeqCst);
    }
    total.to_string()
}

async fn trailers(Extension(memory): Extension<Memory>, request: Request) -> Response {
    let collected = request.into_body().collect().await.unwrap();
    *memory.trailers.lock().unwrap() = collected.trailers().cloned();
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("x-end"), HeaderValue::from_static("well"))]);
    let frames = [Frame::data(Bytes::from_static(b"served\n")), Frame::trailers(trailers)];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))))
}
