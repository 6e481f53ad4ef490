//! Every manifest of `istio/` and `deploy/`, as the API server sees it: fields, types, and the rules in resource
//! definitions. What is inside of an EnvoyFilter's patch it does not see; `tests/istio_filters` does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{ApiServer, chart, repository, succeeded};

/// YAML files in `istio/` that are no manifests: values, settings, rules.
const OTHERS: [&str; 5] =
    ["envoy-gateway/values.yaml", "ext-authz-provider.yaml", "rules/edge.yaml", "rules/mesh.yaml", "tidegate.yaml"];

/// Kinds that are in `istio/`, each at least once.
const KINDS: [&str; 13] = [
    "AuthorizationPolicy",
    "BackendTrafficPolicy",
    "ClientTrafficPolicy",
    "DestinationRule",
    "EnvoyFilter",
    "Gateway",
    "PeerAuthentication",
    "ReferenceGrant",
    "RequestAuthentication",
    "SecurityPolicy",
    "ServiceEntry",
    "Telemetry",
    "VirtualService",
];

/// The YAML files below a folder of the repository.
pub fn files(folder: &str) -> Vec<PathBuf> {
    fn look(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    look(&repository(folder), &mut found);
    found.sort();
    found
}

/// The kinds of the objects in a file; none when it is no manifest.
pub fn kinds(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    let of = |document: &Value| Some(document.get("apiVersion").and(document.get("kind"))?.as_str()?.to_owned());
    documents.iter().filter_map(of).collect()
}

/// An API server that knows all kinds and namespaces that the manifests refer to.
async fn server() -> ApiServer {
    let api = ApiServer::start().await;
    api.install_crds().await;
    api.namespaces(&["istio-system", "tidegate"]);
    api
}

/// Fails unless the server would take them, without a word of warning.
fn dry_run(api: &ApiServer, how: &str, what: &Path) {
    let output = api
        .command("kubectl")
        .args(["apply", "--dry-run=server", "--validate=strict", how])
        .arg(what)
        .output()
        .unwrap();
    let name = what.display().to_string();
    succeeded(&name, &output);
    assert!(output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn the_api_server_takes_every_manifest_of_istio() {
    let api = server().await;
    let (mut seen, mut others) = (BTreeSet::new(), Vec::new());
    for file in files("istio") {
        let kinds = kinds(&file);
        if kinds.is_empty() {
            others.push(file.strip_prefix(repository("istio")).unwrap().to_str().unwrap().to_owned());
        } else {
            dry_run(&api, "-f", &file);
            seen.extend(kinds);
        }
    }
    assert_eq!(others, OTHERS);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), KINDS);
}

/// What a kustomization holds is taken as it builds it; a Helm chart's templates are for other tests.
#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn the_api_server_takes_every_manifest_of_deploy() {
    let api = server().await;
    let built: Vec<_> = files("deploy").into_iter().filter(|file| file.ends_with("kustomization.yaml")).collect();
    for file in &built {
        // A component is built only as a part of something.
        if kinds(file) != ["Component"] {
            dry_run(&api, "-k", file.parent().unwrap());
        }
    }
    let within = |file: &PathBuf| built.iter().any(|kustomization| file.starts_with(kustomization.parent().unwrap()));
    let chart = |file: &PathBuf| file.starts_with(repository("deploy/helm"));
    for file in files("deploy").iter().filter(|file| !within(file) && !chart(file)) {
        if !kinds(file).is_empty() {
            dry_run(&api, "-f", file);
        }
    }
}

/// Values for charts of others end up where those read them.
#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn the_charts_of_istio_and_envoy_gateway_take_our_values() {
    let api = server().await;
    let rendered = |name: &str, values: &str, template: &str| {
        let chart = chart(name);
        let text = api.run("helm", &["template", "test", chart.to_str().unwrap(), "-f", values, "-s", template]);
        serde_saphyr::from_multiple::<Value>(&text).unwrap()
    };
    let values =
        |file: &str| -> Value { serde_saphyr::from_str(&std::fs::read_to_string(repository(file)).unwrap()).unwrap() };

    let file = "istio/ext-authz-provider.yaml";
    let maps = rendered("istiod", file, "templates/configmap.yaml");
    let mesh: Vec<&str> = maps.iter().filter_map(|map| map["data"]["mesh"].as_str()).collect();
    assert!(!mesh.is_empty());
    for mesh in mesh {
        let mesh: Value = serde_saphyr::from_str(mesh).unwrap();
        assert_eq!(mesh["extensionProviders"], values(file)["meshConfig"]["extensionProviders"]);
    }

    let file = "istio/envoy-gateway/values.yaml";
    let maps = rendered("gateway", file, "templates/envoy-gateway-config.yaml");
    let config: Value = serde_saphyr::from_str(maps[0]["data"]["envoy-gateway.yaml"].as_str().unwrap()).unwrap();
    let ours = &values(file)["config"]["envoyGateway"];
    assert_eq!(config["rateLimit"], ours["rateLimit"]);
    let deployment =
        |config: &Value| config["provider"]["kubernetes"]["rateLimitDeployment"]["container"]["image"].clone();
    assert_eq!(deployment(&config), deployment(ours));
}
