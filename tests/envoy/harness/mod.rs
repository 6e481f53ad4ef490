//! What a test needs: a site (addresses and files of its own), the three servers, and a client.

mod backend;
mod client;
mod envoy;
mod process;
mod site;
mod tidegate;
mod traffic;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use backend::Backend;
#[allow(unused_imports, reason = "other test programs read answers of their own")]
pub use client::Answer;
pub use client::Client;
pub use envoy::{Configuration, Envoy, binary as envoy_binary};
#[allow(unused_imports, reason = "other test programs start more servers")]
pub use process::Process;
pub use site::Site;
pub use tidegate::{Tidegate, TidegateOptions};
pub use traffic::Traffic;

/// How long a condition may take to come true before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file or folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Waits until `probe` has something, and fails the test when it takes too long.
pub async fn eventually<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(PATIENCE, what, probe).await
}

/// The same with another patience.
pub async fn within<T, F>(patience: Duration, what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let give_up = Instant::now() + patience;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < give_up, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An Envoy, the Tidegate it asks, and the backend it protects.
pub struct Gateway {
    pub envoy: Envoy,
    pub tidegate: Tidegate,
    pub backend: Backend,
    /// Its address and folder stay its own as long as this lives.
    _site: Site,
}

impl Gateway {
    /// `deploy/envoy/ratelimit.yaml` with `deploy/envoy/rules`.
    pub async fn start() -> Self {
        Self::start_with(Configuration::ratelimit(), TidegateOptions::default()).await
    }

    pub async fn start_with(configuration: Configuration, options: TidegateOptions) -> Self {
        let site = Site::new();
        let backend = Backend::start(&site);
        let tidegate = Tidegate::start(&site, options).await;
        let envoy = Envoy::start(&site, configuration, &[tidegate.grpc], backend.address).await;
        envoy.finds_healthy("tidegate", 1).await;
        Self { envoy, tidegate, backend, _site: site }
    }

    /// A client with the given address: every address is another client.
    pub fn client(&self, number: u8) -> Client {
        Client::new(self.envoy.address, [127, 1, 1, number].into())
    }

    /// Fails unless Envoy got a decision for every request.
    pub async fn assert_no_decision_was_lost(&self) {
        self.envoy.assert_no_decision_was_lost().await;
    }
}
