//! istiod, with its configuration in an API server, and Envoys that take theirs from it.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use super::{ApiServer, Client, Envoy, Process, Site, part, wait_for};

/// The control plane of a mesh. It ends when it is dropped.
pub struct Istiod {
    discovery: SocketAddr,
    _process: Process,
}

impl Istiod {
    /// Starts with the given extension providers, and returns once it is ready. Its resource definitions and the
    /// namespace `istio-system` must be there.
    ///
    /// What a stock Envoy cannot do is off: Istio's own filters, and everything that needs certificates from an agent.
    pub async fn start(api: &ApiServer, providers: &Value) -> Self {
        api.apply(
            "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: DISABLE } }",
        );
        let mesh = json!({
            "defaultProviders": {},
            "enableAutoMtls": false,
            "extensionProviders": providers,
            "accessLogFile": "",
        });
        let site = api.site();
        let path = site.path("mesh.yaml");
        std::fs::write(&path, mesh.to_string()).unwrap();
        let [discovery, http, monitoring, introspection] = [(); 4].map(|()| site.free_address());
        let mut command = Command::new(part("pilot-discovery"));
        command
            .arg("discovery")
            .arg("--kubeconfig")
            .arg(api.kubeconfig())
            .arg("--meshConfig")
            .arg(path)
            .args([format!("--grpcAddr={discovery}"), format!("--httpAddr={http}")])
            .args([format!("--monitoringAddr={monitoring}"), "--httpsAddr=".into(), "--secureGRPCAddr=".into()])
            .args(["--log_target", "stderr"])
            .args([format!("--ctrlz_address={}", introspection.ip()), format!("--ctrlz_port={}", introspection.port())])
            .current_dir(site.folder())
            .env_clear()
            .envs([("POD_NAME", "istiod"), ("POD_NAMESPACE", "istio-system"), ("CLUSTER_ID", "Kubernetes")])
            .envs([("ENABLE_CA_SERVER", "false"), ("PILOT_CERT_PROVIDER", "none")])
            .envs([("PILOT_ENABLE_METADATA_EXCHANGE", "false"), ("PILOT_ENABLE_ALPN_FILTER", "false")])
            .envs([("VALIDATION_WEBHOOK_CONFIG_NAME", ""), ("INJECTION_WEBHOOK_CONFIG_NAME", "")]);
        let mut process = Process::start(site, "istiod", &mut command);
        let ready = Client::new(http, [127, 0, 0, 1].into());
        wait_for("istiod is ready", || {
            process.assert_runs();
            async { (ready.try_get("/ready", &[]).await.ok()?.status == 200).then_some(()) }
        })
        .await;
        Self { discovery, _process: process }
    }

    /// An Envoy that takes everything from here. Clients are expected at `address`, where istiod is to put a listener.
    pub async fn proxy(&self, site: &Site, node: &Node, address: SocketAddr) -> Envoy {
        let admin = site.free_address();
        let bootstrap = self.bootstrap(node, admin);
        let envoy = Envoy::run(site, node.name, &bootstrap.to_string(), admin, address).await;
        wait_for("the listener is there", || async { tokio::net::TcpStream::connect(address).await.ok() }).await;
        envoy
    }

    fn bootstrap(&self, node: &Node, admin: SocketAddr) -> Value {
        let socket = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
        let ads = json!({ "ads": {}, "resource_api_version": "V3" });
        json!({
            "node": node.node(),
            "admin": { "address": socket(admin) },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": "istiod" } }],
                },
                "lds_config": ads,
                "cds_config": ads,
            },
            "static_resources": { "clusters": [{
                "name": "istiod",
                "type": "STATIC",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                },
                "load_assignment": {
                    "cluster_name": "istiod",
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(self.discovery) } }] }],
                },
            }] },
        })
    }
}

/// Who an Envoy is in the mesh.
pub struct Node {
    /// Of its pod; its files on the site have it, too.
    pub name: &'static str,
    pub namespace: &'static str,
    /// A label and its value, which selectors match.
    pub label: (&'static str, &'static str),
    /// `router` or `sidecar`.
    pub kind: &'static str,
    /// Its address: with a sidecar, its workload's.
    pub address: SocketAddr,
}

impl Node {
    fn node(&self) -> Value {
        let Self { name, namespace, label: (key, value), kind, address } = self;
        json!({
            "id": format!("{kind}~{}~{name}.{namespace}~{namespace}.svc.cluster.local", address.ip()),
            "cluster": name,
            "metadata": {
                "NAMESPACE": namespace,
                "LABELS": { *key: value },
                "CLUSTER_ID": "Kubernetes",
                "ISTIO_VERSION": "1.31.0",
                // So that a sidecar gets its inbound listener.
                "INTERCEPTION_MODE": "REDIRECT",
            },
        })
    }
}
