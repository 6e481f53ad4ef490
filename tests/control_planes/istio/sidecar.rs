//! `ratelimit-sidecar.yaml` at a workload.

use serde_json::json;

use super::mesh::Mesh;
use crate::harness::{Client, Node, wait_for};

/// The workload's port, where its sidecar listens, and where the workload itself does. Without rules of a firewall,
/// nothing is redirected, so clients connect to the sidecar.
fn workload(mesh: &Mesh, address: std::net::SocketAddr) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{ name: backend, namespace: default }}
spec:
  workloadSelector: {{ labels: {{ app: backend }} }}
  ingress:
    - port: {{ number: {port}, protocol: HTTP, name: http }}
      bind: {ip}
      captureMode: NONE
      defaultEndpoint: 0.0.0.0:{backend}
  egress: [{{ hosts: ['./*', 'tidegate/*'] }}]
",
        ip = address.ip(),
        port = address.port(),
        backend = mesh.backend.address.port(),
    )
}

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn a_sidecar_of_istiod_limits_requests() {
    let mesh = Mesh::start().await;
    let address = mesh.workload.free_address();
    mesh.api.apply(&workload(&mesh, address));
    let node = Node { name: "backend", namespace: "default", label: ("app", "backend"), kind: "sidecar", address };
    let envoy = mesh.istiod.proxy(&mesh.site, &node, address).await;
    let client = Client::new(address, [127, 1, 1, 1].into());
    wait_for("the route is there", || async { (client.status("/", &[]).await == 200).then_some(()) }).await;
    assert_eq!(client.get("/", &[]).await.header("ratelimit"), "", "limited before anything was applied");

    mesh.apply("ratelimit-sidecar.yaml");
    wait_for("the filter is in force", || async {
        (!client.get("/", &[]).await.header("ratelimit").is_empty()).then_some(())
    })
    .await;
    let before = envoy.access_log(1).await.len();
    assert_eq!(client.allowed("/", &[("x-user-id", "alice")], 100).await, 60);
    assert_eq!(client.status("/", &[("x-user-id", "bob")]).await, 200);
    let log = envoy.access_log(before + 62).await;
    let denied = log.iter().find(|line| line["status"] == 429).unwrap();
    assert_eq!((&denied["ratelimit"]["domain"], &denied["ratelimit"]["rule"]), (&json!("mesh"), &json!("per-user")));
}
