//! TLS towards the xDS server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tidegate::config::xds::XdsTls;
use tidegate::server::{self, StartError};

use crate::control_plane::{ControlPlane, domain, per_day};
use crate::process::get;
use crate::server_support::{Server, eventually};

/// An authority, and files of certificates that it issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// A certificate and its key, into a directory.
    fn issue(&self, name: &str, directory: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(directory.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    }

    /// A control plane called `name`, which lets in whom the authority knows.
    fn control_plane(&self, name: &str) -> ControlPlane {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let control_plane = ControlPlane::start_at(address, Some(config));
        control_plane.push("1", vec![domain("edge", vec![per_day("user", 1)])]);
        control_plane
    }
}

fn follow(control_plane: &ControlPlane, tls: XdsTls) -> Server {
    control_plane.follower(|config| {
        config.rules.start_without = true;
        config.rules.xds.as_mut().unwrap().tls = Some(tls);
    })
}

fn files(authority: &Authority, directory: &Path) -> XdsTls {
    XdsTls {
        ca: Some(authority.ca()),
        certificate: Some(directory.join("tls.crt")),
        key: Some(directory.join("tls.key")),
        san: None,
    }
}

fn trouble(server: &Server) -> String {
    let xds = get(server.running.http_address, "/readyz?verbose").json()["rules"]["xds"].clone();
    xds["trouble"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn both_sides_show_certificates() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    authority.issue("tidegate", directory.path());
    let control_plane = authority.control_plane("127.0.0.1");
    let server = follow(&control_plane, files(&authority, directory.path()));
    control_plane.acknowledged("1").await;
    assert!(server.running.context.health.serving());
}

#[tokio::test]
async fn the_certificate_must_be_for_the_server_or_the_name_in_the_settings() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    authority.issue("tidegate", directory.path());
    let control_plane = authority.control_plane("envoy-gateway");
    let server = follow(&control_plane, files(&authority, directory.path()));
    eventually("a reason", async || trouble(&server).contains("certificate not valid for name")).await;
    assert!(trouble(&server).contains("envoy-gateway"), "{}", trouble(&server));
    assert!(control_plane.seen().is_empty());

    let san = |san: &str| XdsTls { san: Some(san.to_owned()), ..files(&authority, directory.path()) };
    let other = follow(&control_plane, san("another.gateway"));
    eventually("a reason", async || trouble(&other).contains("another.gateway")).await;
    assert!(control_plane.seen().is_empty());
    let _named = follow(&control_plane, san("envoy-gateway"));
    control_plane.acknowledged("1").await;
}

#[tokio::test]
async fn servers_of_other_authorities_are_not_believed() {
    let (authority, other) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    authority.issue("tidegate", directory.path());
    let control_plane = authority.control_plane("127.0.0.1");
    let server = follow(&control_plane, XdsTls { ca: Some(other.ca()), ..files(&authority, directory.path()) });
    eventually("a reason", async || trouble(&server).contains("invalid peer certificate: ")).await;
    assert!(control_plane.seen().is_empty());
}

#[tokio::test]
async fn renewed_certificates_are_read_for_the_next_connection() {
    let (authority, other) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    other.issue("tidegate", directory.path());
    let control_plane = authority.control_plane("127.0.0.1");
    let server = follow(&control_plane, files(&authority, directory.path()));
    eventually("a reason", async || !trouble(&server).is_empty()).await;
    assert!(control_plane.seen().is_empty());
    authority.issue("tidegate", directory.path());
    control_plane.acknowledged("1").await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    authority.issue("tidegate", directory.path());
    let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let control_plane = authority.control_plane("127.0.0.1");
    let server = control_plane.follower(|config| {
        config.rules.start_without = true;
        let xds = config.rules.xds.as_mut().unwrap();
        xds.server = silent.local_addr().unwrap().to_string();
        xds.connect_timeout = Duration::from_millis(100);
        xds.tls = Some(files(&authority, directory.path()));
    });
    eventually("a reason", async || trouble(&server).ends_with(" took longer than 100ms")).await;
}

#[test]
fn files_that_cannot_be_used_are_told_at_the_start() {
    let control_plane = ControlPlane::start();
    let ca = Some(PathBuf::from("/nonexistent/ca.crt"));
    let config = control_plane.settings(|config| {
        config.rules.xds.as_mut().unwrap().tls = Some(XdsTls { ca, ..XdsTls::default() });
    });
    let Err(StartError::Xds(error)) = server::start(config) else { panic!("it starts") };
    let error = error.to_string();
    assert!(error.starts_with("rules.xds.tls: ca: \"/nonexistent/ca.crt\": "), "{error}");
}
