//! `ratelimit-gateway.yaml` and `request-authentication.yaml` at an ingress gateway.

use serde_json::json;

use super::mesh::{Mesh, logged};
use crate::harness::{Client, Node, wait_for};
use crate::token::{Issuer, user_seen};

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn a_gateway_of_istiod_limits_requests() {
    let mesh = Mesh::start().await;
    let address = mesh.site.free_address();
    mesh.gateway("ingressgateway", address, "backend.default.svc.cluster.local");
    let node = Node::gateway("ingressgateway", address);
    let envoy = mesh.istiod.proxy(&mesh.site, &node, address).await;
    let client = |number| Client::new(address, [127, 1, 1, number].into());
    wait_for("the route is there", || async { (client(1).status("/", &[]).await == 200).then_some(()) }).await;
    assert_eq!(client(1).get("/", &[]).await.header("ratelimit"), "", "limited before anything was applied");

    mesh.apply("request-authentication.yaml");
    mesh.apply("ratelimit-gateway.yaml");
    wait_for("the filters are in force", || async {
        let answer = client(2).get("/echo", &[("x-user-id", "mallory")]).await;
        assert_eq!(answer.status, 200);
        (!answer.header("ratelimit").is_empty() && user_seen(&answer.body).is_empty()).then_some(())
    })
    .await;

    // By address, and by route instead.
    assert_eq!(client(3).allowed("/address", &[], 150).await, 100);
    assert_eq!(client(4).allowed("/login", &[], 10).await, 5);
    assert_eq!(client(4).status("/", &[]).await, 200);
    // By user: verified ones only, and services see no others.
    let (alice, forged) = (mesh.issuer.bearer("alice"), Issuer::new().bearer("alice"));
    assert_eq!(client(5).status("/", &[("authorization", &forged)]).await, 401);
    for number in 10..40 {
        let answer = client(number).get("/echo", &[("authorization", &alice), ("x-user-id", "mallory")]).await;
        assert_eq!((answer.status.as_u16(), user_seen(&answer.body)), (200, "alice".to_owned()));
    }
    assert_eq!(client(40).status("/user", &[("authorization", &alice)]).await, 429);
    assert_eq!(client(40).status("/", &[("x-user-id", "alice")]).await, 200);

    // Which rule it was.
    for (path, lines, rule, limit) in
        [("/address", 101, "per-address", 100), ("/login", 6, "login", 5), ("/user", 1, "per-user", 30)]
    {
        let denied = logged(&envoy, path, lines).await.pop().unwrap();
        assert_eq!((&denied["status"], &denied["ratelimit"]["domain"]), (&json!(429), &json!("edge")), "{denied}");
        assert_eq!((&denied["ratelimit"]["rule"], &denied["ratelimit"]["limit"]), (&json!(rule), &json!(limit)));
    }

    // Without Tidegate, requests pass: the file says so.
    drop(mesh.tidegate);
    wait_for("requests pass without decisions", || async { (client(3).status("/", &[]).await == 200).then_some(()) })
        .await;
}
