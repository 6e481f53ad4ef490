//! Whether ports and sockets can be had, or are a running server's already; and TLS of the ports.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::report::Section;
use crate::cli::client;
use crate::config::Config;
use crate::server::listener::{BindError, bind_tcp};
use crate::server::tls::{Port, TlsAcceptor};

/// How long whoever has a port may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// As much of an answer as is looked at.
const ANSWER: u64 = 64 * 1024;

/// How a listener of ours is recognized.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// By nothing that could be asked for here.
    None,
    /// By health over gRPC.
    Health,
    /// By what `GET` of this path answers with.
    Http(&'static str, &'static str),
}

/// Checks every listener.
pub async fn check(config: &Config) -> Section {
    let mut section = Section::new("listeners");
    match &config.grpc.unix_socket {
        Some(path) => socket("grpc.unix_socket", path, &mut section).await,
        None => {
            // With TLS it would take a certificate that clients trust, and perhaps one of our own.
            let sign = if config.grpc.tls.is_none() { Sign::Health } else { Sign::None };
            port("gRPC", "grpc.address", config.grpc.address, sign, &mut section).await;
        }
    }
    if let Some(path) = &config.http.unix_socket {
        socket("http.unix_socket", path, &mut section).await;
    }
    let live = if config.http.tls.is_none() { Sign::Http("/livez", "200 OK") } else { Sign::None };
    port("HTTP", "http.address", config.http.address, live, &mut section).await;
    let metrics = Sign::Http("/metrics", "tidegate_");
    port("admin", "admin.address", config.admin.address, metrics, &mut section).await;
    let reference = &config.telemetry.metrics;
    if let Some(address) = reference.prometheus_address {
        let field = "telemetry.metrics.prometheus_address";
        port("metrics", field, address, Sign::None, &mut section).await;
    }
    for (tls, of) in [(&config.grpc.tls, Port::Grpc), (&config.http.tls, Port::Http)] {
        let Some(tls) = tls else { continue };
        match TlsAcceptor::load(tls.clone(), of) {
            Ok(_) => section.ok(of.section(), format!("{} and its key fit together", tls.certificate.display())),
            Err(error) => section.fail(
                of.section(),
                error.to_string(),
                format!("correct the files, or leave {} out", of.section()),
            ),
        }
    }
    section
}

async fn port(what: &'static str, field: &'static str, address: SocketAddr, sign: Sign, section: &mut Section) {
    match bind_tcp(address, what, field) {
        Ok(_) => section.ok(field, format!("{address} is free")),
        Err(BindError::Taken { .. }) => {
            let target = SocketAddr::new(reachable(address.ip()), address.port());
            let ours = timeout(PATIENCE, recognize(target, sign)).await.unwrap_or(false);
            let advice = || format!("stop the process that has it, or set {field}");
            match sign {
                _ if ours => section.ok(field, format!("{address} is served by a running tidegate")),
                Sign::None => section.warn(
                    field,
                    format!("{address} is taken, perhaps by a running tidegate"),
                    format!("if it is another process, {}", advice()),
                ),
                _ => section.fail(field, format!("{address} is taken by another process"), advice()),
            }
        }
        Err(error) => section.fail(field, error.to_string(), format!("set {field} to an address of this machine")),
    }
}

/// Where a listener on every interface is reached.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

async fn recognize(address: SocketAddr, sign: Sign) -> bool {
    match sign {
        Sign::None => false,
        Sign::Health => answers_health(address).await.is_ok(),
        Sign::Http(path, wanted) => get(address, path).await.is_ok_and(|answer| answer.contains(wanted)),
    }
}

async fn answers_health(address: SocketAddr) -> anyhow::Result<()> {
    let channel = client::connect(&format!("http://{address}"), client::Listener::Grpc, PATIENCE).await?;
    HealthClient::new(channel).check(HealthCheckRequest { service: "ratelimit".to_owned() }).await?;
    Ok(())
}

async fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // A connection that is cut may have brought enough.
    let _ = stream.take(ANSWER).read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A socket file is looked at only: binding it would take it from a server that starts now.
async fn socket(check: &'static str, path: &Path, section: &mut Section) {
    let shown = path.display();
    let advice = format!("set {check} to a path where this user may make a file");
    match fs::symlink_metadata(path) {
        Ok(existing) if !existing.file_type().is_socket() => {
            section.fail(check, format!("{shown} exists and is no socket"), format!("remove it, or set {check}"));
        }
        Ok(_) => match timeout(PATIENCE, UnixStream::connect(path)).await {
            Ok(Ok(_)) => section.warn(
                check,
                format!("{shown} is taken by another process"),
                format!("well if that is a running tidegate; else stop it, or set {check}"),
            ),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                section.ok(check, format!("{shown} is left over and will be replaced"));
            }
            Ok(Err(error)) => section.fail(check, format!("{shown}: {error}"), advice),
            Err(_) => section.warn(check, format!("{shown} does not answer"), "stop the process that has it"),
        },
        Err(error) if error.kind() == ErrorKind::NotFound && path.parent().is_none_or(is_directory) => {
            section.ok(check, format!("{shown} is free"));
        }
        Err(error) => section.fail(check, format!("{shown}: {error}"), advice),
    }
}

fn is_directory(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}
