//! An edge gateway that asks with the rate limit filter, and an inner one that asks for authorization
//! (`ext-authz-policy.yaml`): the picture in `istio/README.md`.

use serde_json::{Value, json};

use super::mesh::{Mesh, logged};
use crate::harness::{Client, Node, wait_for};

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn two_gateways_limit_and_charge_no_request_twice() {
    let mesh = Mesh::start().await;
    let [edge, inner] = [(); 2].map(|()| mesh.site.free_address());
    // In another namespace than the gateways: they would get the labels of its workload, by its address.
    mesh.service("default", "inner-gateway", "inner-gateway", 80, "http", inner);
    mesh.gateway("ingressgateway", edge, "inner-gateway.default.svc.cluster.local");
    mesh.gateway("inner-gateway", inner, "backend.default.svc.cluster.local");
    for file in ["request-authentication.yaml", "ratelimit-gateway.yaml", "ext-authz-policy.yaml"] {
        mesh.apply(file);
    }
    let inner_envoy = mesh.istiod.proxy(&mesh.site, &Node::gateway("inner-gateway", inner), inner).await;
    let _edge_envoy = mesh.istiod.proxy(&mesh.site, &Node::gateway("ingressgateway", edge), edge).await;
    let outside = |number| Client::new(edge, [127, 1, 1, number].into());
    let inside = Client::new(inner, [127, 1, 2, 1].into());
    wait_for("both ask", || async {
        let through = outside(1).get("/", &[]).await;
        let within = inside.get("/", &[("x-user-id", "probe")]).await;
        let asked =
            [through, within].iter().all(|answer| answer.status == 200 && !answer.header("ratelimit").is_empty());
        asked.then_some(())
    })
    .await;

    // 30 of alice pass the edge and are counted once at each; the 31st does not get to the inner gateway.
    let alice = mesh.issuer.bearer("alice");
    assert_eq!(outside(2).allowed("/through", &[("authorization", &alice)], 100).await, 30);
    // 60 are hers in the mesh: 30 are left.
    assert_eq!(inside.allowed("/within", &[("x-user-id", "alice")], 100).await, 30);
    assert_eq!(logged(&inner_envoy, "/through", 30).await.len(), 30);

    let denied = inside.get("/denied", &[("x-user-id", "alice")]).await;
    assert_eq!((denied.status.as_u16(), denied.header("ratelimit-policy")), (429, r#""mesh-per-user";q=60;w=60"#));
    assert_ne!(denied.header("retry-after"), "");
    let problem: Value = serde_json::from_slice(&denied.body).unwrap();
    assert_eq!((&problem["status"], &problem["violated-policies"]), (&json!(429), &json!(["mesh-per-user"])));
    let line = &logged(&inner_envoy, "/denied", 1).await[0];
    let decision = &line["ext_authz"];
    assert_eq!((&line["status"], &decision["domain"]), (&json!(429), &json!("mesh")));
    assert_eq!((&decision["rule"], &decision["limit"]), (&json!("mesh-per-user"), &json!(60)));

    // What the policy leaves out is not asked about, whoever asks.
    assert_eq!(inside.status("/healthz", &[("x-user-id", "alice")]).await, 200);
    // It counts by the address that the edge saw, whatever a client writes into a header: one counter goes down.
    for number in 0..70 {
        let forged = format!("192.0.2.{number}");
        assert_eq!(outside(3).status("/forged", &[("x-forwarded-for", &forged)]).await, 200);
    }
    let line = logged(&inner_envoy, "/forged", 70).await.pop().unwrap();
    let decision = &line["ext_authz"];
    assert_eq!((&decision["rule"], &decision["remaining"]), (&json!("mesh-per-address"), &json!(50)));

    // Without Tidegate, requests pass: the files say so.
    drop(mesh.tidegate);
    assert_eq!(inside.status("/", &[("x-user-id", "alice")]).await, 200);
    assert_eq!(outside(2).status("/", &[("authorization", &alice)]).await, 200);
}
