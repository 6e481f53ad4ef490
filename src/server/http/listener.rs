//! Serves a router on a port, perhaps by TLS, or on a Unix socket: HTTP/1.1, and HTTP/2 without negotiation, too. Every
//! request carries who is at the other end ([`Peer`]).
//!
//! What a client can hold on to is bounded: connections in number, the time until its first request and between the
//! bytes of a request's head, the time an answer is left unread, the time without an answer to a ping, streams per connection.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use crate::server::access::Peer;
use crate::server::listener::UnixSocket;
use crate::server::patient::Patient;
use crate::server::tls::TlsAcceptor;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; beyond them, new ones wait in the kernel's backlog.
    pub connections: usize,
    /// Until the head of a request has arrived, the first one or the next; closes idle connections, too.
    pub head: Duration,
    /// How long a client may leave an answer unread.
    pub write: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// At shutdown, how long requests in flight may take.
    pub grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(10),
            write: Duration::from_secs(10),
            streams: 128,
            grace: Duration::from_secs(5),
        }
    }
}

/// Where HTTP is listened for.
#[derive(Debug)]
pub enum HttpListener {
    /// A port, perhaps with TLS.
    Tcp(TcpListener, Option<TlsAcceptor>),
    /// A socket file for this process's own user.
    Unix(UnixSocket),
}

impl From<TcpListener> for HttpListener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener, None)
    }
}

enum Accepted {
    Tcp(TcpStream, Peer, Option<TlsAcceptor>),
    Unix(UnixStream, Peer),
}

impl HttpListener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, Peer::Network(address), tls.clone()))
            }
            Self::Unix(socket) => {
                let stream = socket.accept().await?;
                let peer = owner(&stream);
                Ok(Accepted::Unix(stream, peer))
            }
        }
    }
}

/// Whether a peer is this process's own user, or root.
fn owner(stream: &UnixStream) -> Peer {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == rustix::process::geteuid().as_raw() || peer.uid() == 0 => {
            Peer::Owner { uid: peer.uid() }
        }
        _ => Peer::Stranger,
    }
}

/// Serves until `shutdown`, then lets requests in flight finish within the grace.
pub async fn serve(
    listener: impl Into<HttpListener>,
    router: Router,
    bounds: Bounds,
    shutdown: impl Future<Output = ()>,
) {
    let listener = listener.into();
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let (closing, _) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
            Some((slot, listener.accept().await))
        };
        let (slot, accepted) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => match accepted {
                Some((slot, Ok(accepted))) => (slot, accepted),
                Some((_, Err(error))) => {
                    // Out of file descriptors, usually: give others the time to close some.
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                None => break,
            },
        };
        let router = router.clone();
        let closing = closing.subscribe();
        tokio::spawn(async move {
            greet(accepted, router, bounds, closing).await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = closing.send(true);
    let all = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(bounds.grace, slots.acquire_many(all)).await;
}

async fn greet(accepted: Accepted, router: Router, bounds: Bounds, closing: watch::Receiver<bool>) {
    match accepted {
        Accepted::Unix(stream, peer) => connection(stream, peer, router, bounds, closing).await,
        Accepted::Tcp(stream, peer, tls) => {
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else { return connection(stream, peer, router, bounds, closing).await };
            match tokio::time::timeout(bounds.head, tls.accept(stream)).await {
                Ok(Ok(stream)) => connection(stream, peer, router, bounds, closing).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("no TLS handshake within {:?}", bounds.head),
            }
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    peer: Peer,
    router: Router,
    bounds: Bounds,
    mut closing: watch::Receiver<bool>,
) {
    let started = Arc::new(AtomicBool::new(false));
    let service = {
        let started = Arc::clone(&started);
        hyper::service::service_fn(move |mut request: Request<Incoming>| {
            started.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request.map(Body::new))
        })
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.head).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Patient::new(stream, bounds.write)), service));
    // The builder's own timeout starts once it knows which HTTP is spoken; a client that says nothing is cut here.
    let mut silence = pin!(tokio::time::sleep(bounds.head));
    let (mut silent, mut draining) = (true, false);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = closing.wait_for(|closing| *closing), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = silence.as_mut(), if silent => {
                silent = false;
                if !started.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}
