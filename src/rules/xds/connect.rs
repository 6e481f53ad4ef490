//! One connection to the xDS server. Certificates are read anew for each, so that they can be renewed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::config::xds::{Xds, XdsTls};
use crate::tls::{self, TlsError};

/// A silent connection is asked by TCP for a sign of life after this time, then as often as that, so many times.
const TCP_IDLE: Duration = Duration::from_secs(30);
const TCP_INTERVAL: Duration = Duration::from_secs(10);
const TCP_RETRIES: u32 = 3;
/// And by HTTP/2, for a server that hangs while its machine lives. Servers written in Go close connections that are
/// asked more often than every five minutes, unless they are told otherwise.
const PING_INTERVAL: Duration = Duration::from_secs(330);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The settings name no server.
    #[error("rules.xds.server: \"{0}\" is no address of a server; write host:port")]
    Address(String),
    /// Certificates or keys.
    #[error("rules.xds.tls: {0}")]
    Tls(#[from] TlsError),
    /// A name that no certificate can be for.
    #[error("rules.xds.tls.san: \"{0}\" is no name of a server")]
    Name(String),
    /// The server cannot be reached.
    #[error("cannot connect to {server}: {error}")]
    Dial {
        /// Where.
        server: String,
        /// Why.
        error: io::Error,
    },
    /// The server is not the one, or does not want us.
    #[error("no TLS with {server}: {error}")]
    Handshake {
        /// Where.
        server: String,
        /// Why.
        error: io::Error,
    },
    /// It took too long.
    #[error("connecting to {server} took longer than {}", humantime::format_duration(*.limit))]
    Late {
        /// Where.
        server: String,
        /// How long it may take.
        limit: Duration,
    },
    /// It speaks no HTTP/2.
    #[error("{0}")]
    Protocol(#[from] tonic::transport::Error),
}

/// Whether the settings can give a connection: reads the files that they name.
///
/// # Errors
/// [`ConnectError`], with the setting to change.
pub fn check(settings: &Xds) -> Result<(), ConnectError> {
    let (host, _) = address(settings)?;
    settings.tls.as_ref().map(|tls| secured(tls, host)).transpose()?;
    Ok(())
}

/// Connects, within the time that the settings allow.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(settings: &Xds) -> Result<Channel, ConnectError> {
    let limit = settings.connect_timeout;
    let late = |_| ConnectError::Late { server: settings.server.clone(), limit };
    timeout(limit, try_connect(settings)).await.map_err(late)?
}

async fn try_connect(settings: &Xds) -> Result<Channel, ConnectError> {
    let (host, port) = address(settings)?;
    let server = &settings.server;
    let dial = |error| ConnectError::Dial { server: server.clone(), error };
    let stream = TcpStream::connect((host, port)).await.map_err(dial)?;
    stream.set_nodelay(true).map_err(dial)?;
    let keepalive = TcpKeepalive::new().with_time(TCP_IDLE).with_interval(TCP_INTERVAL).with_retries(TCP_RETRIES);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(dial)?;
    let stream: Box<dyn Stream> = match &settings.tls {
        None => Box::new(stream),
        Some(tls) => {
            let (connector, name) = secured(tls, host)?;
            let refused = |error| ConnectError::Handshake { server: server.clone(), error };
            Box::new(connector.connect(name, stream).await.map_err(refused)?)
        }
    };
    let mut endpoint = Endpoint::from_shared(format!("http://{server}"))?
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    if settings.tls.is_some() {
        let parts = http::Uri::builder().scheme("https").authority(server.as_str()).path_and_query("/").build();
        endpoint = endpoint.origin(parts.map_err(|_| ConnectError::Address(server.clone()))?);
    }
    // One connection, made already: another one is another attempt, with certificates read anew.
    let mut stream = Some(TokioIo::new(stream));
    let only = tower::service_fn(move |_: http::Uri| {
        let stream = stream.take().ok_or_else(|| io::Error::other("the connection has ended"));
        async move { stream }
    });
    Ok(endpoint.connect_with_connector(only).await?)
}

fn address(settings: &Xds) -> Result<(&str, u16), ConnectError> {
    settings.address().ok_or_else(|| ConnectError::Address(settings.server.clone()))
}

/// How to shake hands, and with whom.
fn secured(tls: &XdsTls, host: &str) -> Result<(TlsConnector, ServerName<'static>), ConnectError> {
    let known = tls::trusting(tls.ca.as_deref())?;
    let mut config = tls::client(known, tls.certificate.as_deref(), tls.key.as_deref())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = tls.san.as_deref().unwrap_or(host).to_owned();
    let server = ServerName::try_from(name.clone()).map_err(|_| ConnectError::Name(name))?;
    Ok((TlsConnector::from(Arc::new(config)), server))
}

/// Plain or secured.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
