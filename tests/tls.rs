//! TLS of the gRPC and HTTP ports: certificates, client certificates and the names in them, renewal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod server_support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use server_support::{OK, SOON, Server, eventually, request, start};
use tidegate::config::Tls;
use tidegate::server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

const RULES: &str = "
domain: edge
descriptors:
  - key: user
    rate_limit: { unit: day, requests_per_unit: 3 }
";

/// A certificate authority of a test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Names with `://` in them are URIs.
    fn issue(&self, names: &[&str]) -> Identity {
        let san = |name: &&str| {
            let text = (*name).try_into().unwrap();
            if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) }
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(san).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.der().clone(), certificate_pem: certificate.pem(), key }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

impl Identity {
    fn write(&self, directory: &Path) {
        std::fs::write(directory.join("server.crt"), &self.certificate_pem).unwrap();
        std::fs::write(directory.join("server.key"), self.key.serialize_pem()).unwrap();
    }
}

/// Settings whose files lie in `directory`.
fn settings(directory: &Path) -> Tls {
    Tls {
        certificate: directory.join("server.crt"),
        key: directory.join("server.key"),
        client_ca: None,
        client_san: Vec::new(),
    }
}

/// A server with the certificate `identity`; clients are those of `client_ca`, if any, with one of `names`.
fn serve(identity: &Identity, client_ca: Option<&Authority>, names: &[&str]) -> Server {
    start(RULES, |config| {
        let directory = config.rules.paths[0].parent().unwrap().to_owned();
        identity.write(&directory);
        let mut tls = settings(&directory);
        if let Some(authority) = client_ca {
            let path = directory.join("ca.crt");
            std::fs::write(&path, authority.0.pem()).unwrap();
            tls.client_ca = Some(path);
            tls.client_san = names.iter().map(|&name| name.to_owned()).collect();
        }
        config.grpc.tls = Some(tls);
    })
}

static DEFAULT: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
static OLD: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

struct Client<'a> {
    roots: RootCertStore,
    identity: Option<&'a Identity>,
    versions: &'static [&'static SupportedProtocolVersion],
}

impl<'a> Client<'a> {
    fn trusting(authority: &Authority) -> Self {
        Self { roots: authority.roots(), identity: None, versions: DEFAULT }
    }

    fn with(self, identity: &'a Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// Shakes hands; with TLS 1.3 a refusal of the client's certificate shows only later.
    async fn connect(&self, address: SocketAddr) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        self.connect_speaking(address, b"h2").await
    }

    async fn connect_speaking(
        &self,
        address: SocketAddr,
        protocol: &[u8],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![identity.certificate.clone()], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A client of the service on a new connection.
    async fn client(&self, address: SocketAddr) -> Option<RateLimitServiceClient<Channel>> {
        let stream = self.connect(address).await.ok()?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut stream = Some(stream);
        let connector = tower::service_fn(move |_: http::Uri| {
            let stream = stream.take().map(TokioIo::new).ok_or_else(|| std::io::Error::other("only once"));
            async move { stream }
        });
        let endpoint = Endpoint::from_static("http://localhost").timeout(SOON);
        endpoint.connect_with_connector(connector).await.ok().map(RateLimitServiceClient::new)
    }

    /// Whether a call is answered on a new connection.
    async fn calls(&self, address: SocketAddr) -> bool {
        let Some(mut client) = self.client(address).await else { return false };
        let answer = client.should_rate_limit(request("edge", &[&[("a", "b")]])).await;
        answer.is_ok_and(|answer| answer.into_inner().overall_code == OK)
    }

    /// The certificate that the server shows on a new connection.
    async fn sees(&self, address: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(address).await.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
    }
}

#[tokio::test]
async fn calls_are_answered_over_tls_and_not_in_plain_text() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&["localhost"]), None, &[]);
    assert!(Client::trusting(&authority).calls(server.address()).await);
    let old = Client { versions: OLD, ..Client::trusting(&authority) };
    assert!(old.calls(server.address()).await, "TLS 1.2");
    assert!(!Client::trusting(&Authority::new()).calls(server.address()).await, "another authority");
    let plain = Endpoint::from_shared(format!("http://{}", server.address())).unwrap().timeout(SOON);
    if let Ok(channel) = plain.connect().await {
        let mut client = RateLimitServiceClient::new(channel);
        assert!(client.should_rate_limit(request("edge", &[&[("a", "b")]])).await.is_err());
    }
}

#[tokio::test]
async fn clients_need_a_certificate_of_the_configured_authority() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = serve(&authority.issue(&["localhost"]), Some(&clients), &[]);
    let address = server.address();
    assert!(!Client::trusting(&authority).calls(address).await, "none");
    let stranger = authority.issue(&["gateway.example"]);
    assert!(!Client::trusting(&authority).with(&stranger).calls(address).await, "of another authority");
    assert_eq!(server.running.tls().expect("TLS").refused_handshakes(), 2);
    let client = clients.issue(&["any.example"]);
    assert!(Client::trusting(&authority).with(&client).calls(address).await);
}

#[tokio::test]
async fn clients_need_one_of_the_configured_names() {
    const SPIFFE: &str = "spiffe://cluster.local/ns/gateway/sa/envoy";
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = serve(&authority.issue(&["localhost"]), Some(&clients), &["gateway.mesh.example", SPIFFE]);
    for (names, welcome) in [
        (&["gateway.mesh.example"][..], true),
        (&["other.example", "GATEWAY.mesh.example"], true),
        (&["*.mesh.example"], true),
        (&[SPIFFE], true),
        (&["other.example"], false),
        (&["gateway.mesh.example.evil"], false),
        (&["spiffe://cluster.local/ns/gateway/sa/envoy2"], false),
        (&[], false),
    ] {
        let client = clients.issue(names);
        let answered = Client::trusting(&authority).with(&client).calls(server.address()).await;
        assert_eq!(answered, welcome, "{names:?}");
    }
}

#[tokio::test]
async fn new_files_come_into_force_and_broken_ones_do_not() {
    let authority = Authority::new();
    let (first, second, third) =
        (authority.issue(&["localhost"]), authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    let server = serve(&first, None, &[]);
    let (address, directory) = (server.address(), server.directory.path());
    let client = Client::trusting(&authority);
    let tls = server.running.tls().expect("TLS");
    assert_eq!(client.sees(address).await, first.certificate);
    let mut opened_before = client.client(address).await.expect("a connection");

    second.write(directory);
    eventually("the second certificate", async || client.sees(address).await == second.certificate).await;
    // A certificate without its key.
    std::fs::write(directory.join("server.crt"), &third.certificate_pem).unwrap();
    eventually("a refusal", async || tls.reloads() == (1, 1)).await;
    assert_eq!(client.sees(address).await, second.certificate);
    // No certificate at all.
    std::fs::write(directory.join("server.crt"), "nonsense").unwrap();
    eventually("another refusal", async || tls.reloads() == (1, 2)).await;
    assert!(client.calls(address).await);
    third.write(directory);
    eventually("the third certificate", async || client.sees(address).await == third.certificate).await;
    let text = server.running.context.metrics.encode();
    assert!(text.contains("tidegate_tls_reloads_total 2") && text.contains("tidegate_tls_reload_failures_total 2"));
    let answer = opened_before.should_rate_limit(request("edge", &[&[("a", "b")]])).await;
    assert!(answer.is_ok(), "connections outlive certificates");
}

#[tokio::test]
async fn silence_in_the_handshake_is_bounded() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    authority.issue(&["localhost"]).write(directory.path());
    let server = start(RULES, |config| {
        config.grpc.tls = Some(settings(directory.path()));
        config.grpc.handshake_timeout = Duration::from_millis(50);
    });
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let end = timeout(SOON, stream.read_u8()).await.expect("the connection is closed");
    assert!(end.is_err());
    // Nor after the handshake.
    let mut stream = Client::trusting(&authority).connect(server.address()).await.unwrap();
    let end = timeout(SOON, stream.read_u8()).await.expect("the connection is closed");
    assert!(end.is_err());
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (one, other) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    one.write(directory.path());
    std::fs::write(path("other.key"), other.key.serialize_pem()).unwrap();
    std::fs::write(path("nonsense"), "nonsense").unwrap();
    let good = settings(directory.path());
    let cases = [
        (Tls { certificate: path("missing"), ..good.clone() }, "grpc.tls.certificate: cannot read"),
        (Tls { certificate: path("nonsense"), ..good.clone() }, "grpc.tls.certificate: "),
        (Tls { key: path("nonsense"), ..good.clone() }, "grpc.tls.key: "),
        (Tls { key: path("other.key"), ..good.clone() }, "grpc.tls: certificate "),
        (Tls { client_ca: Some(path("missing")), ..good.clone() }, "grpc.tls.client_ca: cannot read"),
        (Tls { client_ca: Some(path("nonsense")), ..good.clone() }, "grpc.tls.client_ca: "),
    ];
    for (tls, beginning) in cases {
        let mut config = server_support::config();
        config.grpc.tls = Some(tls.clone());
        let error = server::start(config).expect_err(beginning).to_string();
        assert!(error.starts_with(beginning), "{error}");
        let named = [&tls.certificate, &tls.key].into_iter().chain(&tls.client_ca);
        assert!(named.into_iter().any(|path| error.contains(path.to_str().unwrap())), "{error}");
    }
}

#[tokio::test]
async fn http_is_served_over_tls_and_follows_its_files() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    let directory = tempfile::tempdir().unwrap();
    first.write(directory.path());
    let server = start(RULES, |config| config.http.tls = Some(settings(directory.path())));
    let address = server.running.http_address;
    let client = Client::trusting(&authority);
    let mut stream = client.connect(address).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.shutdown().await.unwrap();
    let get = async |protocol: &[u8]| {
        let mut stream = client.connect_speaking(address, protocol).await.expect("a handshake");
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let _ = timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer");
        answer
    };
    assert!(get(b"http/1.1").await.starts_with("HTTP/1.1 200 "));
    second.write(directory.path());
    eventually("the second certificate", async || client.sees(address).await == second.certificate).await;
    assert_eq!(server.running.http_tls().expect("TLS").reloads(), (1, 0));
    // Nobody is answered in plain text.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(SOON, plain.read_to_end(&mut answer)).await.expect("the connection is closed");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));

    let mut config = server_support::config();
    config.http.tls = Some(Tls { key: directory.path().join("missing"), ..settings(directory.path()) });
    let error = server::start(config).expect_err("no key").to_string();
    assert!(error.starts_with("http.tls.key: cannot read"), "{error}");
}
