//! `istio/envoy-gateway/`: what Envoy Gateway makes of it, in a real Envoy, limited by a real Tidegate.
//!
//! Its translator works without a cluster. What it leaves to the running controller is made here: addresses of the
//! Services, the cluster of the rate limit service, and the rules, which the controller hands out over xDS.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::harness::{Backend, Client, Envoy, Site, Tidegate, TidegateOptions, part, repository, succeeded};
use crate::token::Issuer;

/// What a team has before it meets Tidegate.
const TEAM: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: envoy-gateway }
spec: { controllerName: gateway.envoyproxy.io/gatewayclass-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: default }
spec:
  gatewayClassName: envoy-gateway
  listeners: [{ name: http, protocol: HTTP, port: 8888 }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: backend, namespace: default }
spec:
  parentRefs: [{ name: edge }]
  rules: [{ backendRefs: [{ name: backend, port: 8000 }] }]
---
apiVersion: v1
kind: Namespace
metadata: { name: default }
---
apiVersion: v1
kind: Namespace
metadata: { name: tidegate }
---
apiVersion: v1
kind: Service
metadata: { name: backend, namespace: default }
spec: { clusterIP: 10.96.1.1, ports: [{ name: http, port: 8000, targetPort: 8000 }] }
---
apiVersion: v1
kind: Service
metadata: { name: tidegate, namespace: tidegate }
spec: { clusterIP: 10.96.1.2, ports: [{ name: grpc, port: 8081, targetPort: 8081 }] }
";

/// The rules of `rate-limit.yaml` as the controller hands them out, for the one route.
const RULES: &str = "
domain: default/edge/http
descriptors:
  - key: httproute/default/backend/rule/0/match/0/*
    value: httproute/default/backend/rule/0/match/0/*
    descriptors:
      - key: masked_remote_address
        value: 0.0.0.0/0
        descriptors:
          - key: remote_address
            rate_limit: { unit: minute, requests_per_unit: 100 }
      - key: rule-1-match-0
        rate_limit: { unit: minute, requests_per_unit: 30 }
      - key: rule-2-path
        value: rule-2-path
        descriptors:
          - key: masked_remote_address
            value: 0.0.0.0/0
            descriptors:
              - key: remote_address
                rate_limit: { unit: hour, requests_per_unit: 5 }
";

/// What the translator makes of our files and the team's: the resources of each kind, and its verdicts on the policies.
struct Translation {
    listeners: Vec<Value>,
    clusters: Vec<Value>,
    endpoints: Vec<Value>,
    routes: Vec<Value>,
    policies: Vec<Value>,
}

fn translate(site: &Site, issuer: &Issuer) -> Translation {
    let mut manifests = TEAM.to_owned();
    for file in ["rate-limit.yaml", "security-policy.yaml"] {
        let text = std::fs::read_to_string(repository("istio/envoy-gateway").join(file)).unwrap();
        manifests += "---\n";
        // Its keys, without a network.
        manifests += &text.replace(
            "remoteJWKS:\n          uri: https://issuer.example.com/.well-known/jwks.json",
            &format!("localJWKS: {{ type: Inline, inline: '{}' }}", issuer.jwks()),
        );
    }
    let input = site.path("gateway.yaml");
    std::fs::write(&input, manifests).unwrap();
    let output = std::process::Command::new(part("egctl"))
        .args(["x", "translate", "--from", "gateway-api", "--to", "gateway-api,xds", "-o", "json", "-f"])
        .arg(input)
        .env_clear()
        .env("HOME", site.folder())
        .output()
        .unwrap();
    let text = succeeded("egctl", &output);
    let all: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));

    let dumps = all["xds"]["default/edge"]["configs"].as_array().unwrap();
    // Each kind has a dump of its own, which holds them at different depths.
    let resources = |kind: &str| {
        let mut found = Vec::new();
        dumps.iter().for_each(|dump| collect(dump, &format!("type.googleapis.com/{kind}"), &mut found));
        found
    };
    let policies = ["backendTrafficPolicies", "clientTrafficPolicies", "securityPolicies"];
    Translation {
        listeners: resources("envoy.config.listener.v3.Listener"),
        clusters: resources("envoy.config.cluster.v3.Cluster"),
        endpoints: resources("envoy.config.endpoint.v3.ClusterLoadAssignment"),
        routes: resources("envoy.config.route.v3.RouteConfiguration"),
        policies: policies.iter().flat_map(|kind| all[kind].as_array().cloned().unwrap_or_default()).collect(),
    }
}

/// The outermost messages of a type, without the mark of it.
fn collect(value: &Value, kind: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.get("@type").is_some_and(|is| is == kind) => {
            let mut fields: Map<_, _> = fields.clone();
            fields.remove("@type");
            found.push(Value::Object(fields));
        }
        Value::Object(fields) => fields.values().for_each(|value| collect(value, kind, found)),
        Value::Array(values) => values.iter().for_each(|value| collect(value, kind, found)),
        _ => {}
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socketAddress": { "address": address.ip().to_string(), "portValue": address.port() } })
}

/// Calls `change` on every value below.
fn walk(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    change(value);
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| walk(value, change)),
        Value::Array(values) => values.iter_mut().for_each(|value| walk(value, change)),
        _ => {}
    }
}

/// A bootstrap with all of it static: no control plane is there to serve it.
fn bootstrap(
    translation: &Translation,
    admin: SocketAddr,
    listener: SocketAddr,
    tidegate: SocketAddr,
    backend: SocketAddr,
) -> Value {
    let mut listener_config = translation
        .listeners
        .iter()
        .find(|listener| listener["name"] == "default/edge/http")
        .expect("the gateway's listener")
        .clone();
    listener_config["address"] = socket(listener);
    let routes = &translation.routes;
    walk(&mut listener_config, &mut |value| {
        let Some(name) = value.get("rds").map(|rds| rds["routeConfigName"].clone()) else { return };
        let fields = value.as_object_mut().unwrap();
        fields.remove("rds");
        let config = routes.iter().find(|config| config["name"] == name).expect("the listener's routes");
        fields.insert("routeConfig".to_owned(), config.clone());
    });
    // More time for decisions: a test machine may be busy.
    walk(&mut listener_config, &mut |value| {
        let asks = value.get("envoyGrpc").is_some() && value.get("timeout").is_some_and(|timeout| timeout == "0.020s");
        if asks || value.get("rateLimitService").is_some() {
            value["timeout"] = json!("10s");
        }
    });

    let mut clusters = Vec::new();
    for cluster in &translation.clusters {
        let mut cluster = cluster.clone();
        let service = cluster["edsClusterConfig"]["serviceName"].clone();
        let mut endpoints = translation
            .endpoints
            .iter()
            .find(|endpoints| endpoints["clusterName"] == service)
            .expect("the cluster's endpoints")
            .clone();
        walk(&mut endpoints, &mut |value| {
            if let Some(ip) = value.get("address").and_then(|address| address["socketAddress"]["address"].as_str()) {
                let to = match ip {
                    "10.96.1.1" => backend,
                    "10.96.1.2" => tidegate,
                    other => panic!("no Service has the address {other}"),
                };
                value["address"] = socket(to);
            }
        });
        let fields = cluster.as_object_mut().unwrap();
        fields.remove("edsClusterConfig");
        fields.insert("type".to_owned(), json!("STATIC"));
        fields.insert("loadAssignment".to_owned(), endpoints);
        clusters.push(cluster);
    }
    clusters.push(json!({
        "name": "ratelimit_cluster",
        "type": "STATIC",
        "loadAssignment": {
            "clusterName": "ratelimit_cluster",
            "endpoints": [{ "lbEndpoints": [{ "endpoint": { "address": socket(tidegate) } }] }],
        },
        "typedExtensionProtocolOptions": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicitHttpConfig": { "http2ProtocolOptions": {} },
            },
        },
    }));
    json!({
        "admin": { "address": socket(admin) },
        "staticResources": { "listeners": [listener_config], "clusters": clusters },
    })
}

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn what_envoy_gateway_makes_of_the_files_limits_requests() {
    let site = Site::new();
    let issuer = Issuer::new();
    let translation = translate(&site, &issuer);
    assert_eq!(translation.policies.len(), 3);
    for policy in &translation.policies {
        for ancestor in policy["status"]["ancestors"].as_array().expect("a verdict") {
            let conditions = ancestor["conditions"].as_array().unwrap();
            assert!(conditions.iter().all(|condition| condition["status"] == "True"), "{policy:#}");
        }
    }

    let backend = Backend::start(&site);
    let rules = site.path("rules.yaml");
    std::fs::write(&rules, RULES).unwrap();
    let tidegate = Tidegate::start(&site, TidegateOptions { rules, ..TidegateOptions::default() }).await;
    let (admin, listener) = (site.free_address(), site.free_address());
    let bootstrap = bootstrap(&translation, admin, listener, tidegate.grpc, backend.address);
    let envoy = Envoy::run(&site, "envoy", &bootstrap.to_string(), admin, listener).await;
    let client = |number| Client::new(listener, [127, 1, 1, number].into());

    // By address, on the path besides.
    assert_eq!(client(1).allowed("/", &[], 150).await, 100);
    assert_eq!(client(2).allowed("/login", &[], 10).await, 5);
    assert_eq!(client(2).status("/", &[]).await, 200);
    // By user: verified ones only, and services see no others.
    let alice = issuer.bearer("alice");
    for number in 10..40 {
        let answer = client(number).get("/", &[("authorization", &alice), ("x-user-id", "mallory")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-seen-user")), (200, "alice"));
    }
    assert_eq!(client(40).status("/", &[("authorization", &alice)]).await, 429);
    let answer = client(40).get("/", &[("x-user-id", "alice")]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-seen-user")), (200, ""));
    for name in ["error", "failure_mode_allowed"] {
        assert_eq!(envoy.stat(&format!("cluster.httproute/default/backend/rule/0.ratelimit.{name}")).await, 0);
    }
}
