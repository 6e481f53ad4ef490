//! The picture of `deploy/docker-compose.yml`, running: its configurations of Envoy and Tidegate, its rules, its scripts and
//! commands, with every address replaced by one of a loopback address of the test's own. What a container would add
//! (images, networks, limits) is not there.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::collector::Collector;
use crate::documents::{document, items, repository, succeeded, text, tidegate};
use crate::harness::{Backend, Client, Envoy, Process, Site, eventually};
use crate::postgres_support::{Options as PostgresOptions, Postgres};
use crate::redis_support::{Options as RedisOptions, Redis};

/// Everything between a client and the backend, and the backend.
struct Picture {
    gateway_1: Envoy,
    gateway_2: Envoy,
    sidecar: Envoy,
    tidegates: Vec<Replica>,
    backend: Backend,
    collector: Collector,
    _redis: Vec<Redis>,
    _postgres: Postgres,
    // Its folder goes last.
    _site: Site,
}

/// One of the two Tidegates.
struct Replica {
    grpc: SocketAddr,
    admin: Client,
    environment: Vec<(String, String)>,
    process: Process,
}

impl Picture {
    async fn start() -> Self {
        let site = Site::new();
        let redis = redis_cluster();
        let postgres = postgres().await;
        let collector = Collector::start(&site);
        let stores = stores(&redis, &postgres, collector.address);

        succeeded(&run_service("migrate", &stores));
        let mut tidegates = Vec::new();
        for name in ["tidegate-1", "tidegate-2"] {
            tidegates.push(Replica::start(&site, name, &stores).await);
        }
        succeeded(&run_service("rules", &tidegates[0].environment));

        let backend = Backend::start(&site);
        let grpc: Vec<_> = tidegates.iter().map(|replica| replica.grpc).collect();
        let mut places = HashMap::from([
            ("tidegate:8081", grpc),
            ("backend:8000", vec![backend.address]),
            ("collector:4317", vec![collector.address]),
        ]);
        let sidecar = envoy(&site, "sidecar", &places).await;
        places.insert("sidecar:10000", vec![sidecar.address]);
        let gateway_2 = envoy(&site, "gateway-2", &places).await;
        places.insert("gateway-2:10000", vec![gateway_2.address]);
        let gateway_1 = envoy(&site, "gateway-1", &places).await;
        for gateway in [&gateway_1, &gateway_2] {
            gateway.finds_healthy("tidegate", 2).await;
        }
        let (_redis, _postgres, _site) = (redis, postgres, site);
        Self { gateway_1, gateway_2, sidecar, tidegates, backend, collector, _redis, _postgres, _site }
    }

    /// A client with the given address: every address is another client.
    fn client(&self, number: u8) -> Client {
        Client::new(self.gateway_1.address, [127, 1, 1, number].into())
    }
}

impl Replica {
    /// As the compose file starts it, with its environment.
    async fn start(site: &Site, name: &str, stores: &[(String, String)]) -> Self {
        let [grpc, http, admin] = [site.free_address(), site.free_address(), site.free_address()];
        let mut environment = stores.to_vec();
        for (key, value) in document("deploy/docker-compose.yml")["services"][name]["environment"].as_object().unwrap()
        {
            let value = text(value).replace("/run/tidegate", site.folder().to_str().unwrap());
            environment.push((key.clone(), value.replace("/etc/tidegate", "deploy/compose")));
        }
        let addresses = [("GRPC", grpc), ("HTTP", http), ("ADMIN", admin)];
        environment.extend(addresses.map(|(section, at)| (format!("TIDEGATE_{section}__ADDRESS"), at.to_string())));
        let mut command = tidegate();
        command.current_dir(repository("")).args(["serve", "--workers", "1"]).envs(environment.clone());
        let mut process = Process::start(site, name, &mut command);
        // The compose file's own check.
        let health = || run_health(name, &environment).status.success();
        eventually("Tidegate is healthy", || {
            process.assert_runs();
            std::future::ready(health().then_some(()))
        })
        .await;
        Self { grpc, admin: Client::new(admin, [127, 0, 0, 1].into()), environment, process }
    }

    /// How many decisions it was asked for.
    async fn requests(&self) -> u64 {
        let metrics = self.admin.get("/metrics", &[]).await;
        let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
        let lines = metrics.lines().filter_map(|line| line.strip_prefix("tidegate_worker_requests_total{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// What it has on a descriptor; charges nothing.
    fn peek(&self, domain: &str, descriptor: &str) -> String {
        let mut check = tidegate();
        check.args(["check", "--server", &self.grpc.to_string(), "--domain", domain, "--peek", descriptor]);
        succeeded(&check.output().unwrap())
    }

    /// Runs a command as in its container.
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = tidegate();
        succeeded(&command.args(arguments).envs(self.environment.clone()).output().unwrap())
    }
}

/// Six nodes, made one cluster by the compose file's script.
fn redis_cluster() -> Vec<Redis> {
    let node = || RedisOptions::new().cluster_node().flags(&["--cluster-node-timeout", "1000"]).start();
    let nodes: Vec<_> = (0..6).map(|_| node()).collect();
    let script = || {
        let mut command = Command::new("sh");
        command.arg(repository("deploy/compose/redis/create-cluster.sh")).args(nodes.iter().map(Redis::address));
        succeeded(&command.output().unwrap())
    };
    script();
    assert_eq!(script(), "the cluster is there\n", "at the next `up` it changes nothing");
    let primaries = nodes.iter().filter(|node| node.info("role") == "master").count();
    assert_eq!(primaries, 3);
    nodes
}

/// A server with the database and the user that the compose file asks for.
async fn postgres() -> Postgres {
    let server = PostgresOptions::new().password().start();
    let password = std::fs::read_to_string(repository("deploy/compose/postgres/password")).unwrap();
    let user = document("deploy/docker-compose.yml")["services"]["postgres"]["environment"].clone();
    let (name, database) = (text(&user["POSTGRES_USER"]), text(&user["POSTGRES_DB"]));
    let client = server.client("postgres").await;
    let create = format!("CREATE ROLE {name} LOGIN PASSWORD '{}'", password.trim());
    client.batch_execute(&create).await.unwrap();
    client.batch_execute(&format!("CREATE DATABASE {database} OWNER {name} TEMPLATE template0")).await.unwrap();
    server
}

/// The settings whose addresses are others here.
fn stores(redis: &[Redis], postgres: &Postgres, collector: SocketAddr) -> Vec<(String, String)> {
    let asked = document("deploy/compose/tidegate.yaml");
    let url = text(&asked["database"]["url"]);
    let nodes = redis.iter().take(items(&asked["redis"]["urls"]).count()).map(Redis::address).collect::<Vec<_>>();
    [
        ("TIDEGATE_CONFIG", "deploy/compose/tidegate.yaml".to_owned()),
        ("TIDEGATE_REDIS__URLS", nodes.join(",")),
        // A test machine may be busy, and what failure modes answer is no limit of Redis'.
        ("TIDEGATE_REDIS__DEADLINE", "5s".to_owned()),
        ("TIDEGATE_DATABASE__URL", url.replace("postgres:5432", &format!("127.0.0.1:{}", postgres.port()))),
        ("TIDEGATE_DATABASE__PASSWORD_FILE", "deploy/compose/postgres/password".to_owned()),
        ("TIDEGATE_TELEMETRY__TRACES__ENDPOINT", format!("http://{collector}")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Runs the command of a service that ends by itself.
fn run_service(name: &str, environment: &[(String, String)]) -> std::process::Output {
    let service = document("deploy/docker-compose.yml")["services"][name].clone();
    let mut words = items(&service["command"]).map(text);
    assert_eq!(words.next(), Some("/bin/tidegate"));
    let mut command = tidegate();
    command.current_dir(repository("")).envs(environment.iter().cloned());
    command.args(words.map(|word| if word == "/rules" { "deploy/compose/rules" } else { word }));
    command.output().unwrap()
}

/// Runs the health check of a service.
fn run_health(name: &str, environment: &[(String, String)]) -> std::process::Output {
    let check = document("deploy/docker-compose.yml")["services"][name]["healthcheck"]["test"].clone();
    assert_eq!(check, json!(["CMD", "/bin/tidegate", "health"]));
    let mut command = tidegate();
    command.current_dir(repository("")).arg("health").envs(environment.iter().cloned()).output().unwrap()
}

/// An Envoy with its file, in which every `host:port` is replaced by where that is here; a name that stands for several
/// becomes several endpoints.
async fn envoy(site: &Site, name: &str, places: &HashMap<&str, Vec<SocketAddr>>) -> Envoy {
    let path: PathBuf = repository(&format!("deploy/compose/envoy/{name}.yaml"));
    let (admin, listener) = (site.free_address(), site.free_address());
    let mut lines = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let asked = line.split_once("socket_address: { address: ").and_then(|(_, rest)| rest.split_once(" }"));
        let Some((asked, _)) = asked else {
            // A request that passed for lack of time would be mistaken for one that was allowed.
            lines.push(line.replace("timeout: 0.02s", "timeout: 10s"));
            continue;
        };
        let here = match asked.replace(", port_value: ", ":").as_str() {
            "127.0.0.1:9901" => vec![admin],
            "0.0.0.0:10000" => vec![listener],
            place => places.get(place).unwrap_or_else(|| panic!("{name} asks {place}")).clone(),
        };
        for address in here {
            lines.push(line.replace(asked, &format!("{}, port_value: {}", address.ip(), address.port())));
        }
    }
    Envoy::run(site, name, &lines.join("\n"), admin, listener).await
}

/// The last line of an access log of so many.
async fn last(envoy: &Envoy, lines: usize) -> Value {
    envoy.access_log(lines).await.pop().unwrap()
}

#[tokio::test]
async fn limits_hold_at_the_edge_and_inside_and_logs_tell_which() {
    let picture = Picture::start().await;
    let (alice, bob) = ([("x-user-id", "alice")], [("x-user-id", "bob")]);

    // The edge: 10 a minute for each user, whichever of both Tidegates is asked.
    let client = picture.client(1);
    assert_eq!(client.allowed("/", &alice, 20).await, 10);
    assert_eq!(picture.backend.requests(), 10, "what is denied goes no further");
    let denied = last(&picture.gateway_1, 11).await;
    assert_eq!((&denied["status"], &denied["client"]), (&json!(429), &json!("127.1.1.1")));
    assert_eq!([&denied["ratelimit"]["domain"], &denied["ratelimit"]["rule"]], ["edge", "per-user"]);
    for replica in &picture.tidegates {
        assert!(replica.requests().await > 0, "each is asked");
    }

    // Inside: three exports a minute for each user, however the path is written. The edge lets each of them pass.
    let client = picture.client(2);
    assert_eq!(client.allowed("/export", &bob, 20).await, 3);
    for path in ["//export", "/%65xport", "/x/../export", "/export?a=b"] {
        assert_eq!(client.status(path, &bob).await, 429, "{path}");
    }
    assert_eq!(picture.backend.requests(), 13);
    let at_the_edge = last(&picture.gateway_1, 19).await;
    assert_eq!([&at_the_edge["ratelimit"]["domain"], &at_the_edge["ratelimit"]["rule"]], ["edge", "per-user"]);
    assert_eq!((&at_the_edge["ratelimit"]["remaining"], &at_the_edge["status"]), (&json!(2), &json!(429)));
    let inside = last(&picture.gateway_2, 18).await;
    assert_eq!((&inside["status"], &inside["client"]), (&json!(429), &json!("127.1.1.2")));
    assert_eq!([&inside["ext_authz"]["domain"], &inside["ext_authz"]["rule"]], ["mesh", "exports-per-user"]);
    assert_eq!((&inside["ext_authz"]["limit"], &inside["ext_authz"]["remaining"]), (&json!(3), &json!(0)));
    assert_eq!(inside["request_id"], at_the_edge["request_id"], "one request, told of twice");
    assert_eq!(client.status("/", &bob).await, 200, "other paths are not limited by it");
    assert_eq!(picture.sidecar.access_log(14).await.len(), 14);

    // A client that writes X-Forwarded-For is still who it is.
    let spoofing = [("x-forwarded-for", "203.0.113.9"), ("x-user-id", "mallory")];
    assert_eq!(picture.client(3).status("/", &spoofing).await, 200);
    assert_eq!(last(&picture.gateway_1, 21).await["client"], "127.1.1.3");
    for (address, left) in [("127.1.1.3", 299), ("203.0.113.9", 300)] {
        let seen = picture.tidegates[0].peek("mesh", &format!("remote_address={address}"));
        assert!(seen.contains(&format!("{left} left")), "{address}: {seen}");
    }

    // A rule changed through the socket holds on both.
    picture.tidegates[0].run(&["rules", "set", "edge", "user_id=carol", "--limit", "2/minute"]);
    let other = &picture.tidegates[1];
    eventually("the other replica follows", || {
        std::future::ready(other.peek("edge", "user_id=carol").contains("2 per minute").then_some(()))
    })
    .await;
    assert_eq!(picture.client(4).allowed("/", &[("x-user-id", "carol")], 5).await, 2);

    // One request, one trace, through both gateways and Tidegate.
    picture.collector.wait_for_trace_of(&["gateway-1", "gateway-2", "tidegate"]).await;
    for (gateway, cluster) in [(&picture.gateway_1, "gateway-2"), (&picture.gateway_2, "sidecar")] {
        for filter in ["ratelimit", "ext_authz"] {
            for name in ["error", "failure_mode_allowed"] {
                assert_eq!(gateway.stat(&format!("cluster.{cluster}.{filter}.{name}")).await, 0, "{filter} {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_replica_that_stops_costs_no_request() {
    let mut picture = Picture::start().await;
    let client = picture.client(1);
    let mut replica = picture.tidegates.pop().unwrap();
    replica.process.signal("TERM");
    for user in 0..40 {
        let user = format!("user-{user}");
        assert_eq!(client.status("/", &[("x-user-id", &user)]).await, 200);
    }
    picture.gateway_1.finds_healthy("tidegate", 1).await;
    picture.gateway_2.finds_healthy("tidegate", 1).await;
    assert!(replica.process.ends().await.success());
    assert_eq!(client.allowed("/", &[("x-user-id", "alice")], 20).await, 10, "the other has all counters");
    for (gateway, name) in [
        (&picture.gateway_1, "cluster.gateway-2.ratelimit.error"),
        (&picture.gateway_2, "cluster.sidecar.ext_authz.error"),
    ] {
        assert_eq!(gateway.stat(name).await, 0, "{name}");
    }
}
