//! TLS towards Redis.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fred::types::config::{TlsConfig, TlsConnector};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Error, RootCertStore};

use crate::config::redis::RedisTls;
use crate::tls::AnyName;

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
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// The configuration of clients.
pub(super) fn client(settings: &RedisTls) -> Result<TlsConfig, TlsError> {
    let roots = Arc::new(roots(settings)?);
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
    let verifier: Arc<dyn ServerCertVerifier> =
        if settings.verify_hostname { verifier } else { Arc::new(AnyName(verifier)) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&settings.certificate, &settings.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates("certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file("key", key, error))?;
            builder.with_client_auth_cert(chain, key)?
        }
        _ => return Err(TlsError::Incomplete),
    };
    Ok(TlsConfig::from(TlsConnector::from(config)))
}

fn roots(settings: &RedisTls) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        Some(path) => {
            for certificate in certificates("ca", path)? {
                roots.add(certificate)?;
            }
        }
        None => {
            let system = fred::rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
        }
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
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
