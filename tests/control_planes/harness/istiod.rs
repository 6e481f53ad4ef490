//! istiod, with its configuration in an API server, and Envoys that take theirs from it.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use super::{ApiServer, Client, Envoy, Process, Site, envoy_binary, part, wait_for};

/// The control plane of a mesh. It ends when it is dropped.
pub struct Istiod {
    discovery: SocketAddr,
    http: Client,
    _process: Process,
}

impl Istiod {
    /// Starts with the given extension providers and more environment, and returns once it is ready. Its resource definitions and the
    /// namespace `istio-system` must be there.
    ///
    /// What a stock Envoy cannot do is off: Istio's own filters, and everything that needs certificates from an agent.
    pub async fn start(api: &ApiServer, providers: &Value, environment: &[(&str, &str)]) -> Self {
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
            .envs(environment.iter().copied())
            .envs([("VALIDATION_WEBHOOK_CONFIG_NAME", ""), ("INJECTION_WEBHOOK_CONFIG_NAME", "")]);
        let mut process = Process::start(site, "istiod", &mut command);
        let http = Client::new(http, [127, 0, 0, 1].into());
        wait_for("istiod is ready", || {
            process.assert_runs();
            async { (http.try_get("/ready", &[]).await.ok()?.status == 200).then_some(()) }
        })
        .await;
        Self { discovery, http, _process: process }
    }

    /// An Envoy that takes everything from here. Clients are expected at `address`, where istiod is to put a listener.
    pub async fn proxy(&self, site: &Site, node: &Node, address: SocketAddr) -> Envoy {
        let admin = site.free_address();
        let bootstrap = self.bootstrap(node, admin);
        let envoy = Envoy::run(site, node.name, &bootstrap.to_string(), admin, address).await;
        wait_for("the listener is there", || async { tokio::net::TcpStream::connect(address).await.ok() }).await;
        envoy
    }

    /// The listeners that a node is told of, by an Envoy that need not become ready: it asks for nothing else, since it
    /// would wait for certificates that never come.
    ///
    /// Waits until `what` is found in them.
    pub async fn listeners<T>(&self, site: &Site, node: &Node, what: impl Fn(&Value) -> Option<T>) -> T {
        let path = site.path(&format!("{}.json", node.name));
        let mut bootstrap = self.bootstrap(node, site.free_address());
        bootstrap["dynamic_resources"].as_object_mut().unwrap().remove("cds_config");
        std::fs::write(&path, bootstrap.to_string()).unwrap();
        let mut command = Command::new(envoy_binary());
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "--config-path"]);
        let _envoy = Process::start(site, node.name, command.arg(path));
        let dump = format!("/debug/config_dump?proxyID={}.{}", node.name, node.namespace);
        wait_for("the node is told of listeners", || async {
            let answer = self.http.try_get(&dump, &[]).await.ok()?;
            let told: Value = serde_json::from_slice(&answer.body).ok()?;
            let mut configs = told["configs"].as_array()?.iter();
            configs
                .find_map(|config| config.get("dynamicListeners").filter(|listeners| listeners.is_array()))
                .and_then(&what)
        })
        .await
    }

    fn bootstrap(&self, node: &Node, admin: SocketAddr) -> Value {
        let socket = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
        let ads = json!({ "ads": {}, "resource_api_version": "V3" });
        json!({
            "node": node.node(),
            "admin": { "address": socket(admin) },
            // Waypoints hand connections on to themselves.
            "bootstrap_extensions": [{
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
                },
            }],
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
    /// `router`, `sidecar` or `waypoint`.
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
