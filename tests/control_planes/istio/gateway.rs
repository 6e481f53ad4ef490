//! `ratelimit-gateway.yaml` and `request-authentication.yaml` at an ingress gateway.

use std::net::SocketAddr;

use serde_json::json;

use super::mesh::Mesh;
use crate::harness::{Client, Node, wait_for};

/// What a team has before it meets Tidegate: a gateway with a listener at the given address, and two routes.
fn routes(address: SocketAddr) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: istio-system }}
spec:
  selector: {{ istio: ingressgateway }}
  servers: [{{ hosts: ['*'], bind: {}, port: {{ number: {}, name: http, protocol: HTTP }} }}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: backend, namespace: default }}
spec:
  hosts: ['*']
  gateways: [istio-system/edge]
  http:
    - name: login
      match: [{{ uri: {{ exact: /login }} }}]
      route: [{{ destination: {{ host: backend.default.svc.cluster.local }} }}]
    - name: all
      route: [{{ destination: {{ host: backend.default.svc.cluster.local }} }}]
",
        address.ip(),
        address.port(),
    )
}

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn a_gateway_of_istiod_limits_requests() {
    let mesh = Mesh::start().await;
    let address = mesh.site.free_address();
    mesh.api.apply(&routes(address));
    let node = Node {
        name: "ingressgateway",
        namespace: "istio-system",
        label: ("istio", "ingressgateway"),
        kind: "router",
        address,
    };
    let envoy = mesh.istiod.proxy(&mesh.site, &node, address).await;
    let client = |number| Client::new(address, [127, 1, 1, number].into());
    wait_for("the route is there", || async { (client(1).status("/", &[]).await == 200).then_some(()) }).await;
    assert_eq!(client(1).get("/", &[]).await.header("ratelimit"), "", "limited before anything was applied");

    mesh.apply("request-authentication.yaml");
    mesh.apply("ratelimit-gateway.yaml");
    wait_for("the filters are in force", || async {
        let answer = client(2).get("/", &[("x-user-id", "mallory")]).await;
        assert_eq!(answer.status, 200);
        (!answer.header("ratelimit").is_empty() && answer.header("x-seen-user").is_empty()).then_some(())
    })
    .await;
    let before = envoy.access_log(1).await.len();

    // By address, and by route instead.
    assert_eq!(client(3).allowed("/", &[], 150).await, 100);
    assert_eq!(client(4).allowed("/login", &[], 10).await, 5);
    assert_eq!(client(4).status("/", &[]).await, 200);
    // By user: verified ones only, and services see no others.
    let (alice, forged) = (mesh.issuer.bearer("alice"), crate::token::Issuer::new().bearer("alice"));
    assert_eq!(client(5).status("/", &[("authorization", &forged)]).await, 401);
    for number in 10..40 {
        let answer = client(number).get("/", &[("authorization", &alice), ("x-user-id", "mallory")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-seen-user")), (200, "alice"));
    }
    assert_eq!(client(40).status("/", &[("authorization", &alice)]).await, 429);
    assert_eq!(client(40).status("/", &[("x-user-id", "alice")]).await, 200);

    // Which rule it was.
    let log = envoy.access_log(before + 141).await;
    let denied: Vec<_> = log.iter().filter(|line| line["status"] == 429).collect();
    let rules: Vec<_> = denied.iter().map(|line| &line["ratelimit"]["rule"]).collect();
    assert_eq!(rules, ["per-address", "login", "per-user"], "{denied:#?}");
    assert_eq!((&denied[0]["ratelimit"]["domain"], &denied[0]["ratelimit"]["limit"]), (&json!("edge"), &json!(100)));

    // Without Tidegate, requests pass: the file says so.
    drop(mesh.tidegate);
    wait_for("requests pass without decisions", || async { (client(3).status("/", &[]).await == 200).then_some(()) })
        .await;
}
