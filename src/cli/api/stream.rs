//! The byte stream below a call: TCP, TLS over it, or a Unix socket.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use http::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Any of them.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens the stream that a URL names, and says what the server is called in the header Host.
pub async fn open(url: &str, ca: Option<&Path>) -> anyhow::Result<(Box<dyn Stream>, String)> {
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        let stream = UnixStream::connect(path).await;
        return Ok((Box::new(stream.with_context(|| unreachable(url))?), "localhost".to_owned()));
    }
    let uri: Uri = url.parse().map_err(|error| anyhow!("--api {url}: {error}; write http://host:port"))?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => bail!("--api {url}: write http://host:port, https://host:port or unix:PATH"),
    };
    let authority = uri.authority().ok_or_else(|| anyhow!("--api {url}: names no host"))?;
    if uri.path_and_query().is_some_and(|rest| rest.as_str() != "/") {
        bail!("--api {url}: leave out what follows host and port");
    }
    let host = authority.host();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    // An IPv6 address stands in brackets here, and without them in a certificate.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.with_context(|| unreachable(url))?;
    if !secure {
        return Ok((Box::new(stream), authority.to_string()));
    }
    let name = ServerName::try_from(bare.to_owned()).with_context(|| format!("--api {url}: no name of a server"))?;
    let stream = connector(ca)?.connect(name, stream).await;
    Ok((Box::new(stream.with_context(|| format!("TLS with {url} fails"))?), authority.to_string()))
}

fn unreachable(url: &str) -> String {
    format!(
        "cannot reach {url}; is `tidegate serve` running, and is this its HTTP API, port 8080 unless configured? (--api)"
    )
}

fn connector(ca: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let path = ca
        .ok_or_else(|| anyhow!("https needs --ca: the authorities that signed the server's certificate, a PEM file"))?;
    let mut roots = RootCertStore::empty();
    let read =
        CertificateDer::pem_file_iter(path).with_context(|| format!("--ca {}: cannot be read", path.display()))?;
    for certificate in read {
        let certificate = certificate.with_context(|| format!("--ca {}: is no PEM file", path.display()))?;
        roots.add(certificate).with_context(|| format!("--ca {}: holds no certificate", path.display()))?;
    }
    if roots.is_empty() {
        bail!("--ca {}: holds no certificate", path.display());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
