//! The mesh around that Envoy.

use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::{ApiServer, Backend, Istiod, Site, Tidegate, TidegateOptions, repository};
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
    /// The control plane, with `istio/ext-authz-provider.yaml` in its configuration, a Tidegate and a backend, both of
    /// which it knows.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more environment for istiod.
    pub async fn start_with(environment: &[(&str, &str)]) -> Self {
        let (site, workload) = (Site::new(), Site::new());
        let backend = Backend::start(&workload);
        let options = TidegateOptions { rules: repository("istio/rules"), settings: settings(), file: None };
        let tidegate = Tidegate::start(&site, options).await;
        let api = ApiServer::start().await;
        api.install_crds().await;
        api.namespaces(&["istio-system", "tidegate"]);
        let values: Value = serde_saphyr::from_str(&patient("ext-authz-provider.yaml")).unwrap();
        let istiod = Istiod::start(&api, &values["meshConfig"]["extensionProviders"], environment).await;
        // Stands in for Tidegate's Service: an API server takes no loopback addresses as endpoints of a Service.
        api.apply(&service("tidegate", "tidegate.tidegate.svc.cluster.local", 8081, "grpc", tidegate.grpc));
        api.apply(&service("default", "backend.default.svc.cluster.local", 8000, "http", backend.address));
        api.apply(&patient("access-log.yaml"));
        Self { api, istiod, tidegate, backend, issuer: Issuer::new(), site, workload }
    }

    /// Applies a file of `istio/`.
    pub fn apply(&self, file: &str) {
        let text = patient(file);
        // Its keys, without a network.
        let uri = "jwksUri: https://issuer.example.com/.well-known/jwks.json";
        self.api.apply(&text.replace(uri, &format!("jwks: '{}'", self.issuer.jwks())));
    }
}

/// Settings of `istio/tidegate.yaml`.
fn settings() -> Vec<(&'static str, &'static str)> {
    Vec::new()
}

/// A file of `istio/`, with more time for decisions than on a machine of one's own: a test machine may be busy, and a
/// request that passed for lack of time would be mistaken for one that was allowed.
fn patient(file: &str) -> String {
    let text = std::fs::read_to_string(repository("istio").join(file)).unwrap();
    text.replace("timeout: 0.02s", "timeout: 10s")
}

fn service(namespace: &str, host: &str, port: u16, name: &str, at: SocketAddr) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{ name: {name}-{port}, namespace: {namespace} }}
spec:
  hosts: [{host}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{ number: {port}, name: {name}, protocol: {protocol} }}]
  endpoints: [{{ address: {ip}, labels: {{ app: {app} }}, ports: {{ {name}: {target} }} }}]
",
        protocol = name.to_uppercase(),
        app = host.split('.').next().unwrap(),
        ip = at.ip(),
        target = at.port(),
    )
}
