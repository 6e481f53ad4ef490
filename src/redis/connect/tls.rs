//! TLS towards Redis.

use std::sync::Arc;

use fred::types::config::{TlsConfig, TlsConnector};
use rustls::client::danger::ServerCertVerifier;

use crate::config::redis::RedisTls;
use crate::tls::{self, AnyName, TlsError};

/// The configuration of clients.
pub(super) fn client(settings: &RedisTls) -> Result<TlsConfig, TlsError> {
    let known = tls::trusting(settings.ca.as_deref())?;
    let verifier: Arc<dyn ServerCertVerifier> = if settings.verify_hostname { known } else { Arc::new(AnyName(known)) };
    let config = tls::client(verifier, settings.certificate.as_deref(), settings.key.as_deref())?;
    Ok(TlsConfig::from(TlsConnector::from(config)))
}
