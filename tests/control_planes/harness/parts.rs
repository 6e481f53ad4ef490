//! The programs, resource definitions and charts that `scripts/mesh-parts` made.

use std::path::PathBuf;

use super::repository;

/// `.cache/mesh`, or the folder that `TIDEGATE_TEST_MESH` names.
fn mesh(path: &str) -> PathBuf {
    let folder = std::env::var_os("TIDEGATE_TEST_MESH").map_or_else(|| repository(".cache/mesh"), PathBuf::from);
    let path = folder.join(path);
    assert!(path.exists(), "{} is missing: run scripts/mesh-parts, which makes it", path.display());
    path
}

/// A program: `pilot-discovery`, `istioctl`, `kube-apiserver`, `kubectl`, `etcd`, `helm`, `egctl`, ...
pub fn part(name: &str) -> PathBuf {
    mesh(&format!("bin/{name}"))
}

/// The folder with custom resource definitions of `istio` or `gateway` (Gateway API and Envoy Gateway).
pub fn crds(name: &str) -> PathBuf {
    mesh(&format!("crds/{name}"))
}

/// The folder with the Helm chart of `istiod` or `gateway` (Envoy Gateway).
pub fn chart(name: &str) -> PathBuf {
    mesh(&format!("charts/{name}"))
}
