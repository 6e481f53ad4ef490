//! The harness itself: a server that refuses what is wrong is the only one worth asking.

use crate::harness::ApiServer;

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn the_api_server_keeps_what_is_right_and_refuses_what_is_wrong() {
    let api = ApiServer::start().await;
    api.install_crds().await;
    api.namespaces(&["tidegate"]);
    assert!(api.run("kubectl", &["get", "namespaces", "-o", "name"]).contains("namespace/tidegate"));
    for kind in ["envoyfilters.networking.istio.io", "backendtrafficpolicies.gateway.envoyproxy.io"] {
        api.run("kubectl", &["get", kind, "--all-namespaces"]);
    }

    let refused = |manifest: &str, why: &str| {
        let path = api.site().path("refused.yaml");
        std::fs::write(&path, manifest).unwrap();
        let output = api.command("kubectl").args(["apply", "--dry-run=server", "-f"]).arg(path).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(why), "{error}");
    };
    refused(
        "{ apiVersion: v1, kind: Service, metadata: { name: x, namespace: tidegate }, spec: { prots: [] } }",
        "unknown field \"spec.prots\"",
    );
    refused(
        "{ apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: { name: x, namespace: tidegate }, \
         spec: { action: CUSTUM } }",
        "Unsupported value: \"CUSTUM\"",
    );
}
