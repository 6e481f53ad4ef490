//! What the image relies on: its health check, the name of envoyproxy/ratelimit, and the files that its build reads.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::documents::{document, repository, succeeded, text, tidegate};
use crate::harness::{Process, Site, eventually};

#[tokio::test]
async fn the_name_of_envoyproxy_ratelimit_serves_and_is_healthy() {
    let site = Site::new();
    // As in the image: a link beside nothing else, no arguments, an environment of the old names.
    symlink(env!("CARGO_BIN_EXE_tidegate"), site.path("ratelimit")).unwrap();
    let addresses = [site.free_address(), site.free_address(), site.free_address()];
    let environment = ["PORT", "GRPC_PORT", "DEBUG_PORT"].into_iter().zip(addresses);
    let mut environment: Vec<_> = environment.map(|(name, at)| (name, at.port().to_string())).collect();
    let host = addresses[0].ip().to_string();
    environment.extend(["HOST", "GRPC_HOST", "DEBUG_HOST"].map(|name| (name, host.clone())));
    environment.push(("TIDEGATE_SHUTDOWN__DRAIN_PERIOD", "1h".to_owned()));
    let health = || tidegate().arg("health").envs(environment.clone()).output().unwrap();

    let before = health();
    assert_eq!(before.status.code(), Some(1), "nobody is there yet");
    let error = String::from_utf8_lossy(&before.stderr).into_owned();
    assert!(error.contains("cannot reach http://") && error.lines().count() == 1, "{error}");

    let mut command = Command::new(site.path("ratelimit"));
    command.env_clear().envs(environment.clone());
    let mut process = Process::start(&site, "ratelimit", &mut command);
    eventually("it is healthy", || {
        process.assert_runs();
        std::future::ready(health().status.success().then_some(()))
    })
    .await;
    assert_eq!(succeeded(&health()), "ready\n");

    // It drains, for an hour here: still there, but no longer healthy.
    process.signal("TERM");
    eventually("it is not healthy", || {
        process.assert_runs();
        std::future::ready((health().status.code() == Some(1)).then_some(()))
    })
    .await;
    let error = String::from_utf8_lossy(&health().stderr).into_owned();
    assert!(error.contains("503"), "{error}");
}

#[tokio::test]
async fn a_server_with_a_socket_is_asked_through_it() {
    let site = Site::new();
    let settings = site.path("tidegate.yaml");
    let [grpc, http, admin] = [site.free_address(), site.free_address(), site.free_address()];
    let socket = site.path("api.sock");
    let written = format!(
        "grpc: {{ address: '{grpc}' }}\nadmin: {{ address: '{admin}' }}\nhttp: {{ address: '{http}', unix_socket: {} }}\n",
        socket.display()
    );
    std::fs::write(&settings, written).unwrap();
    let mut command = tidegate();
    let mut process = Process::start(&site, "tidegate", command.arg("serve").arg("--config").arg(&settings));
    let health = || tidegate().arg("health").arg("--config").arg(&settings).output().unwrap();
    eventually("it is healthy", || {
        process.assert_runs();
        std::future::ready(health().status.success().then_some(()))
    })
    .await;
    std::fs::remove_file(&socket).unwrap();
    let error = String::from_utf8_lossy(&health().stderr).into_owned();
    assert!(error.contains("cannot reach unix:"), "{error}");
    let by_port = tidegate().args(["health", "--api", &format!("http://{http}")]).output().unwrap();
    succeeded(&by_port);
}

#[test]
fn the_build_gets_what_it_reads() {
    let dockerfile = std::fs::read_to_string(repository("Dockerfile")).unwrap();
    let ignore = std::fs::read_to_string(repository(".dockerignore")).unwrap();
    let allowed: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut copied = Vec::new();
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        if line.starts_with("--from") {
            continue;
        }
        let mut words: Vec<_> = line.split_whitespace().collect();
        words.pop();
        copied.extend(words);
    }
    let mut sorted = allowed.clone();
    sorted.sort_unstable();
    copied.sort_unstable();
    assert_eq!(sorted, copied, "what the build copies is what .dockerignore lets through");
    for path in allowed {
        assert!(repository(path).exists(), "{path}");
    }
    // Cargo refuses a manifest whose targets are not there.
    let manifest = std::fs::read_to_string(repository("Cargo.toml")).unwrap();
    assert!(manifest.contains("[profile.dist]") && dockerfile.contains("--profile dist"));
    assert!(dockerfile.contains("USER 65532:65532\n"), "not root, and a number, which Kubernetes can check");
    assert!(dockerfile.contains(r#"HEALTHCHECK"#) && dockerfile.contains(r#"CMD ["/bin/tidegate", "health"]"#));
}

/// Whoever changes the version changes it everywhere.
#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = document("deploy/helm/tidegate/Chart.yaml");
    assert_eq!([text(&chart["version"]), text(&chart["appVersion"])], [version, version]);
    let image = format!("tidegate:{version}");
    for service in ["tidegate-1", "tidegate-2", "migrate", "rules"] {
        assert_eq!(document("deploy/docker-compose.yml")["services"][service]["image"], *image, "{service}");
    }
    for overlay in ["memory", "redis-postgres"] {
        let kustomization = document(format!("deploy/kubernetes/overlays/{overlay}/kustomization.yaml"));
        assert_eq!(kustomization["images"][0]["newTag"], version, "{overlay}");
    }
    let dockerfile = std::fs::read_to_string(repository("Dockerfile")).unwrap();
    assert!(dockerfile.contains(&format!("ARG VERSION={version}\n")));
    let toolchain = std::fs::read_to_string(repository("rust-toolchain.toml")).unwrap();
    let channel = toolchain.split('"').nth(1).unwrap();
    assert!(dockerfile.contains(&format!("ARG RUST=rust:{channel}-")), "the compiler is that of rust-toolchain.toml");
}
