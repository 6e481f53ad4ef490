//! What these tests start: the servers of the Envoy tests, and the control planes, each on the free ports of a site.
//!
//! ```ignore
//! let api = ApiServer::start().await;      // etcd and kube-apiserver; both go when it is dropped
//! api.install_crds().await;                // Istio's, Gateway API's, Envoy Gateway's
//! api.apply("apiVersion: v1\nkind: Namespace\nmetadata: { name: tidegate }");
//! api.run("kubectl", &["get", "pods", "-n", "tidegate"]);  // any program that reads KUBECONFIG; fails unless it succeeds
//! let output = api.command("helm").args(["lint", "deploy/helm/tidegate"]).output().unwrap();
//! ```

mod api_server;
mod istiod;
mod parts;
#[path = "../../envoy/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "these tests use a part")]
mod servers;

use std::future::Future;
use std::process::Output;
use std::time::Duration;

pub use api_server::ApiServer;
pub use istiod::{Istiod, Node};
pub use parts::{chart, crds, part};
pub use servers::{Backend, Client, Envoy, Process, Site, Tidegate, TidegateOptions, envoy_binary, repository};

/// How long a control plane may take: it starts in seconds, but compilers may run beside it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `probe` has something, and fails the test when it takes too long.
pub async fn wait_for<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    servers::within(PATIENCE, what, probe).await
}

/// What a program wrote to standard output; fails the test unless it succeeded.
pub fn succeeded(what: &str, output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
    out.into_owned()
}
