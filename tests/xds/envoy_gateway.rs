//! Envoy Gateway's own output: kept beside this file for every run, and from a real one when there is one.
//!
//! The real one runs without a cluster: it reads resources from files, starts a real Envoy, and serves rules by xDS
//! with certificates that it made. Its ports are fixed, so it runs once at a time.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DiscoveryRequest, DiscoveryResponse, aggregated_discovery_service_client as aggregated,
};
use envoy_types::pb::ratelimit::config::ratelimit::v3::RateLimitConfig;
use prost::Message as _;
use tidegate::config::xds::{Xds, XdsTls};
use tidegate::rules::xds::{TYPE_URL, connect};

use crate::control_plane::ControlPlane;
use crate::process::{self, PATIENCE, connect as dial, get, read_answer};
use crate::server_support::{OK, OVER_LIMIT, request};
use crate::settings::ENVOY_GATEWAY;

const POLICIES: &str = include_str!("envoy-gateway/policies.yaml");
/// A `DiscoveryResponse` that Envoy Gateway 1.9.1 sent for them.
const SENT: &[u8] = include_bytes!("envoy-gateway/ratelimit.pb");

/// Where Envoy Gateway serves the rules.
const XDS: &str = "localhost:18001";
/// Where else it listens, whatever it is told.
const ITS_PORTS: [u16; 6] = [18_000, 18_001, 18_002, 19_000, 19_001, 8_081];

/// Entries that stand at the beginning of each descriptor of a route.
const ORDERS: &str = "httproute/default/orders/rule/0/match/0/orders_example_com";
const SEARCH: &str = "httproute/default/search/rule/0/match/0/search_example_com";

#[tokio::test]
async fn what_envoy_gateway_sent_is_decided() {
    let sent = DiscoveryResponse::decode(SENT).unwrap();
    let control_plane = ControlPlane::start();
    control_plane.push(&sent.version_info, sent.resources);
    let server = control_plane.follower(|_| {});
    let mut client = server.client().await;
    let mut decide = async |domain: &str, entries: &[(&str, &str)]| {
        let answer = client.should_rate_limit(request(domain, &[entries])).await.unwrap().into_inner();
        let limit = answer.statuses[0].current_limit.clone();
        let unit = |limit: envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::RateLimit| {
            (limit.requests_per_unit, limit.unit().as_str_name())
        };
        (answer.overall_code, limit.map(unit))
    };
    // As Envoy sends them, by the actions that Envoy Gateway gave it.
    let domain = "default/shop/http";
    let user = [(ORDERS, ORDERS), ("rule-0-match-0", "ann")];
    for _ in 0..3 {
        assert_eq!(decide(domain, &user).await, (OK, Some((3, "DAY"))));
    }
    assert_eq!(decide(domain, &user).await, (OVER_LIMIT, Some((3, "DAY"))));
    assert_eq!(decide(domain, &[(ORDERS, ORDERS), ("rule-0-match-0", "bob")]).await.0, OK);
    let address = [(ORDERS, ORDERS), ("masked_remote_address", "0.0.0.0/0"), ("remote_address", "203.0.113.9")];
    assert_eq!(decide(domain, &address).await, (OK, Some((100, "MONTH"))));
    let gold = [(ORDERS, ORDERS), ("rule-2-match-0", "rule-2-match-0")];
    for _ in 0..6 {
        assert_eq!(decide(domain, &gold).await, (OK, Some((5, "YEAR"))));
    }
    let all = [(ORDERS, ORDERS), ("rule-3-match--1", "rule-3-match--1")];
    assert_eq!(decide(domain, &all).await, (OK, Some((1_000, "MINUTE"))));
    let bulk = [(SEARCH, SEARCH), ("rule-0-method", "rule-0-method"), ("rule-0-path", "rule-0-path")];
    assert_eq!(decide(domain, &bulk).await, (OK, Some((7, "WEEK"))));
    assert_eq!(decide(domain, &[(SEARCH, SEARCH)]).await, (OK, None));
    let shared = [("default/search/rule/1", "default/search/rule/1"), ("rule-0-match--1", "rule-0-match--1")];
    assert_eq!(decide("default/search", &shared).await, (OK, Some((50, "DAY"))));
}

/// A running Envoy Gateway with its Envoy; both end when this is dropped.
struct EnvoyGateway(Child);

impl EnvoyGateway {
    fn start(directory: &Path) -> Self {
        for port in ITS_PORTS {
            let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err();
            assert!(!taken, "port {port} is taken, and Envoy Gateway listens there; end what uses it");
        }
        let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
        let child = Command::new(binary())
            .args(["server", "--config-path"])
            .arg(directory.join("envoy-gateway.yaml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for EnvoyGateway {
    fn drop(&mut self) {
        // Asked to end, it ends its Envoy too.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("TIDEGATE_TEST_ENVOY_GATEWAY");
    path.expect("TIDEGATE_TEST_ENVOY_GATEWAY names no envoy-gateway 1.9.1; scripts/test-control-planes does").into()
}

/// The Envoy that `scripts/setup` fetched, or the one that `TIDEGATE_TEST_ENVOY` names.
fn envoy() -> PathBuf {
    let path = std::env::var_os("TIDEGATE_TEST_ENVOY").map(PathBuf::from);
    let path = path.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/envoy/1.40.0/envoy"));
    assert!(path.exists(), "{} is missing: run scripts/setup, which fetches it", path.display());
    path
}

/// Waits until `condition` gives something; says what the log says when it does not.
fn soon<T>(what: &str, directory: &Path, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        if Instant::now() > deadline {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            let telling =
                |line: &&str| ["error", "rejected", "failed", "warning"].iter().any(|word| line.contains(word));
            let lines: Vec<_> = log.lines().filter(telling).take(20).collect();
            panic!("{what} did not happen; Envoy Gateway says:\n{}", lines.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes the certificates and the settings of an Envoy Gateway that takes its resources from `resources` in it.
fn prepare(directory: &Path) {
    let made = Command::new(binary())
        .args(["certgen", "--local", "--config-home"])
        .arg(directory.join("config"))
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    // It would fetch an Envoy, if there were none.
    let versions = directory.join("data/envoy-versions/1.40.0/bin");
    fs::create_dir_all(&versions).unwrap();
    symlink(envoy(), versions.join("envoy")).unwrap();
    fs::create_dir(directory.join("resources")).unwrap();
    let at = directory.display();
    // More time for decisions than on a machine of one's own, and no request that passes for lack of time.
    let settings = format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyGateway
gateway: {{ controllerName: gateway.envoyproxy.io/gatewayclass-controller }}
provider:
  type: Custom
  custom:
    resource: {{ type: File, file: {{ paths: [\"{at}/resources\"] }} }}
    infrastructure:
      type: Host
      host: {{ configHome: {at}/config, dataHome: {at}/data, stateHome: {at}/state, runtimeDir: {at}/run }}
extensionApis: {{ enableBackend: true, enableEnvoyPatchPolicy: true }}
rateLimit:
  timeout: 10s
  failClosed: true
  backend: {{ type: Redis, redis: {{ url: localhost:6379 }} }}
"
    );
    fs::write(directory.join("envoy-gateway.yaml"), settings).unwrap();
}

/// Writes the resources, with the ports of this run, and the limit of each user's orders. Envoy asks the Tidegate of
/// the test instead of one in the cluster.
fn apply(directory: &Path, listener: u16, backend: u16, tidegate: SocketAddr, limit: u32) {
    let replaced = [
        ("port: 8888", format!("port: {listener}")),
        ("port: 3000", format!("port: {backend}")),
        ("requests: 3,", format!("requests: {limit},")),
    ];
    let resources = replaced.iter().fold(POLICIES.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from} must stand exactly once");
        text.replace(from, to)
    });
    let cluster = |path: &str, value: &str| {
        format!(
            "
    - type: type.googleapis.com/envoy.config.cluster.v3.Cluster
      name: ratelimit_cluster
      operation: {{ op: replace, path: {path}, value: {value} }}"
        )
    };
    let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    let ca = "/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca/filename";
    let patch = format!(
        "{resources}---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyPatchPolicy
metadata: {{ name: limiter, namespace: default }}
spec:
  targetRef: {{ group: gateway.networking.k8s.io, kind: Gateway, name: shop }}
  type: JSONPatch
  jsonPatches:{}{}
",
        cluster(address, &format!("{{ address: {}, port_value: {} }}", tidegate.ip(), tidegate.port())),
        cluster(ca, &directory.join("config/certs/envoy/ca.crt").display().to_string()),
    );
    // Moved into its place, so that nobody reads half of it.
    let new = directory.join("resources.new");
    fs::write(&new, patch).unwrap();
    fs::rename(new, directory.join("resources/policies.yaml")).unwrap();
}

/// A port for Envoy's listener: a free one of those that the system gives nobody by itself, as Envoy binds it much later.
fn listener_port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    (first..30_000).chain(20_000..first).find(free).expect("a free port")
}

/// A backend that says yes to everything.
fn backend() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = std::io::BufReader::new(stream);
                let mut line = String::new();
                while std::io::BufRead::read_line(&mut reader, &mut line).is_ok_and(|read| read > 0) {
                    if line == "\r\n" {
                        let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    }
                    line.clear();
                }
            });
        }
    });
    port
}

/// The status of a user's request to a host through Envoy; `None` while there is none.
fn visit(listener: u16, host: &str, user: &str) -> Option<u16> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener));
    std::net::TcpStream::connect(address).ok()?;
    let mut stream = dial(address);
    let head = format!("GET / HTTP/1.1\r\nhost: {host}.example.com\r\nconnection: close\r\nx-user-id: {user}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    Some(read_answer(&mut stream).status)
}

/// How Envoy Gateway's limiter connects.
fn limiter(directory: &Path) -> Xds {
    let file = |name: &str| Some(directory.join("config/certs/envoy-rate-limit").join(name));
    let san = Some("envoy-gateway".to_owned());
    let tls = XdsTls { ca: file("ca.crt"), certificate: file("tls.crt"), key: file("tls.key"), san };
    Xds { server: XDS.to_owned(), tls: Some(tls), ..Xds::default() }
}

/// What Envoy Gateway sends at first to its limiter.
#[tokio::main(flavor = "current_thread")]
async fn captured(directory: &Path) -> DiscoveryResponse {
    let channel = connect::connect(&limiter(directory)).await.unwrap();
    let node = Node { id: "envoy-ratelimit".to_owned(), ..Node::default() };
    let first = DiscoveryRequest { node: Some(node), type_url: TYPE_URL.to_owned(), ..DiscoveryRequest::default() };
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
    let mut client = aggregated::AggregatedDiscoveryServiceClient::new(channel);
    let answers = async { client.stream_aggregated_resources(requests).await.unwrap().into_inner().message().await };
    tokio::time::timeout(PATIENCE, answers).await.unwrap().unwrap().unwrap()
}

/// The domains of a response, in order.
fn domains(response: &DiscoveryResponse) -> Vec<RateLimitConfig> {
    let mut domains: Vec<_> =
        response.resources.iter().map(|resource| RateLimitConfig::decode(&*resource.value).unwrap()).collect();
    domains.sort_by(|a, b| a.domain.cmp(&b.domain));
    domains
}

#[test]
#[ignore = "needs envoy-gateway: scripts/test-control-planes builds it"]
fn a_real_envoy_gateway_and_its_envoy_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    prepare(at);
    let certificates = at.join("config/certs/envoy-rate-limit");
    // The environment is what Envoy Gateway gives its limiter, but for what differs from a pod.
    let place = |value: &str| value.replace("/certs", certificates.to_str().unwrap());
    let value =
        |name: &str, value: &str| if name == "CONFIG_GRPC_XDS_SERVER_URL" { XDS.to_owned() } else { place(value) };
    let mut env: Vec<_> = ENVOY_GATEWAY.into_iter().map(|(name, text)| (name, value(name, text))).collect();
    env.push(("CONFIG_GRPC_XDS_SERVER_TLS_SAN", "envoy-gateway".to_owned()));
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // It is there before Envoy Gateway.
    let tidegate = process::Server::start_from(&[], &env);
    assert_eq!(get(tidegate.http, "/healthcheck").status, 500);

    let listener = listener_port();
    let backend = backend();
    apply(at, listener, backend, tidegate.grpc, 3);
    let gateway = EnvoyGateway::start(at);
    soon("rules", at, || (get(tidegate.http, "/healthcheck").status == 200).then_some(()));
    // Envoy may be there before it is told of Tidegate; then it denies, as asked to.
    let mut probes = 0..;
    soon("a request that passes", at, || {
        let probe = format!("probe-{}", probes.next().unwrap());
        (visit(listener, "orders", &probe) == Some(200)).then_some(())
    });
    let statuses: Vec<_> = (0..5).map(|_| visit(listener, "orders", "ann").unwrap()).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(visit(listener, "orders", "bob"), Some(200));
    // Fifty requests of anybody, in a domain of its own.
    let statuses: Vec<_> = (0..51).map(|_| visit(listener, "search", "ann").unwrap()).collect();
    assert_eq!(statuses.iter().position(|status| *status != 200), Some(50), "{statuses:?}");

    let sent = captured(at);
    let renew = "set TIDEGATE_TEST_RENEW=1 to renew tests/xds/envoy-gateway/ratelimit.pb";
    if std::env::var_os("TIDEGATE_TEST_RENEW").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/xds/envoy-gateway/ratelimit.pb");
        fs::write(path, sent.encode_to_vec()).unwrap();
    } else {
        assert_eq!(domains(&sent), domains(&DiscoveryResponse::decode(SENT).unwrap()), "{renew}");
    }

    // A changed policy is in force for the same counter.
    apply(at, listener, backend, tidegate.grpc, 6);
    let limit_of_a_user = |limit: u32| {
        let shown = get(tidegate.admin, "/rlconfig").body;
        shown.contains(&format!("rule-0-match-0: unit=DAY requests_per_unit={limit},")).then_some(())
    };
    soon("another limit", at, || limit_of_a_user(6));
    assert_eq!(visit(listener, "orders", "ann"), Some(200), "five hits were counted");
    assert_eq!(visit(listener, "orders", "ann"), Some(429));

    // Without Envoy Gateway and its Envoy, decisions go on.
    drop(gateway);
    let xds = || get(tidegate.http, "/readyz?verbose").json()["rules"]["xds"].clone();
    soon("Envoy Gateway being missed", at, || (xds()["connected"] == false).then_some(()));
    let descriptor = format!(
        r#"{{"domain": "default/shop/http", "descriptors": [{{"entries": [{{"key": "{ORDERS}", "value": "{ORDERS}"}},
            {{"key": "rule-0-match-0", "value": "ann"}}]}}]}}"#
    );
    assert_eq!(tidegate.json(&descriptor).status, 429);
    apply(at, listener, backend, tidegate.grpc, 50);
    let _gateway = EnvoyGateway::start(at);
    soon("the rules of the next Envoy Gateway", at, || limit_of_a_user(50));
    assert_eq!(tidegate.json(&descriptor).status, 200);
    assert_eq!(xds()["connected"], true);
}
