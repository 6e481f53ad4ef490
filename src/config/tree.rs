//! The tree of settings. Field names are what users write, so they do not change without a reason; every field says
//! its unit, range and default, and `docs/configuration.md` lists them all.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::anomaly::Anomaly;
use super::database::Database;
use super::ext_authz::ExtAuthz;
use super::redis::Redis;
use super::scalar::{self, address, duration, list, optional_address};
use super::xds::Xds;
use crate::core::spec::{FailureMode, HeaderFamilies};

/// Every setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The gRPC listener that Envoy asks.
    pub grpc: Grpc,
    /// The HTTP listener: decisions for anything that is not Envoy, and health.
    pub http: Http,
    /// The administration listener: metrics, and what runs inside.
    pub admin: Admin,
    /// Where rules come from.
    pub rules: Rules,
    /// How requests are decided and answered.
    pub limiter: Limiter,
    /// How requests that Envoy describes as a whole become descriptors.
    pub ext_authz: ExtAuthz,
    /// What the anomaly worker remembers, and what it does about what it finds.
    pub anomaly: Anomaly,
    /// Counters in Redis. Default: none, counters are in this process's memory.
    pub redis: Option<Redis>,
    /// The database that keeps rules. Default: none.
    pub database: Option<Database>,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// Logs, traces and metrics.
    pub telemetry: Telemetry,
}

/// The gRPC listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpc {
    /// Where to listen, `ip:port`. Default `0.0.0.0:8081`.
    #[serde(with = "address")]
    pub address: SocketAddr,
    /// Path of a Unix socket to listen on instead of `address`. Default: none.
    pub unix_socket: Option<PathBuf>,
    /// Worker threads; each owns its connections. 0 follows the CPUs the process may use (affinity and cgroup
    /// quota). 0 to 1024, default 0.
    pub workers: usize,
    /// How old a connection may grow before the client is asked to open another, so that load spreads anew: each
    /// connection gets a random age between this and twice this. `0s` is no limit. Default `5m`.
    #[serde(with = "duration")]
    pub max_connection_age: Duration,
    /// How long calls in flight on a connection that grew too old may still take; `0s` is no limit. Default `30s`.
    #[serde(with = "duration")]
    pub max_connection_age_grace: Duration,
    /// Calls in flight on one connection; further ones wait at the client. 1 to 1 000 000, default 1024.
    pub max_concurrent_streams: u32,
    /// The largest message accepted, bytes. 1024 to 64 MiB, default 16777216 (16 MiB): more than Envoy sends when every
    /// descriptor holds the longest header that it lets a client send, or clients could make their own check fail.
    pub max_message_bytes: usize,
    /// Send a ping on a connection that has been idle so long; `0s` sends none. At least `1s`, default `30s`.
    #[serde(with = "duration")]
    pub keepalive_interval: Duration,
    /// Close a connection whose ping is not answered within this time. More than `0s`, default `10s`.
    #[serde(with = "duration")]
    pub keepalive_timeout: Duration,
    /// How long a new connection may take for its TLS and HTTP/2 handshakes. More than `0s`, default `5s`.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// Serve TLS, reloaded when the files change. Default: none, plain text.
    pub tls: Option<Tls>,
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8081)),
            unix_socket: None,
            workers: 0,
            max_connection_age: Duration::from_secs(300),
            max_connection_age_grace: Duration::from_secs(30),
            max_concurrent_streams: 1024,
            max_message_bytes: 16 << 20,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            tls: None,
        }
    }
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate chain, a PEM file. Required.
    pub certificate: PathBuf,
    /// Its private key, a PEM file. Required.
    pub key: PathBuf,
    /// Certificate authorities, a PEM file. When set, clients must show a certificate signed by one of them.
    /// Default: none, clients need no certificate.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// DNS names, one of which a client's certificate must carry; needs `client_ca`. Default: none, any name.
    #[serde(default, deserialize_with = "list::deserialize")]
    pub client_san: Vec<String>,
}

/// The HTTP listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where to listen, `ip:port`. Default `0.0.0.0:8080`.
    #[serde(with = "address")]
    pub address: SocketAddr,
    /// Path of a Unix socket to listen on besides `address`. It has mode 0600, and whoever may use it may change rules
    /// without a token. Default: none.
    pub unix_socket: Option<PathBuf>,
    /// The domain whose rules `POST /rate-limit` uses. Not empty, default `edge`.
    pub domain: String,
    /// The largest request body, bytes. 1024 to 64 MiB, default 1048576 (1 MiB).
    pub max_body_bytes: usize,
    /// How long a request may take, its body included. More than `0s`, default `10s`.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// The largest text of `POST /rate-limit/rules:apply`, bytes. 1024 to 256 MiB, default 67108864 (64 MiB).
    pub max_apply_bytes: usize,
    /// How long applying it may take. More than `0s`, default `2m`.
    #[serde(with = "duration")]
    pub apply_timeout: Duration,
    /// Serve TLS on `address`, reloaded when the files change. Default: none, plain text.
    pub tls: Option<Tls>,
    /// Let everybody change rules and reset counters without a token, here and on the administration listener. For
    /// trying out. Default `false`.
    pub allow_unauthenticated: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            unix_socket: None,
            domain: "edge".to_owned(),
            max_body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(10),
            max_apply_bytes: 64 << 20,
            apply_timeout: Duration::from_secs(120),
            tls: None,
            allow_unauthenticated: false,
        }
    }
}

/// The administration listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to listen, `ip:port`. Metrics are open to whoever reaches it; the rest asks for the tokens of the API.
    /// Default `127.0.0.1:6070`.
    #[serde(with = "address")]
    pub address: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 6070)) }
    }
}

/// Where rules come from: `paths`, or a `runtime` directory as envoyproxy/ratelimit has it, or an `xds` server, or a
/// repository; only one of them. With none, the example rules built into the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// YAML files, and directories of them. Default: none.
    #[serde(deserialize_with = "list::deserialize")]
    pub paths: Vec<PathBuf>,
    /// A directory laid out as envoyproxy/ratelimit's. Default: none.
    pub runtime: Option<Runtime>,
    /// An xDS server that hands them out. Default: none.
    pub xds: Option<Xds>,
    /// Merge the descriptors of files (or xDS resources) that name the same domain, instead of refusing them. Default
    /// `false`.
    pub merge_domains: bool,
    /// Refuse what otherwise is a warning: misplaced keys, duplicate keys, later documents, stray files. Default
    /// `false`.
    pub strict: bool,
    /// How long files must be quiet after a change before they are loaded. At most `1m`, default `200ms`.
    #[serde(with = "duration")]
    pub debounce: Duration,
    /// How often files are looked at besides the notices of the operating system, which some file systems do not
    /// give; `0s` is never. Else at least `100ms`, default `10s`.
    #[serde(with = "duration")]
    pub poll_interval: Duration,
    /// Start although the first rules do not load: requests are answered with an error, and health says so, until
    /// they do. Default `false`: the process ends with the reason; the first rules of an xDS server are waited for.
    pub start_without: bool,
    /// The file of the embedded repository, made if it is not there, when rules come neither from files nor from
    /// Postgres. Default: none, rules that are changed through the API last as long as the process.
    pub repository_file: Option<PathBuf>,
    /// Refuse to start when neither the repository (or the xDS server) nor a copy of it gives any rules in time. Default
    /// `false`: requests are answered with an error, and health says so, until one does.
    pub required: bool,
    /// A directory for a copy of the rules of a repository or an xDS server, from which the process starts when nothing
    /// else is reached. Each process has its own. Default: none.
    pub copy_directory: Option<PathBuf>,
    /// A file whose first line is the key that copies are authenticated with, on disk and in Redis, and what anomaly workers
    /// share there: at least 32 bytes, the same for all replicas. Default: none, they have checksums only.
    pub copy_key_file: Option<PathBuf>,
    /// Whether this process may publish the copy in Redis, when there is a `redis` section. It reads it in any case.
    /// Default `true`.
    pub publish_copies: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            runtime: None,
            xds: None,
            merge_domains: false,
            strict: false,
            debounce: Duration::from_millis(200),
            poll_interval: Duration::from_secs(10),
            start_without: false,
            repository_file: None,
            required: false,
            copy_directory: None,
            copy_key_file: None,
            publish_copies: true,
        }
    }
}

/// A directory of rules laid out as envoyproxy/ratelimit's: `<root>/<subdirectory>/<app_directory>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// The directory, or a symbolic link to it that deployments swap. Default `/srv/runtime_data/current`.
    pub root: PathBuf,
    /// Below the root. Default: none.
    pub subdirectory: PathBuf,
    /// Below the subdirectory; holds the files. Default `config`.
    pub app_directory: PathBuf,
    /// Leave out files and directories whose name starts with a dot, as Kubernetes makes them. Default `false`.
    pub ignore_dotfiles: bool,
    /// Watch for a swapped link at the root, instead of changes in the directory itself. Default `true`.
    pub watch_root: bool,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/srv/runtime_data/current"),
            subdirectory: PathBuf::new(),
            app_directory: PathBuf::from("config"),
            ignore_dotfiles: false,
            watch_root: true,
        }
    }
}

impl Runtime {
    /// The directory that holds the files.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.root.join(&self.subdirectory).join(&self.app_directory)
    }
}

/// How requests are decided and answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limiter {
    /// Answer OK to every request; statuses, headers and metrics still tell what would have been. Default `false`.
    pub shadow_mode: bool,
    /// Treat every rule as a quota rule: the answer is over limit only if all of a request's are. Default `false`.
    pub quota_mode: bool,
    /// From which share of a limit on its hits count as near it. 0 to 1, default 0.8.
    #[serde(serialize_with = "scalar::serialize_f32")]
    pub near_limit_ratio: f32,
    /// The most descriptors in one request; more are refused. 1 to 10 000, default 100.
    pub max_descriptors: usize,
    /// What rules that choose none do when counters cannot be reached: `local` counts in this process at its share of
    /// the limit, `open` lets pass, `closed` denies, `error` answers with an error. Default `local`.
    pub failure_mode: FailureMode,
    /// The most counters kept in memory; beyond them the ones that matter least give way. 1000 to 1 000 000 000,
    /// default 1 000 000.
    pub max_counters: usize,
    /// Response headers of domains that choose none: `draft` (`RateLimit-Policy`, `RateLimit`), `legacy`
    /// (`RateLimit-Limit`, `-Remaining`, `-Reset`), `x` (the same with `X-`). Default `[draft]`.
    #[serde(deserialize_with = "list::deserialize")]
    pub response_headers: Vec<HeaderFamily>,
    /// Names of the `legacy` family.
    pub header_names: HeaderNames,
    /// Tell in the response's dynamic metadata which rule decided. Default `true`.
    pub dynamic_metadata: bool,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            shadow_mode: false,
            quota_mode: false,
            near_limit_ratio: 0.8,
            max_descriptors: 100,
            failure_mode: FailureMode::Local,
            max_counters: 1_000_000,
            response_headers: vec![HeaderFamily::Draft],
            header_names: HeaderNames::default(),
            dynamic_metadata: true,
        }
    }
}

impl Limiter {
    /// The response headers of domains that choose none.
    #[must_use]
    pub fn header_families(&self) -> HeaderFamilies {
        let has = |family| self.response_headers.contains(&family);
        HeaderFamilies { draft: has(HeaderFamily::Draft), legacy: has(HeaderFamily::Legacy), x: has(HeaderFamily::X) }
    }
}

/// A family of response headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderFamily {
    /// `RateLimit-Policy` and `RateLimit`, the IETF draft's structured fields.
    Draft,
    /// `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset`, or as `header_names` says.
    Legacy,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset`.
    X,
}

/// Names of the `legacy` header family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderNames {
    /// The limit. An HTTP header name, default `RateLimit-Limit`.
    pub limit: String,
    /// Hits left. An HTTP header name, default `RateLimit-Remaining`.
    pub remaining: String,
    /// Seconds until hits are there again. An HTTP header name, default `RateLimit-Reset`.
    pub reset: String,
}

impl Default for HeaderNames {
    fn default() -> Self {
        Self {
            limit: "RateLimit-Limit".to_owned(),
            remaining: "RateLimit-Remaining".to_owned(),
            reset: "RateLimit-Reset".to_owned(),
        }
    }
}

/// How the process ends, on SIGTERM and SIGINT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// First, health says NOT_SERVING and everything is still served, so that clients can turn away. At most `1h`,
    /// default `5s`.
    #[serde(with = "duration")]
    pub drain_period: Duration,
    /// Then, how long requests in flight may take before they are dropped. At most `1h`, default `10s`.
    #[serde(with = "duration")]
    pub grace_period: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain_period: Duration::from_secs(5), grace_period: Duration::from_secs(10) }
    }
}

/// Logs, traces and metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Logs, on standard error.
    pub logs: Logs,
    /// Traces, sent by OTLP.
    pub traces: Traces,
    /// Metrics, scraped from the administration listener.
    pub metrics: Metrics,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; also per module, `info,tidegate::rules=debug`. Default
    /// `info`.
    pub level: String,
    /// `text` or `json`. Default `text`.
    pub format: LogFormat,
}

impl Default for Logs {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// Send a span for decisions. Default `false`.
    pub enabled: bool,
    /// The collector, `http://host:port`. Default `http://localhost:4317`.
    pub endpoint: String,
    /// How to speak to it: `grpc`. Default `grpc`.
    pub protocol: TraceProtocol,
    /// Which share of the decisions that come without a trace of their caller's starts one; a caller's own choice is
    /// followed. 0 to 1, default 1.
    pub sampling_ratio: f64,
    /// The service's name in traces. Not empty, default `tidegate`.
    pub service_name: String,
    /// How long sending one batch may take. More than `0s`, default `10s`.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            enabled: false,
            endpoint: "http://localhost:4317".to_owned(),
            protocol: TraceProtocol::Grpc,
            sampling_ratio: 1.0,
            service_name: "tidegate".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }
}

/// How spans are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceProtocol {
    /// OTLP over gRPC.
    #[default]
    Grpc,
}

/// Metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Serve metrics. Default `true`.
    pub enabled: bool,
    /// The most series of rules kept; further rules share their domain's series `other`. 1 to 1 000 000, default
    /// 10 000.
    pub max_series: usize,
    /// The most domains told apart; further ones share one series. 1 to 100 000, default 1000.
    pub max_domains: usize,
    /// A further listener, `ip:port`, with the metric names of envoyproxy/ratelimit. Default: none.
    #[serde(with = "optional_address")]
    pub prometheus_address: Option<SocketAddr>,
    /// The path on that listener. Starts with `/`, default `/metrics`.
    pub prometheus_path: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            max_series: 10_000,
            max_domains: 1000,
            prometheus_address: None,
            prometheus_path: "/metrics".to_owned(),
        }
    }
}
