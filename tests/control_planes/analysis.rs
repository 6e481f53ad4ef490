//! Istio's own checkers. They exit with 0 whatever they only warn about, so what they say is read.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{ApiServer, part, repository, succeeded};
use crate::manifests::{files, kinds};

/// What they say of every EnvoyFilter, good or bad; everything else fails.
const ANY_ENVOY_FILTER: &str = "EnvoyFilter exposes internal implementation details that may change at any time. Prefer \
                                other APIs if possible, and exercise extreme caution, especially around upgrades.";

/// The manifests in `istio/`, without those for Envoy Gateway.
fn manifests() -> Vec<PathBuf> {
    let other = repository("istio/envoy-gateway");
    files("istio").into_iter().filter(|file| !file.starts_with(&other) && !kinds(file).is_empty()).collect()
}

fn istioctl(arguments: &[&str]) -> std::process::Output {
    let home = tempfile::tempdir().unwrap();
    std::process::Command::new(part("istioctl"))
        .env_clear()
        .env("HOME", home.path())
        .current_dir(repository(""))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
fn istioctl_finds_every_manifest_valid() {
    for file in manifests() {
        let output = istioctl(&["validate", "-f", file.to_str().unwrap()]);
        let said = succeeded("istioctl validate", &output) + &String::from_utf8_lossy(&output.stderr);
        let mut warnings = said.lines().filter_map(|line| line.trim().strip_prefix("* "));
        assert!(warnings.all(|warning| warning.ends_with(ANY_ENVOY_FILTER)), "{said}");
        assert!(said.contains("is valid") || said.contains(ANY_ENVOY_FILTER), "{said}");
    }
}

/// A checker that finds nothing in anything would pass the test above.
#[test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
fn istioctl_notices_a_misspelt_field() {
    let text = std::fs::read_to_string(repository("istio/ratelimit-gateway.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("misspelt.yaml");
    std::fs::write(&path, text.replace("failure_mode_deny:", "failure_mode_denie:")).unwrap();
    let output = istioctl(&["validate", "-f", path.to_str().unwrap()]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("failure_mode_denie"), "{said}");
}

/// All of them at once, in a mesh that has what they refer to. Only on a server does it check references.
#[tokio::test]
#[ignore = "needs the control planes: scripts/test-control-planes"]
async fn istioctl_finds_nothing_wrong_in_the_mesh() {
    let api = ApiServer::start().await;
    api.install_crds().await;
    let text = std::fs::read_to_string(repository("istio/ext-authz-provider.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    api.apply(&std::fs::read_to_string(repository("tests/control_planes/surroundings.yaml")).unwrap());
    api.apply(
        &json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "istio", "namespace": "istio-system" },
            "data": { "mesh": values["meshConfig"].to_string() },
        })
        .to_string(),
    );
    for file in manifests() {
        api.run("kubectl", &["apply", "-f", file.to_str().unwrap()]);
    }
    let analyze = || -> Vec<Value> {
        let output = api.command("istioctl").args(["analyze", "--all-namespaces", "-o", "json"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)))
    };
    let said = |message: &Value| message["message"].as_str().unwrap().to_owned();
    let found = analyze();
    assert!(found.iter().all(|message| said(message).ends_with(ANY_ENVOY_FILTER)), "{found:#?}");
    assert_eq!(found.len(), 3, "all filters were looked at: {found:#?}");

    // Without what they refer to, it has much to say.
    api.run("kubectl", &["delete", "service,pod", "--all", "--namespace", "tidegate", "--force"]);
    api.run("kubectl", &["delete", "pod", "--all", "--namespace", "default", "--force"]);
    let found = analyze();
    for name in ["VirtualService tidegate/tidegate", "AuthorizationPolicy default/tidegate-internal"] {
        assert!(found.iter().any(|message| message["origin"] == name), "{name}: {found:#?}");
    }
}
