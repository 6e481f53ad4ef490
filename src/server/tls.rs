//! TLS of a port: rustls, at least TLS 1.2, ALPN `h2` (and `http/1.1` for HTTP); client certificates when a CA is configured, and certain
//! names in them when names are. Files are looked at every second, and a pair that does not load never replaces
//! the one in force.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use crate::config;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);
/// Looks that may find a file missing, as it is being replaced, before that is told.
const PATIENCE: u32 = 10;

/// Whose TLS it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The gRPC port's.
    Grpc,
    /// The HTTP port's.
    Http,
}

impl Port {
    /// The section of the settings.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::Grpc => "grpc.tls",
            Self::Http => "http.tls",
        }
    }

    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Grpc => vec![b"h2".to_vec()],
            Self::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }

    fn setting(self, field: &str) -> String {
        format!("{}.{field}", self.section())
    }
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{setting}: cannot read {}: {source}", path.display())]
    Read {
        /// The setting that names it.
        setting: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file without what it should hold.
    #[error("{setting}: {} holds no {wanted} in PEM format: {source}", path.display())]
    Pem {
        /// The setting that names it.
        setting: String,
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A CA file without any certificate, or with one that is none.
    #[error("{}.client_ca: {} holds no usable certificate authority: {reason}", port.section(), path.display())]
    ClientCa {
        /// Whose.
        port: Port,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not fit, or are of an unknown kind.
    #[error(
        "{}: certificate {} and key {} cannot be used together: {source}",
        port.section(), certificate.display(), key.display()
    )]
    Pair {
        /// Whose.
        port: Port,
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    fn read(tls: &config::Tls, port: Port) -> Result<Self, TlsError> {
        let read = |field, path: &Path| {
            let failed = |source| TlsError::Read { setting: port.setting(field), path: path.to_owned(), source };
            std::fs::read(path).map_err(failed)
        };
        Ok(Self {
            certificate: read("certificate", &tls.certificate)?,
            key: read("key", &tls.key)?,
            client_ca: tls.client_ca.as_deref().map(|path| read("client_ca", path)).transpose()?,
        })
    }

    fn configure(&self, tls: &config::Tls, port: Port) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let pair = |source| TlsError::Pair { port, certificate: tls.certificate.clone(), key: tls.key.clone(), source };
        let chain = certificates(&self.certificate, port.setting("certificate"), &tls.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| TlsError::Pem {
            setting: port.setting("key"),
            path: tls.key.clone(),
            wanted: "private key",
            source,
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(pair)?;
        let builder = match (&self.client_ca, &tls.client_ca) {
            (Some(content), Some(path)) => {
                builder.with_client_cert_verifier(client_verifier(content, path, tls, port, provider)?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = port.protocols();
        Ok(config)
    }
}

fn certificates(content: &[u8], setting: String, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>();
    let some = chain
        .and_then(|chain| if chain.is_empty() { Err(rustls::pki_types::pem::Error::NoItemsFound) } else { Ok(chain) });
    some.map_err(|source| TlsError::Pem { setting, path: path.to_owned(), wanted: "certificate", source })
}

fn client_verifier(
    content: &[u8],
    path: &Path,
    tls: &config::Tls,
    port: Port,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let failed = |reason: String| TlsError::ClientCa { port, path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(content, port.setting("client_ca"), path)? {
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error: VerifierBuilderError| failed(error.to_string()))?;
    if tls.client_san.is_empty() {
        return Ok(chain);
    }
    Ok(Arc::new(NamedClients { chain, names: tls.client_san.clone() }))
}

/// Accepts clients whose certificate carries one of certain names, besides being signed by a known CA.
#[derive(Debug)]
struct NamedClients {
    chain: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl NamedClients {
    fn has_name(&self, certificate: &CertificateDer<'_>) -> Result<bool, rustls::Error> {
        let encoding = |_| rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding);
        let certificate = webpki::EndEntityCert::try_from(certificate).map_err(encoding)?;
        Ok(self.names.iter().any(|name| {
            // spiffe://cluster.local/ns/gateway/sa/envoy is a URI; gateway.example is a DNS name.
            if name.contains("://") {
                return certificate.valid_uri_names().any(|uri| uri == name);
            }
            ServerName::try_from(name.as_str())
                .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        }))
    }
}

impl ClientCertVerifier for NamedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        if self.has_name(end_entity)? {
            return Ok(verified);
        }
        tracing::debug!("a client's certificate carries none of the names in client_san");
        Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The TLS in force; clones share it.
#[derive(Clone)]
pub struct TlsAcceptor {
    inner: Arc<Inner>,
}

struct Inner {
    port: Port,
    settings: config::Tls,
    present: ArcSwap<ServerConfig>,
    reloads: AtomicU64,
    failures: AtomicU64,
    refused_handshakes: AtomicU64,
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

/// Looks after the files of an acceptor.
pub struct Reloader {
    acceptor: TlsAcceptor,
    /// What was loaded, or tried, last.
    seen: Files,
    /// Looks in a row that found files missing.
    unreadable: u32,
}

impl TlsAcceptor {
    /// Loads the files.
    ///
    /// # Errors
    /// [`TlsError`], naming setting and file.
    pub fn load(settings: config::Tls, port: Port) -> Result<(Self, Reloader), TlsError> {
        let files = Files::read(&settings, port)?;
        let config = files.configure(&settings, port)?;
        let inner = Inner {
            port,
            settings,
            present: ArcSwap::from_pointee(config),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused_handshakes: AtomicU64::new(0),
        };
        let acceptor = Self { inner: Arc::new(inner) };
        Ok((acceptor.clone(), Reloader { acceptor, seen: files, unreadable: 0 }))
    }

    /// Shakes hands, with the certificate in force now.
    ///
    /// # Errors
    /// When the client does not want, or may not.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        tokio_rustls::TlsAcceptor::from(self.inner.present.load_full()).accept(stream).await.inspect_err(|_| {
            self.inner.refused_handshakes.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// How many handshakes failed.
    #[must_use]
    pub fn refused_handshakes(&self) -> u64 {
        self.inner.refused_handshakes.load(Ordering::Relaxed)
    }

    /// How often new files were put in force, and how often new files could not be.
    #[must_use]
    pub fn reloads(&self) -> (u64, u64) {
        (self.inner.reloads.load(Ordering::Relaxed), self.inner.failures.load(Ordering::Relaxed))
    }
}

impl Reloader {
    /// Looks at the files every second, for ever.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(POLL).await;
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(_) => return,
            }
        }
    }

    /// Puts changed files in force. Files that do not load are told once and tried again when they change.
    fn look(&mut self) {
        let inner = &self.acceptor.inner;
        let files = match Files::read(&inner.settings, inner.port) {
            Ok(files) => files,
            Err(error) => {
                self.unreadable += 1;
                if self.unreadable == PATIENCE {
                    tracing::warn!(%error, "TLS files have gone; what was loaded stays in force");
                }
                return;
            }
        };
        self.unreadable = 0;
        if files == self.seen {
            return;
        }
        match files.configure(&inner.settings, inner.port) {
            Ok(config) => {
                inner.present.store(Arc::new(config));
                inner.reloads.fetch_add(1, Ordering::Relaxed);
                tracing::info!(port = inner.port.section(), "new TLS files are in force");
            }
            Err(error) => {
                inner.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "new TLS files do not load; the old ones stay in force");
            }
        }
        self.seen = files;
    }
}
