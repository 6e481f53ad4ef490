//! Certificates for Redis over TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// A certificate authority of a test's own, a certificate for the server (`127.0.0.1` and `localhost`) and one for a
/// client (`tidegate`), as PEM files that are gone with this. Another authority is another of these.
#[derive(Debug)]
pub struct Certificates {
    directory: tempfile::TempDir,
}

/// What a server asks of its clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClientCertificate {
    Required,
    Optional,
    NotAsked,
}

impl Certificates {
    pub fn new() -> Arc<Self> {
        let certificates = Self { directory: tempfile::tempdir().expect("a directory for certificates") };
        let mut params = CertificateParams::default();
        // Names that differ: OpenSSL takes a certificate whose issuer is called as its subject for self-signed.
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        certificates.write("ca.crt", &authority.pem());
        for (name, subjects) in [("server", &["127.0.0.1", "localhost"][..]), ("client", &["tidegate"])] {
            let subjects = subjects.iter().map(ToString::to_string).collect::<Vec<_>>();
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(subjects).expect("names of the subject");
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            certificates.write(&format!("{name}.crt"), &certificate.pem());
            certificates.write(&format!("{name}.key"), &key.serialize_pem());
        }
        Arc::new(certificates)
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.file("ca.crt")
    }

    pub fn server_certificate(&self) -> PathBuf {
        self.file("server.crt")
    }

    pub fn server_key(&self) -> PathBuf {
        self.file("server.key")
    }

    pub fn client_certificate(&self) -> PathBuf {
        self.file("client.crt")
    }

    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    /// A client that trusts this authority, and says who it is or does not.
    pub fn client(&self, with_certificate: bool) -> ClientConfig {
        let certificate = |path| CertificateDer::from_pem_file(path).expect("a certificate in PEM");
        let mut roots = RootCertStore::empty();
        roots.add(certificate(self.ca())).expect("the authority's certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("protocol versions").with_root_certificates(roots);
        if with_certificate {
            let key = PrivateKeyDer::from_pem_file(self.client_key()).expect("a key in PEM");
            let chain = vec![certificate(self.client_certificate())];
            builder.with_client_auth_cert(chain, key).expect("the client's certificate")
        } else {
            builder.with_no_client_auth()
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.file(name), pem).expect("a file for a certificate");
    }
}
