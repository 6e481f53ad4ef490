//! `deploy/docker-compose.yml` and what it mounts: names, ports, files and conditions fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::documents::{
    assert_rules_are_strict, assert_settings_load, document, entries, files, items, repository, seconds, text,
};
use crate::harness::envoy_binary;

/// Images of one program, which nothing in them can check.
const WITHOUT_HEALTH: [&str; 2] = ["backend", "collector"];

fn services() -> BTreeMap<String, Value> {
    let compose = document("deploy/docker-compose.yml");
    entries(&compose["services"]).map(|(name, service)| (name.clone(), service.clone())).collect()
}

/// Whether a service ends by itself.
fn ends(service: &Value) -> bool {
    service["restart"] == "no"
}

/// A folder or file beside the compose file.
fn beside(path: &str) -> PathBuf {
    repository("deploy").join(path)
}

/// What a service mounts from the repository, and where: of `./FROM:TO:ro`.
fn mounts(service: &Value) -> Vec<(PathBuf, String)> {
    let mounts = items(&service["volumes"]).map(text).filter(|mount| mount.starts_with('.'));
    mounts
        .map(|mount| {
            let parts: Vec<_> = mount.split(':').collect();
            assert_eq!(parts.get(2), Some(&"ro"), "{mount}: nothing changes the files of the repository");
            (beside(parts[0]), parts[1].to_owned())
        })
        .collect()
}

fn networks(service: &Value) -> BTreeSet<String> {
    let named = entries(&service["networks"]).map(|(name, _)| name.clone());
    items(&service["networks"]).map(|name| text(name).to_owned()).chain(named).collect()
}

/// Who answers to a name, and in which networks.
fn answering(services: &BTreeMap<String, Value>, host: &str) -> Vec<(String, BTreeSet<String>)> {
    let found = services.iter().filter_map(|(name, service)| {
        let alias = |network: &&String| items(&service["networks"][network]["aliases"]).any(|alias| alias == host);
        let all = networks(service);
        let answering: BTreeSet<_> = if name == host { all } else { all.iter().filter(alias).cloned().collect() };
        (!answering.is_empty()).then(|| (name.clone(), answering))
    });
    found.collect()
}

/// Every `address` with a `port_value` of a configuration of Envoy.
fn envoy_addresses(configuration: &Value, found: &mut Vec<(String, u64)>) {
    if let (Some(address), Some(port)) = (configuration["address"].as_str(), configuration["port_value"].as_u64()) {
        found.push((address.to_owned(), port));
    }
    for (_, value) in entries(configuration) {
        envoy_addresses(value, found);
    }
    for value in items(configuration) {
        envoy_addresses(value, found);
    }
}

/// The ports that a service listens on, as its own configuration says.
fn listens(name: &str, service: &Value) -> Vec<u64> {
    let port_of = |address: &str| address.rsplit(':').next().unwrap().parse().unwrap();
    match name {
        "gateway-1" | "gateway-2" | "sidecar" => {
            let (path, _) = mounts(service).remove(0);
            let mut addresses = Vec::new();
            envoy_addresses(&document(path), &mut addresses);
            addresses.into_iter().filter(|(address, _)| address == "0.0.0.0").map(|(_, port)| port).collect()
        }
        "tidegate-1" | "tidegate-2" => {
            let admin = document("deploy/compose/tidegate.yaml")["admin"]["address"].clone();
            // The defaults.
            vec![8081, 8080, port_of(text(&admin))]
        }
        "backend" => vec![text(&service["environment"]["WHOAMI_PORT_NUMBER"]).parse().unwrap()],
        "collector" => {
            let receiver = document("deploy/compose/collector/collector.yaml");
            vec![port_of(text(&receiver["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]))]
        }
        "postgres" => vec![5432],
        "prometheus" => vec![9090],
        name if name.starts_with("redis-") => vec![6379],
        name => panic!("what does {name} listen on?"),
    }
}

/// Fails unless `from` reaches `host:port`: somebody answers to that name in a network of both, and listens there.
fn assert_reaches(services: &BTreeMap<String, Value>, from: &str, host: &str, port: u64) {
    let answering = answering(services, host);
    assert!(!answering.is_empty(), "{from} asks {host}, which is no service and no alias");
    for (name, common) in answering {
        assert!(!common.is_disjoint(&networks(&services[from])), "{from} and {name} share no network");
        assert!(
            listens(&name, &services[&name]).contains(&port),
            "{from} asks {host}:{port}, {name} listens elsewhere"
        );
    }
}

#[test]
fn every_service_is_confined() {
    for (name, service) in services() {
        let image = text(&service["image"]);
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {image} names no version");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        let user = text(&service["user"]);
        assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{name}: {user}");
        let limits = &service["deploy"]["resources"]["limits"];
        for limit in ["cpus", "memory", "pids"] {
            assert!(!limits[limit].is_null(), "{name} has no limit of {limit}");
        }
        for port in items(&service["ports"]) {
            assert!(text(port).starts_with("127.0.0.1:"), "{name}: {port} is open to other machines");
        }
        let has_health = service["healthcheck"]["test"].is_array();
        assert_eq!(has_health, !ends(&service) && !WITHOUT_HEALTH.contains(&&*name), "{name}: a health check");
    }
}

#[test]
fn what_services_wait_for_can_come() {
    let services = services();
    for (name, service) in &services {
        for (other, how) in entries(&service["depends_on"]) {
            let other_service = services.get(other).unwrap_or_else(|| panic!("{name} waits for {other}"));
            match text(&how["condition"]) {
                "service_healthy" => assert!(other_service["healthcheck"].is_object(), "{name} waits for {other}"),
                "service_completed_successfully" => assert!(ends(other_service), "{name} waits for {other}"),
                "service_started" => assert!(!ends(other_service), "{name} waits for {other}"),
                other => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn every_mounted_file_is_there_and_every_file_is_mounted() {
    let compose = document("deploy/docker-compose.yml");
    let mut mounted: Vec<_> = services().values().flat_map(mounts).map(|(path, _)| path).collect();
    mounted.extend(entries(&compose["secrets"]).map(|(_, secret)| beside(text(&secret["file"]))));
    for path in &mounted {
        assert!(path.exists(), "{}", path.display());
    }
    let mounted: Vec<_> = mounted.iter().map(|path| path.canonicalize().unwrap()).collect();
    for file in files("deploy/compose") {
        assert!(mounted.iter().any(|path| file.starts_with(path)), "nothing mounts {}", file.display());
    }
    for (name, service) in services() {
        for secret in items(&service["secrets"]) {
            assert!(!compose["secrets"][text(secret)].is_null(), "{name}: {secret}");
        }
        for volume in items(&service["volumes"]).map(text).filter(|volume| !volume.starts_with('.')) {
            let volume = volume.split(':').next().unwrap();
            assert!(compose["volumes"].get(volume).is_some(), "{name}: {volume}");
        }
        for network in networks(&service) {
            assert!(compose["networks"].get(&network).is_some(), "{name}: {network}");
        }
    }
}

#[test]
fn every_name_is_a_service_that_listens_there() {
    let services = services();
    for name in ["gateway-1", "gateway-2", "sidecar"] {
        let (path, at) = mounts(&services[name]).remove(0);
        assert!(items(&services[name]["command"]).any(|word| *word == *at), "{name} reads {at}");
        let mut addresses = Vec::new();
        envoy_addresses(&document(path), &mut addresses);
        assert!(addresses.len() >= 3, "{name}: {addresses:?}");
        for (host, port) in addresses {
            if host.parse::<IpAddr>().is_err() {
                assert_reaches(&services, name, &host, port);
            }
        }
    }

    let settings = document("deploy/compose/tidegate.yaml");
    let split = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap();
        (host.to_owned(), port.parse::<u64>().unwrap())
    };
    let after = |url: &str, mark: &str| url.split_once(mark).unwrap().1.to_owned();
    let database = after(text(&settings["database"]["url"]), "@");
    let mut asked = vec![
        split(database.split('/').next().unwrap()),
        split(&after(text(&settings["telemetry"]["traces"]["endpoint"]), "//")),
    ];
    asked.extend(items(&settings["redis"]["urls"]).map(|url| split(text(url))));
    for name in ["tidegate-1", "tidegate-2"] {
        for (host, port) in &asked {
            assert_reaches(&services, name, host, *port);
        }
        assert_eq!(services[name]["environment"]["TIDEGATE_CONFIG"], "/etc/tidegate/tidegate.yaml");
        assert!(mounts(&services[name]).iter().any(|(_, at)| at == "/etc/tidegate/tidegate.yaml"), "{name}");
    }
    let (host, port) = split(database.split('/').next().unwrap());
    assert_reaches(&services, "migrate", &host, port);
    assert_eq!(answering(&services, "tidegate").len(), 2, "the name stands for both replicas");

    let scrape = document("deploy/compose/prometheus/prometheus.yml")["scrape_configs"][0]["dns_sd_configs"][0].clone();
    assert_reaches(&services, "prometheus", text(&scrape["names"][0]), scrape["port"].as_u64().unwrap());

    let nodes = items(&services["redis-cluster"]["command"]).map(text).filter(|word| word.starts_with("redis-"));
    let nodes: BTreeSet<_> = nodes.map(split).collect();
    assert_eq!(nodes.len(), 6, "three primaries and three replicas");
    for (host, port) in nodes {
        assert_reaches(&services, "redis-cluster", &host, port);
        assert_eq!(services["redis-cluster"]["depends_on"][&host]["condition"], "service_healthy");
    }
}

#[test]
fn envoy_and_tidegate_accept_their_files() {
    let mut checked = 0;
    for path in files("deploy/compose/envoy") {
        let output = Command::new(envoy_binary()).args(["--mode", "validate", "-c"]).arg(&path).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !told.contains("Deprecated"), "{}: {told}", path.display());
        checked += 1;
    }
    assert_eq!(checked, 3);
    assert_rules_are_strict(&repository("deploy/compose/rules"));
    assert_settings_load(&repository("deploy/compose/tidegate.yaml"));
}

#[test]
fn a_replica_has_the_time_that_stopping_takes() {
    for name in ["tidegate-1", "tidegate-2"] {
        let grace = seconds(text(&services()[name]["stop_grace_period"]));
        let shutdown = tidegate::config::Shutdown::default();
        assert!(document("deploy/compose/tidegate.yaml").get("shutdown").is_none(), "the defaults hold");
        assert!(grace > (shutdown.drain_period + shutdown.grace_period).as_secs(), "{name}");
    }
}
