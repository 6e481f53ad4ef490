//! The kustomize manifests, as files; `tests/control_planes` renders them.

use serde_json::Value;

use crate::documents::{
    assert_rules_are_strict, assert_settings_load, document, documents, files, items, repository, seconds, text,
};

const OVERLAYS: [&str; 2] = ["memory", "redis-postgres"];

fn folder(overlay: &str) -> String {
    format!("deploy/kubernetes/overlays/{overlay}")
}

#[test]
fn every_file_has_its_place() {
    for folder in ["deploy/kubernetes/base".to_owned(), folder("memory"), folder("redis-postgres")] {
        let kustomization = document(format!("{folder}/kustomization.yaml"));
        let mut named: Vec<_> = items(&kustomization["resources"]).map(|path| text(path).to_owned()).collect();
        named.extend(items(&kustomization["patches"]).map(|patch| text(&patch["path"]).to_owned()));
        for generator in items(&kustomization["configMapGenerator"]) {
            named.extend(items(&generator["files"]).map(|path| text(path).to_owned()));
        }
        for name in &named {
            assert!(repository(&folder).join(name).exists(), "{folder}: {name}");
        }
        for file in files(&folder) {
            let name = file.strip_prefix(repository(&folder)).unwrap().to_str().unwrap();
            assert!(name == "kustomization.yaml" || named.iter().any(|other| other == name), "{folder}: {name}");
        }
    }
}

#[test]
fn tidegate_accepts_settings_and_rules() {
    for overlay in OVERLAYS {
        assert_settings_load(&repository(&folder(overlay)).join("tidegate.yaml"));
    }
    assert_rules_are_strict(&repository(&folder("memory")).join("rules"));
}

#[test]
fn a_pod_has_the_time_that_stopping_takes() {
    let pod = document("deploy/kubernetes/base/deployment.yaml")["spec"]["template"]["spec"].clone();
    let given = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    for overlay in OVERLAYS {
        let shutdown = document(format!("{}/tidegate.yaml", folder(overlay)))["shutdown"].clone();
        let taken = seconds(text(&shutdown["drain_period"])) + seconds(text(&shutdown["grace_period"]));
        assert!(given > taken, "{overlay}: {given} s are given, {taken} s may be taken");
    }
}

#[test]
fn services_find_the_pods_and_their_ports() {
    let deployment = document("deploy/kubernetes/base/deployment.yaml");
    let (spec, template) = (&deployment["spec"], &deployment["spec"]["template"]);
    let labels = &template["metadata"]["labels"];
    let chosen = |selector: &Value| {
        let selector = selector.as_object().unwrap();
        !selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value)
    };
    assert!(chosen(&spec["selector"]["matchLabels"]));
    let ports = &template["spec"]["containers"][0]["ports"];
    let has_port = |name: &Value| items(ports).any(|port| port["name"] == *name);
    for service in documents("deploy/kubernetes/base/service.yaml") {
        assert!(chosen(&service["spec"]["selector"]), "{}", service["metadata"]["name"]);
        assert!(items(&service["spec"]["ports"]).all(|port| has_port(&port["targetPort"])));
    }
    let policy = document("deploy/kubernetes/base/networkpolicy.yaml");
    assert!(chosen(&policy["spec"]["podSelector"]["matchLabels"]));
    for rule in items(&policy["spec"]["ingress"]) {
        assert!(items(&rule["ports"]).all(|port| has_port(&port["port"])), "{rule}");
    }
    let budget = document(format!("{}/disruption.yaml", folder("redis-postgres")));
    assert!(chosen(&budget["spec"]["selector"]["matchLabels"]));
    let of = |name: &str| items(ports).find(|port| port["name"] == name).unwrap()["containerPort"].as_u64();
    assert_eq!([of("grpc"), of("http"), of("metrics")], [Some(8081), Some(8080), Some(6070)]);
    for overlay in OVERLAYS {
        let settings = document(format!("{}/tidegate.yaml", folder(overlay)));
        assert_eq!(settings["admin"]["address"], "0.0.0.0:6070", "{overlay}: metrics are scraped from outside the pod");
    }
}
