//! What Envoy tells of a connection with TLS: who the client is by its certificate, and the name it asked for.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{settings, tidegate};
use crate::harness::{Configuration, Gateway};

const WORKLOAD: &str = "spiffe://cluster.local/ns/shop/sa/checkout";
const NAME: &str = "api.test";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Else it is called like what it issues, which then looks as if it had signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: SanType) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// The listener with TLS, for clients with a certificate of `authority`.
fn with_tls(configuration: Configuration, authority: &Authority) -> Configuration {
    let (certificate, key) = authority.issue(SanType::DnsName(NAME.try_into().unwrap()));
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": {
            "tls_certificates": [{
                "certificate_chain": { "inline_string": certificate.pem() },
                "private_key": { "inline_string": key.serialize_pem() },
            }],
            "validation_context": { "trusted_ca": { "inline_string": authority.0.pem() } },
        },
    });
    // JSON is YAML.
    let socket = json!({ "name": "envoy.transport_sockets.tls", "typed_config": context });
    let chain = format!("        - transport_socket: {socket}\n          filters:");
    configuration.replace("        - filters:", &chain)
}

/// GET of `/echo`.
async fn echo(gateway: &Gateway, authority: &Authority, identity: &(rcgen::Certificate, KeyPair)) -> (u16, Value) {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(identity.1.serialize_der()).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![identity.0.der().clone()];
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let stream = TcpStream::connect(gateway.envoy.address).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("/echo").header("host", NAME).body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    connection.abort();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_workload_is_known_by_its_certificate() {
    let authority = Authority::new();
    let rules = tempfile::tempdir().unwrap();
    let text = "domain: api\ndescriptors:\n  - key: principal\n    descriptors:\n      - key: sni\n        descriptors:\n          \
                - key: peer_certificate_sha256\n            rate_limit: { unit: year, requests_per_unit: 1 }\n";
    std::fs::write(rules.path().join("api.yaml"), text).unwrap();
    let settings = settings()
        .replace("[plan, user_id]", "[principal, sni, peer_certificate_sha256]")
        .replace("\"{user_id}\"", "\"{principal} {sni} {peer_certificate_sha256}\"");
    let mut options = tidegate(settings);
    options.rules = rules.path().to_owned();
    let gateway = Gateway::start_with(with_tls(Configuration::ext_authz(), &authority), options).await;

    let identities = [0, 1].map(|_| authority.issue(SanType::URI(WORKLOAD.try_into().unwrap())));
    for identity in &identities {
        let digest = ring::digest::digest(&ring::digest::SHA256, identity.0.der());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let (status, got) = echo(&gateway, &authority, identity).await;
        assert_eq!((status, &got["x-user-id"]), (200, &json!([format!("{WORKLOAD} {NAME} {hex}")])));
        let (status, problem) = echo(&gateway, &authority, identity).await;
        assert_eq!((status, &problem["status"]), (429, &json!(429)));
    }
    gateway.assert_no_decision_was_lost().await;
}
