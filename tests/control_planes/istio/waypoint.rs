//! `ambient-waypoint.yaml`: what istiod tells a waypoint. A waypoint's traffic comes through tunnels with the mesh's
//! certificates, which are not there, so no requests are sent: the listeners that it is told of are read.

use serde_json::{Value, json};

use super::mesh::Mesh;
use crate::harness::Node;

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn a_waypoint_of_istiod_is_told_to_ask() {
    let mesh = Mesh::start_with(&[("PILOT_ENABLE_AMBIENT", "true")]).await;
    mesh.apply("ambient-waypoint.yaml");
    let node = |name| Node {
        name,
        namespace: "default",
        label: ("gateway.networking.k8s.io/gateway-name", name),
        kind: "waypoint",
        address: mesh.site.free_address(),
    };
    let internal =
        |told: &Value| find(told, &|value| value["name"] == "main_internal" && value["filterChains"].is_array());
    let filter = |told: &Value| find(&internal(told)?, &is_filter);
    let filter = mesh.istiod.listeners(&mesh.site, &node("waypoint"), filter).await;
    let service = &filter["grpcService"];
    assert_eq!(service["envoyGrpc"]["clusterName"], "outbound|8081||tidegate.tidegate.svc.cluster.local");
    assert_eq!((&service["timeout"], &filter["failureModeAllow"]), (&json!("10s"), &json!(true)));
    assert_eq!(filter["statusOnError"]["code"], "ServiceUnavailable");

    // It is that waypoint's policy, not everyone's.
    let told = mesh.istiod.listeners(&mesh.site, &node("other"), internal).await;
    assert_eq!(find(&told, &is_filter), None);
}

fn is_filter(value: &Value) -> bool {
    value["@type"] == "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
}

/// The first value below that `is` it.
fn find(value: &Value, is: &dyn Fn(&Value) -> bool) -> Option<Value> {
    if is(value) {
        return Some(value.clone());
    }
    match value {
        Value::Object(fields) => fields.values().find_map(|value| find(value, is)),
        Value::Array(values) => values.iter().find_map(|value| find(value, is)),
        _ => None,
    }
}
