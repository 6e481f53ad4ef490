//! Sidecars: `ratelimit-sidecar.yaml`, and `ext-authz-policy.yaml` at a workload.

use serde_json::json;

use super::mesh::{Mesh, logged};
use crate::harness::{Client, Node, wait_for};

const ALICE: (&str, &str) = ("x-user-id", "alice");
const BOB: (&str, &str) = ("x-user-id", "bob");

/// A workload with a sidecar that limits alice once a file is applied; and the access log's line about her denial.
async fn limits(app: &'static str, file: &str) -> serde_json::Value {
    let mesh = Mesh::start_with(app, &[]).await;
    let address = mesh.workload.free_address();
    mesh.sidecar(address);
    let node = Node { name: "backend", namespace: "default", label: ("app", app), kind: "sidecar", address };
    let envoy = mesh.istiod.proxy(&mesh.site, &node, address).await;
    let client = Client::new(address, [127, 1, 1, 1].into());
    wait_for("the route is there", || async { (client.status("/", &[]).await == 200).then_some(()) }).await;
    assert_eq!(client.get("/", &[BOB]).await.header("ratelimit"), "", "limited before anything was applied");

    mesh.apply(file);
    wait_for("the filter is in force", || async {
        (!client.get("/", &[BOB]).await.header("ratelimit").is_empty()).then_some(())
    })
    .await;
    assert_eq!(client.allowed("/alice", &[ALICE], 100).await, 60);
    assert_eq!(client.status("/bob", &[BOB]).await, 200);
    let denied = logged(&envoy, "/alice", 61).await.pop().unwrap();
    assert_eq!(denied["status"], 429);
    denied
}

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn a_sidecar_of_istiod_limits_requests() {
    let denied = limits("backend", "ratelimit-sidecar.yaml").await;
    assert_eq!(
        (&denied["ratelimit"]["domain"], &denied["ratelimit"]["rule"]),
        (&json!("mesh"), &json!("mesh-per-user"))
    );
}

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn a_sidecar_of_istiod_asks_for_authorization() {
    let denied = limits("internal", "ext-authz-policy.yaml").await;
    assert_eq!(
        (&denied["ext_authz"]["domain"], &denied["ext_authz"]["rule"]),
        (&json!("mesh"), &json!("mesh-per-user"))
    );
}
