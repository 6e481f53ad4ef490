//! External authorization, as `deploy/envoy/ext-authz.yaml` sets it up.

mod access_log;
mod answers;
mod failures;
mod grpc;
mod hostile;
mod tls;
mod tokens;

use std::net::SocketAddr;

use self::tokens::Issuer;
use crate::harness::{Backend, Configuration, Envoy, Gateway, Site, TidegateOptions, repository};

/// A client that the deny list turns away, and one that the allow list lets through.
const DENIED: u8 = 66;
const ALLOWED: u8 = 77;

/// `deploy/envoy/tidegate/ext-authz.yaml`, with addresses of ours in its lists.
fn settings() -> String {
    let path = repository("deploy/envoy/tidegate/ext-authz.yaml");
    let mut text = std::fs::read_to_string(path).unwrap();
    let ours = |number: u8| format!("127.1.1.{number}");
    for (example, ours) in [("203.0.113.0/24", ours(DENIED)), ("198.51.100.7", ours(ALLOWED))] {
        assert_eq!(text.matches(example).count(), 1, "{example} must stand there exactly once");
        text = text.replace(example, &ours);
    }
    text
}

/// The options that go with [`settings`].
fn tidegate(settings: String) -> TidegateOptions {
    TidegateOptions { file: Some(settings), ..TidegateOptions::default() }
}

/// The configuration, believing tokens of `issuer`.
fn trusting(configuration: Configuration, issuer: &Issuer) -> Configuration {
    let [x, y] = issuer.coordinates();
    configuration
        .replace("-eeXLQgDn6cYMPhSUknxxWSQHXcnYPk6NNMWVUVO8Qs", &x)
        .replace("IXbyIM4xYrMjIhNIw4NmQ9T91SloJF8b8qwmVq-W8wc", &y)
}

async fn gateway() -> (Gateway, Issuer) {
    let issuer = Issuer::new();
    let configuration = trusting(Configuration::ext_authz(), &issuer);
    (Gateway::start_with(configuration, tidegate(settings())).await, issuer)
}

/// An Envoy whose Tidegate is somebody else, or nobody.
async fn envoy_asking(site: &Site, configuration: Configuration, address: SocketAddr) -> (Envoy, Backend) {
    let backend = Backend::start(site);
    let envoy = Envoy::start(site, configuration, &[address], backend.address).await;
    (envoy, backend)
}
