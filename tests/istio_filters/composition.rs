//! An Envoy as Istio sets up a gateway or a sidecar, as far as EnvoyFilters can tell the difference.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Backend, Client, Envoy, Site, Tidegate, TidegateOptions, envoy_binary, repository};
use crate::patches::{apply, context, filters, objects};
use crate::token::{ISSUER, Issuer};

/// The cluster that Istio makes for Tidegate's Service, which our files name.
const TIDEGATE: &str = "outbound|8081||tidegate.tidegate.svc.cluster.local";

/// An Envoy, with the filters of some files in it, the Tidegate it asks, and the backend it protects.
pub struct Proxy {
    pub envoy: Envoy,
    pub tidegate: Tidegate,
    pub backend: Backend,
    pub issuer: Issuer,
    _site: Site,
}

impl Proxy {
    /// With more time for decisions than on a machine of one's own: a test machine may be busy, and a request that passed
    /// for lack of time would be mistaken for one that was allowed.
    pub async fn start(files: &[&str]) -> Self {
        Self::start_with(files, |filter| filter["timeout"] = json!("10s")).await
    }

    /// With the settings of the rate limit filter changed.
    pub async fn start_with(files: &[&str], change: impl Fn(&mut Value)) -> Self {
        let site = Site::new();
        let backend = Backend::start(&site);
        let options = TidegateOptions { rules: repository("istio/rules"), ..TidegateOptions::default() };
        let tidegate = Tidegate::start(&site, options).await;
        let issuer = Issuer::new();
        let (admin, listener) = (site.free_address(), site.free_address());
        let filters: Vec<_> = files.iter().flat_map(|file| filters(file)).collect();
        let mut manager = manager(&filters, &issuer);
        let http_filters = manager["typed_config"]["http_filters"].as_array_mut().unwrap();
        for filter in http_filters.iter_mut().filter(|filter| filter["name"] == "envoy.filters.http.ratelimit") {
            change(&mut filter["typed_config"]);
        }
        let bootstrap = bootstrap(&manager, admin, listener, tidegate.grpc, backend.address);
        let envoy = Envoy::run(&site, "envoy", &bootstrap.to_string(), admin, listener).await;
        Self { envoy, tidegate, backend, issuer, _site: site }
    }

    /// A client with the given address: every address is another client.
    pub fn client(&self, number: u8) -> Client {
        Client::new(self.envoy.address, [127, 1, 1, number].into())
    }
}

/// Fails unless Envoy accepts the filter as it stands.
pub fn validate(filter: &Value) {
    let site = Site::new();
    let addresses = [(); 4].map(|()| site.free_address());
    let manager = manager(std::slice::from_ref(filter), &Issuer::new());
    let path = site.path("envoy.yaml");
    let bootstrap = bootstrap(&manager, addresses[0], addresses[1], addresses[2], addresses[3]);
    std::fs::write(&path, bootstrap.to_string()).unwrap();
    let output = Command::new(envoy_binary()).args(["--mode", "validate", "-c"]).arg(&path).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {log}", filter["metadata"]["name"]);
}

/// The HTTP connection manager of a gateway or of a sidecar's inbound listener, with the filters applied.
fn manager(filters: &[Value], issuer: &Issuer) -> Value {
    let contexts: Vec<_> = filters.iter().map(context).collect();
    assert!(contexts.windows(2).all(|pair| pair[0] == pair[1]), "filters of {contexts:?} do not meet in one proxy");
    let gateway = match contexts[0] {
        "GATEWAY" => true,
        "SIDECAR_INBOUND" => false,
        other => panic!("the tests know no proxy of context {other}"),
    };
    let route = |name: &str, of: Value| json!({ "name": name, "match": of, "route": { "cluster": "backend" } });
    let (host, routes) = if gateway {
        ("*:80", vec![route("login", json!({ "path": "/login" })), route("all", json!({ "prefix": "/" }))])
    } else {
        ("inbound|http|8000", vec![route("default", json!({ "prefix": "/" }))])
    };
    let mut http_filters = Vec::new();
    if gateway {
        http_filters.push(users(issuer));
    }
    http_filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    }));
    let mut manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "test",
            "use_remote_address": gateway,
            "access_log": [access_log()],
            "http_filters": http_filters,
            "route_config": { "virtual_hosts": [{ "name": host, "domains": ["*"], "routes": routes }] },
        },
    });
    filters.iter().for_each(|filter| apply(filter, &mut manager));
    manager
}

/// What istiod makes of the RequestAuthentication in `request-authentication.yaml`, with keys that need no network.
fn users(issuer: &Issuer) -> Value {
    let objects = objects("request-authentication.yaml");
    let rule = &objects.iter().find(|object| object["kind"] == "RequestAuthentication").unwrap()["spec"]["jwtRules"][0];
    assert_eq!(rule["issuer"], ISSUER);
    let headers = rule["outputClaimToHeaders"].as_array().unwrap().iter();
    let headers: Vec<_> =
        headers.map(|header| json!({ "header_name": header["header"], "claim_name": header["claim"] })).collect();
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "origins-0": {
                "issuer": ISSUER,
                "local_jwks": { "inline_string": issuer.jwks() },
                "forward": rule["forwardOriginalToken"],
                "payload_in_metadata": "payload",
                "claim_to_headers": headers,
            } },
            "rules": [{
                "match": { "prefix": "/" },
                "requires": { "requires_any": { "requirements": [
                    { "provider_name": "origins-0" },
                    { "allow_missing": {} },
                ] } },
            }],
        },
    })
}

/// The access log of `ext-authz-provider.yaml`.
fn access_log() -> Value {
    let values = &objects("ext-authz-provider.yaml")[0];
    let providers = values["meshConfig"]["extensionProviders"].as_array().unwrap();
    let log = providers.iter().find_map(|provider| provider.get("envoyFileAccessLog")).unwrap();
    assert_eq!(log["path"], "/dev/stdout");
    json!({
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": { "json_format": log["logFormat"]["labels"] },
        },
    })
}

fn bootstrap(
    manager: &Value,
    admin: SocketAddr,
    listener: SocketAddr,
    tidegate: SocketAddr,
    backend: SocketAddr,
) -> Value {
    let socket = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let cluster = |name: &str, address: SocketAddr| {
        json!({
            "name": name,
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(address) } }] }],
            },
        })
    };
    let mut asked = cluster(TIDEGATE, tidegate);
    // What Istio does for a port named grpc.
    asked["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
    json!({
        "admin": { "address": socket(admin) },
        "static_resources": {
            "listeners": [{ "address": socket(listener), "filter_chains": [{ "filters": [manager] }] }],
            "clusters": [asked, cluster("backend", backend)],
        },
    })
}
