//! The mesh around that Envoy.

use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::{ApiServer, Backend, Envoy, Istiod, Site, Tidegate, TidegateOptions, repository, wait_for};
use crate::token::Issuer;

pub struct Mesh {
    pub api: ApiServer,
    pub istiod: Istiod,
    pub tidegate: Tidegate,
    pub backend: Backend,
    pub issuer: Issuer,
    pub site: Site,
    /// The backend's, alone there: istiod knows a workload's labels by its address.
    pub workload: Site,
}

impl Mesh {
    /// The control plane, with `istio/ext-authz-provider.yaml` in its configuration, a Tidegate with the rules and
    /// settings of `istio/`, and a backend, both of which it knows.
    pub async fn start() -> Self {
        Self::start_with("backend", &[]).await
    }

    /// With another label `app` of the backend, and more environment for istiod.
    pub async fn start_with(app: &str, environment: &[(&str, &str)]) -> Self {
        let (site, workload) = (Site::new(), Site::new());
        let backend = Backend::start(&workload);
        let file = Some(std::fs::read_to_string(repository("istio/tidegate.yaml")).unwrap());
        let options = TidegateOptions { rules: repository("istio/rules"), file, ..TidegateOptions::default() };
        let tidegate = Tidegate::start(&site, options).await;
        let api = ApiServer::start().await;
        api.install_crds().await;
        api.namespaces(&["istio-system", "tidegate"]);
        let values: Value = serde_saphyr::from_str(&patient("ext-authz-provider.yaml")).unwrap();
        let istiod = Istiod::start(&api, &values["meshConfig"]["extensionProviders"], environment).await;
        let mesh = Self { api, istiod, tidegate, backend, issuer: Issuer::new(), site, workload };
        // Stands in for Tidegate's Service: an API server takes no loopback addresses as endpoints of a Service.
        mesh.service("tidegate", "tidegate", "tidegate", 8081, "grpc", mesh.tidegate.grpc);
        mesh.service("default", "backend", app, 8000, "http", mesh.backend.address);
        mesh.apply("access-log.yaml");
        mesh
    }

    /// Makes a service of the mesh known, `<name>.<namespace>.svc.cluster.local`, with one workload.
    pub fn service(&self, namespace: &str, name: &str, app: &str, port: u16, protocol: &str, at: SocketAddr) {
        self.api.apply(&format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  hosts: [{name}.{namespace}.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{ number: {port}, name: {protocol}, protocol: {} }}]
  endpoints: [{{ address: {}, labels: {{ app: {app} }}, ports: {{ {protocol}: {} }} }}]
",
            protocol.to_uppercase(),
            at.ip(),
            at.port(),
        ));
    }

    /// Makes a gateway with a listener at the given address: for pods with a label `istio`, and with routes to a service.
    pub fn gateway(&self, label: &str, address: SocketAddr, service: &str) {
        self.api.apply(&format!(
            "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: {label}, namespace: istio-system }}
spec:
  selector: {{ istio: {label} }}
  servers: [{{ hosts: ['*'], bind: {}, port: {{ number: {}, name: http, protocol: HTTP }} }}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: {label}, namespace: istio-system }}
spec:
  hosts: ['*']
  gateways: [{label}]
  http:
    - name: login
      match: [{{ uri: {{ exact: /login }} }}]
      route: [{{ destination: {{ host: {service} }} }}]
    - name: all
      route: [{{ destination: {{ host: {service} }} }}]
",
            address.ip(),
            address.port(),
        ));
    }

    /// Makes the backend a workload with a sidecar, which listens at the given address. Without rules of a firewall,
    /// nothing is redirected, so clients connect to the sidecar.
    pub fn sidecar(&self, address: SocketAddr) {
        self.api.apply(&format!(
            "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{ name: default, namespace: default }}
spec:
  ingress:
    - port: {{ number: {}, protocol: HTTP, name: http }}
      bind: {}
      captureMode: NONE
      defaultEndpoint: 0.0.0.0:{}
  egress: [{{ hosts: ['./*', 'tidegate/*'] }}]
",
            address.port(),
            address.ip(),
            self.backend.address.port(),
        ));
    }

    /// Applies a file of `istio/`.
    pub fn apply(&self, file: &str) {
        let text = patient(file);
        // Its keys, without a network.
        let uri = "jwksUri: https://issuer.example.com/.well-known/jwks.json";
        self.api.apply(&text.replace(uri, &format!("jwks: '{}'", self.issuer.jwks())));
    }
}

/// The lines of an access log about a path, once there are so many.
pub async fn logged(envoy: &Envoy, path: &str, lines: usize) -> Vec<Value> {
    wait_for("lines in the access log", || async {
        let mut log = envoy.access_log(1).await;
        log.retain(|line| line["path"] == path);
        (log.len() >= lines).then_some(log)
    })
    .await
}

/// A file of `istio/`, with more time for decisions than on a machine of one's own: a test machine may be busy, and a
/// request that passed for lack of time would be mistaken for one that was allowed.
fn patient(file: &str) -> String {
    let text = std::fs::read_to_string(repository("istio").join(file)).unwrap();
    text.replace("timeout: 0.02s", "timeout: 10s")
}
