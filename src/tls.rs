//! TLS towards the servers that we ask: what the connections to Redis, Postgres and an xDS server have in common.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that holds no certificates or key, or cannot be read.
    #[error("{field}: {path:?}: {reason}")]
    File {
        /// The field that names it.
        field: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("certificate and key belong together; set both or neither")]
    Incomplete,
    /// Certificates that do not go together.
    #[error("{0}")]
    Rejected(#[from] Error),
    /// No certificate authorities to trust.
    #[error("the system has no certificate authorities; name a file in ca")]
    NoRoots,
    /// The same, from the verifier.
    #[error("{0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// Trusts the authorities of a PEM file, or those of the system. Reads files.
///
/// # Errors
/// [`TlsError`] when there are none.
pub fn trusting(ca: Option<&Path>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates("ca", path)? {
                roots.add(certificate)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let provider = Arc::new(default_provider());
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

/// A client that accepts the servers that `verifier` does, and shows a certificate when it has one. Reads files.
///
/// # Errors
/// [`TlsError`] when certificate and key are not both there and a pair.
pub fn client(
    verifier: Arc<dyn ServerCertVerifier>,
    certificate: Option<&Path>,
    key: Option<&Path>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (certificate, key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates("certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file("key", key, error))?;
            Ok(builder.with_client_auth_cert(chain, key)?)
        }
        _ => Err(TlsError::Incomplete),
    }
}

fn certificates(field: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file(field, path, error))?;
    if certificates.is_empty() {
        return Err(file(field, path, "holds no certificate; a PEM file is needed"));
    }
    Ok(certificates)
}

fn file(field: &'static str, path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { field, path: path.to_owned(), reason: reason.to_string() }
}

/// Accepts a certificate for any name, as long as an authority we trust has signed it.
#[derive(Debug)]
pub struct AnyName(pub Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
