//! One HTTP/2 connection on its worker: handshake, keepalive, age, end; and where its requests go.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::service::Routes;
use tower::Service;

use super::access_log;
use super::body::Body;
use super::context::Context;
use super::ext_authz::{self, Authorization};
use super::grpc::Calls;
use super::listener::Socket;
use super::patient::Patient;
use super::preface;
use super::rls::{self, RateLimitService};
use super::shutdown::{Phase, Shutdown};
use super::tls::TlsAcceptor;
use super::workers::Load;
use crate::config;

/// Streams that clients have reset and we have not yet seen to; beyond them the connection is closed (rapid reset).
const MAX_PENDING_RESET_STREAMS: usize = 64;
/// Streams that we had to reset for the client's errors; beyond them the connection is closed.
const MAX_ERROR_RESET_STREAMS: usize = 256;
/// Header list of one request, bytes. Envoy sends some 500; trace state on top comes from clients, so the bound lies
/// above what Envoy lets a client send (60 KiB by default), or a client could make its own check fail.
const MAX_HEADER_LIST: u32 = 128 * 1024;
/// What a client may send on one stream before we have read it. A message holds a client's header values, and a long
/// one must not need more round trips than Envoy's deadline allows.
const STREAM_WINDOW: u32 = 1 << 20;
/// What a client may send on a connection before we have read it.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Answers that wait on one stream for the client to make room.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// What every connection of a worker shares.
#[derive(Debug)]
pub struct Shared {
    /// What takes access logs.
    pub context: Arc<Context>,
    /// Answers the calls of the two below.
    pub calls: Calls,
    /// Decides what Envoy has made descriptors of.
    pub rls: RateLimitService,
    /// Decides what Envoy describes as a whole.
    pub ext_authz: Authorization,
    /// Every other service.
    pub routes: Routes,
    /// Counts what this worker does.
    pub load: Arc<Load>,
    /// Tells when to end.
    pub shutdown: Shutdown,
    /// Speaks TLS, if configured.
    pub tls: Option<TlsAcceptor>,
    /// The bounds of a connection.
    pub grpc: config::Grpc,
}

impl Shared {
    /// `closing` tells calls without an end of their own when the connection is to end.
    async fn answer(
        &self,
        request: Request<Incoming>,
        closing: &watch::Sender<bool>,
    ) -> Result<Response<Body>, tonic::Status> {
        match request.uri().path() {
            rls::SHOULD_RATE_LIMIT => {
                self.load.count_request();
                return Ok(self.calls.answer(&self.rls, request).await);
            }
            ext_authz::CHECK => {
                self.load.count_request();
                return Ok(self.calls.answer(&self.ext_authz, request).await);
            }
            access_log::STREAM_ACCESS_LOGS => {
                let stream = access_log::answer(&self.context, request, closing.subscribe());
                return Ok(Box::pin(stream).await.map(Body::Tonic));
            }
            _ => {}
        }
        // Boxed, since the space for it would be copied with every request, ours above included.
        let answer = Box::pin(self.routes.clone().call(request.map(tonic::body::Body::new))).await;
        Ok(answer.map_or_else(|never| match never {}, |response| response.map(Body::Tonic)))
    }
}

/// Serves a connection to its end.
pub async fn serve(socket: Socket, shared: Arc<Shared>) {
    // A socket that cannot be registered is a connection that broke; so it ends.
    match socket {
        Socket::Tcp(stream) => {
            if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
                secure(stream, shared).await;
            }
        }
        Socket::Unix(stream) => {
            if let Ok(stream) = tokio::net::UnixStream::from_std(stream) {
                secure(stream, shared).await;
            }
        }
    }
}

async fn secure<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Arc<Shared>) {
    let limit = shared.grpc.handshake_timeout;
    match &shared.tls {
        None => greet(stream, limit, shared).await,
        Some(tls) => match timeout(limit, tls.accept(stream)).await {
            Ok(Ok(stream)) => greet(stream, limit, shared).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("no TLS handshake within {limit:?}"),
        },
    }
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: S, limit: Duration, shared: Arc<Shared>) {
    // A client that reads nothing answers no ping either, but could not even be told so.
    let stream = Patient::new(stream, shared.grpc.keepalive_timeout);
    match timeout(limit, preface::expect(stream)).await {
        Ok(Ok(Some(stream))) => speak(stream, shared).await,
        Ok(Ok(None)) => tracing::debug!("a client did not speak HTTP/2"),
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke before HTTP/2 began"),
        Err(_) => tracing::debug!("no HTTP/2 within {limit:?}"),
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Arc<Shared>) {
    let grpc = &shared.grpc;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(grpc.max_concurrent_streams)
        .max_pending_accept_reset_streams(MAX_PENDING_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_ERROR_RESET_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .keep_alive_interval(some(grpc.keepalive_interval))
        .keep_alive_timeout(grpc.keepalive_timeout);
    let calls = Arc::new((Arc::clone(&shared), watch::Sender::new(false)));
    let service = service_fn({
        let calls = Arc::clone(&calls);
        move |request| {
            let calls = Arc::clone(&calls);
            async move { calls.0.answer(request, &calls.1).await }
        }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));

    // First until the connection ends by itself, grows too old, or the process does.
    let aged = async {
        match some(grpc.max_connection_age) {
            Some(age) => sleep(jittered(age)).await,
            None => std::future::pending().await,
        }
    };
    let grace = tokio::select! {
        biased;
        end = connection.as_mut() => return ended(end),
        () = aged => some(grpc.max_connection_age_grace),
        // The workers' own deadline bounds this end.
        () = shared.shutdown.reached(Phase::Closing) => None,
    };
    // Then GOAWAY, and a while for the calls in flight.
    connection.as_mut().graceful_shutdown();
    calls.1.send_replace(true);
    match grace {
        None => ended(connection.await),
        Some(grace) => match timeout(grace, connection).await {
            Ok(end) => ended(end),
            Err(_) => tracing::debug!("calls on an old connection did not end within {grace:?}"),
        },
    }
}

fn ended(end: hyper::Result<()>) {
    if let Err(error) = end {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Zero means no limit.
fn some(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

/// Between `age` and twice that, so that connections opened together do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(1.0 + fastrand::f64())
}
