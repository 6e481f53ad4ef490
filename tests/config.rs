//! Settings: layers, sources, mistakes, printing, and the environment names of envoyproxy/ratelimit.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::time::Duration;

use tidegate::config::compat::{TABLE, Treatment, Weight};
use tidegate::config::redis::{RedisTls, Secret, Topology};
use tidegate::config::{Config, ConfigErrors, Flag, HeaderFamily, LoadOptions, Loaded, LogFormat, Runtime};

/// Loads with a settings file of that text and those variables; keeps the directory until the end.
fn load_all(yaml: &str, env: &[(&str, &str)], flags: &[Flag]) -> (Result<Loaded, ConfigErrors>, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.yaml");
    std::fs::write(&file, yaml).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let result = Config::load(&LoadOptions { file: Some(file.clone()), env, flags: flags.to_vec() });
    (result, file.display().to_string())
}

fn from_yaml(yaml: &str) -> Config {
    load_all(yaml, &[], &[]).0.unwrap().config
}

fn from_env(env: &[(&str, &str)]) -> Loaded {
    load_all("", env, &[]).0.unwrap()
}

/// The mistakes as texts, the file's name cut out.
fn mistakes(yaml: &str, env: &[(&str, &str)], flags: &[Flag]) -> Vec<String> {
    let (result, file) = load_all(yaml, env, flags);
    result.unwrap_err().0.iter().map(|error| error.to_string().replace(&file, "FILE")).collect()
}

#[test]
fn nothing_given_is_the_default() {
    let loaded = Config::load(&LoadOptions::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.sources.of("grpc.address"), "default");
    assert!(loaded.notes.is_empty());
    assert_eq!(from_yaml("# nothing\n\n"), Config::default());
    assert_eq!(from_yaml("grpc:\n  # nothing\n"), Config::default());
}

#[test]
fn each_layer_is_over_the_ones_before() {
    let yaml = "grpc:\n  address: 1.1.1.1:1\n  workers: 1\n  max_concurrent_streams: 1\n  max_connection_age: 1m\n";
    let env = [
        ("GRPC_PORT", "2"),
        ("GRPC_MAX_CONNECTION_AGE", "2m"),
        ("TIDEGATE_GRPC__MAX_CONNECTION_AGE", "3m"),
        ("TIDEGATE_GRPC__WORKERS", "3"),
    ];
    let flags = [Flag::new("--workers", "grpc.workers", 4)];
    let (loaded, file) = load_all(yaml, &env, &flags);
    let loaded = loaded.unwrap();
    let grpc = &loaded.config.grpc;
    assert_eq!(grpc.address.to_string(), "1.1.1.1:2", "only the port is overridden");
    assert_eq!(grpc.max_connection_age, Duration::from_secs(180));
    assert_eq!(grpc.workers, 4);
    assert_eq!(grpc.max_concurrent_streams, 1);
    assert_eq!(loaded.sources.of("grpc.address"), "GRPC_PORT");
    assert_eq!(loaded.sources.of("grpc.max_connection_age"), "TIDEGATE_GRPC__MAX_CONNECTION_AGE");
    assert_eq!(loaded.sources.of("grpc.workers"), "--workers");
    assert_eq!(loaded.sources.of("grpc.max_concurrent_streams"), format!("{file}:4"));
    assert_eq!(loaded.sources.of("http.address"), "default");
}

#[test]
fn the_environment_can_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.yaml");
    std::fs::write(&file, "http: { domain: inner }").unwrap();
    let env = vec![("TIDEGATE_CONFIG".to_owned(), file.display().to_string())];
    let loaded = Config::load(&LoadOptions { env, ..LoadOptions::default() }).unwrap();
    assert_eq!(loaded.config.http.domain, "inner");
}

#[test]
fn every_kind_of_value_can_be_written() {
    let config = from_yaml(
        r#"
grpc:
  address: ":9081"
  unix_socket: /run/tidegate.sock
  keepalive_interval: 1m 30s
  handshake_timeout: 1.5s
  max_connection_age: 1h0m0s
  tls: { certificate: a.pem, key: b.pem, client_ca: c.pem, client_san: [envoy.local, other.local] }
http: { address: "localhost:9080", domain: 4 }
admin: { address: "[::1]:6070" }
rules: { paths: [a.yaml, /etc/rules], strict: yes }
limiter: { near_limit_ratio: 0.5, response_headers: [legacy, x], max_counters: 2_000 }
telemetry: { logs: { format: json }, metrics: { prometheus_address: "127.0.0.1:9090" } }
"#,
    );
    assert_eq!(config.grpc.address.to_string(), "0.0.0.0:9081");
    assert_eq!(config.grpc.unix_socket, Some(PathBuf::from("/run/tidegate.sock")));
    assert_eq!(config.grpc.keepalive_interval, Duration::from_secs(90));
    assert_eq!(config.grpc.handshake_timeout, Duration::from_millis(1500));
    assert_eq!(config.grpc.max_connection_age, Duration::from_secs(3600));
    assert_eq!(config.grpc.tls.unwrap().client_san, ["envoy.local", "other.local"]);
    assert_eq!(config.http.address.to_string(), "127.0.0.1:9080");
    assert_eq!(config.http.domain, "4");
    assert_eq!(config.admin.address.to_string(), "[::1]:6070");
    assert_eq!(config.rules.paths, [PathBuf::from("a.yaml"), PathBuf::from("/etc/rules")]);
    assert!(config.rules.strict);
    assert_eq!(config.limiter.near_limit_ratio, 0.5);
    assert_eq!(config.limiter.max_counters, 2_000);
    assert_eq!(config.limiter.response_headers, [HeaderFamily::Legacy, HeaderFamily::X]);
    assert_eq!(config.telemetry.logs.format, LogFormat::Json);
    assert_eq!(config.telemetry.metrics.prometheus_address.unwrap().port(), 9090);
}

#[test]
fn lists_and_switches_in_the_environment() {
    let loaded = from_env(&[
        ("TIDEGATE_RULES__PATHS", "a.yaml, b.yaml"),
        ("TIDEGATE_LIMITER__RESPONSE_HEADERS", "draft,x"),
        ("TIDEGATE_LIMITER__SHADOW_MODE", "true"),
        ("TIDEGATE_LIMITER__NEAR_LIMIT_RATIO", "0.9"),
        ("TIDEGATE_TELEMETRY__TRACES__ENABLED", "1"),
        ("TIDEGATE_HTTP__DOMAIN", "42"),
        // None of ours: Kubernetes makes these for a service named tidegate.
        ("TIDEGATE_PORT", "tcp://10.0.0.1:8081"),
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        // Set to nothing counts as not set.
        ("TIDEGATE_GRPC__WORKERS", ""),
    ]);
    assert_eq!(loaded.config.rules.paths, [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")]);
    assert_eq!(loaded.config.limiter.response_headers, [HeaderFamily::Draft, HeaderFamily::X]);
    assert!(loaded.config.limiter.shadow_mode);
    assert_eq!(loaded.config.limiter.near_limit_ratio, 0.9);
    assert!(loaded.config.telemetry.traces.enabled);
    assert_eq!(loaded.config.http.domain, "42");
    assert_eq!(loaded.config.grpc.workers, 0);
}

#[test]
fn all_mistakes_are_told_at_once_with_their_place() {
    let yaml = "\
grpc:
  adress: 0.0.0.0:1
  keepalive_timeout: 10
  max_connection_age: soon
http:
  address: nowhere
  max_body_bytes: many
limiter:
  response_headers: [draft, modern]
  near_limit_ratio: 1.5
rules: 5
";
    let env = [("TIDEGATE_GRPC__WORKERS", "-1"), ("TIDEGATE_NOPE__X", "1"), ("NEAR_LIMIT_RATIO", "2")];
    let flags = [Flag::new("--shutdown", "shutdown.drain_period", "2h")];
    let mut found = mistakes(yaml, &env, &flags);
    found.sort();
    let expected = [
        "grpc.adress from FILE:2: there is no setting 'adress'; here are address, unix_socket, workers, \
         max_connection_age, max_connection_age_grace, max_concurrent_streams, max_message_bytes, \
         keepalive_interval, keepalive_timeout, handshake_timeout, tls",
        "grpc.keepalive_timeout from FILE:3: \"10\" is no length of time; the unit is missing; write one such as \
         \"10s\", \"1m 30s\" or \"250ms\"",
        "grpc.max_connection_age from FILE:4: \"soon\" is no length of time; write one such as \"10s\", \"1m 30s\" or \
         \"250ms\"",
        "grpc.workers from TIDEGATE_GRPC__WORKERS: expected a whole number, not negative and not too large, found \
         -1",
        "http.address from FILE:6: \"nowhere\" is no address to listen on; write one such as \"0.0.0.0:8081\" or \
         \"[::]:8081\"",
        "http.max_body_bytes from FILE:7: expected a whole number, not negative and not too large, found \"many\"",
        "limiter.near_limit_ratio from NEAR_LIMIT_RATIO: 2 is out of range; write 0 to 1",
        "limiter.response_headers[1] from FILE:9: 'modern' is none of the choices; write one of draft, legacy, x",
        "nope from TIDEGATE_NOPE__X: there is no setting 'nope'; here are grpc, http, admin, rules, limiter, \
         ext_authz, anomaly, redis, database, shutdown, telemetry",
        "rules from FILE:11: expected a section with settings in it, found \"5\"",
        "shutdown.drain_period from --shutdown: 2h is too long; write at most 1h",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_must_hold_between_fields() {
    let yaml = "\
grpc: { address: 0.0.0.0:9000, tls: { certificate: a, key: b, client_san: [x] } }
http: { address: 127.0.0.1:9000, domain: '' }
rules: { paths: [a.yaml], runtime: { root: /srv } }
limiter: { header_names: { limit: 'no header' } }
telemetry:
  logs: { level: 'tidegate=loud' }
  traces: { endpoint: collector }
  metrics: { prometheus_path: metrics }
";
    let found = mistakes(yaml, &[], &[]);
    let fields: Vec<_> = found.iter().map(|text| text.split(' ').next().unwrap()).collect();
    let expected = [
        "grpc.tls.client_san",
        "http.domain",
        "http.address",
        "rules.paths",
        "limiter.header_names.limit",
        "telemetry.logs.level",
        "telemetry.traces.endpoint",
        "telemetry.metrics.prometheus_path",
    ];
    assert_eq!(fields, expected, "{found:#?}");
    assert!(found[2].ends_with("from FILE:2: port 9000 is grpc.address's already; write another port"), "{}", found[2]);
}

#[test]
fn a_broken_file_is_told_with_its_line() {
    assert!(mistakes("grpc:\n  address: [\n", &[], &[])[0].starts_with("FILE:"));
    let twice = mistakes("grpc:\n  workers: 1\n  workers: 2\n", &[], &[]);
    assert!(twice[0].starts_with("FILE:3: "), "{twice:?}");
    let list = mistakes("- a\n", &[], &[]);
    assert_eq!(list, ["FILE:1: the file must hold sections, such as \"grpc:\""]);
    let nested = mistakes("rules:\n  paths: [[a]]\n", &[], &[]);
    assert_eq!(nested, ["rules.paths[0] from FILE:2: expected a path, found a list"]);
    let missing = LoadOptions { file: Some("/nonexistent/tidegate.yaml".into()), ..LoadOptions::default() };
    let missing = Config::load(&missing).unwrap_err().to_string();
    assert!(missing.starts_with("/nonexistent/tidegate.yaml: the settings file cannot be read"), "{missing}");
    let half = mistakes("grpc: { tls: { certificate: a.pem } }", &[], &[]);
    assert_eq!(half, ["grpc.tls from FILE:1: 'key' is missing; write it too"]);
}

#[test]
fn what_is_printed_loads_again_as_the_same() {
    let yaml = "\
grpc: { workers: 3, unix_socket: '/run/a b.sock', tls: { certificate: a.pem, key: b.pem } }
admin: { address: '[::1]:6070' }
rules: { paths: [a.yaml, 'b #c.yaml'] }
http: { domain: 'true' }
limiter: { near_limit_ratio: 0.7, response_headers: [] }
telemetry: { logs: { level: 'info,tidegate=debug' } }
";
    let (loaded, file) = load_all(yaml, &[("SHADOW_MODE", "true")], &[]);
    let loaded = loaded.unwrap();
    let printed = loaded.print();
    assert_eq!(from_yaml(&printed), loaded.config, "{printed}");
    let has = |text: &str| {
        let squeezed = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert!(squeezed.into_iter().any(|line| line == text), "no {text:?} in\n{printed}");
    };
    has(&format!("workers: 3 # from {file}:1"));
    has("shadow_mode: true # from SHADOW_MODE");
    has("max_descriptors: 100 # from default");
    has("drain_period: 5s # from default");
    has(&format!("near_limit_ratio: 0.7 # from {file}:5"));
}

#[test]
fn passwords_are_not_printed() {
    let env = [("TIDEGATE_TELEMETRY__TRACES__ENDPOINT", "http://user:hunter2@collector:4317/v1")];
    let printed = from_env(&env).print();
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("http://***@collector:4317/v1"), "{printed}");
}

// The names of the reference.

/// Written down anew from its settings, so that a name missing from the table is noticed.
const REFERENCE: &str = "
HOST PORT GRPC_HOST GRPC_PORT GRPC_UDS DEBUG_HOST DEBUG_PORT GRPC_MAX_CONNECTION_AGE GRPC_MAX_CONNECTION_AGE_GRACE
GRPC_SERVER_USE_TLS GRPC_SERVER_TLS_CERT GRPC_SERVER_TLS_KEY GRPC_CLIENT_TLS_CACERT GRPC_CLIENT_TLS_SAN
LOG_LEVEL LOG_FORMAT CONFIG_TYPE FORCE_START_WITHOUT_INITIAL_CONFIG RUNTIME_ROOT RUNTIME_SUBDIRECTORY
RUNTIME_APPDIRECTORY RUNTIME_IGNOREDOTFILES RUNTIME_WATCH_ROOT MERGE_DOMAIN_CONFIG
CONFIG_GRPC_XDS_NODE_ID CONFIG_GRPC_XDS_NODE_METADATA CONFIG_GRPC_XDS_SERVER_URL
CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS CONFIG_GRPC_XDS_SERVER_USE_TLS
CONFIG_GRPC_XDS_CLIENT_TLS_CERT CONFIG_GRPC_XDS_CLIENT_TLS_KEY CONFIG_GRPC_XDS_SERVER_TLS_CACERT
CONFIG_GRPC_XDS_SERVER_TLS_SAN XDS_CLIENT_BACKOFF_INITIAL_INTERVAL XDS_CLIENT_BACKOFF_MAX_INTERVAL
XDS_CLIENT_BACKOFF_RANDOM_FACTOR XDS_CLIENT_BACKOFF_JITTER XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES
USE_STATSD STATSD_HOST STATSD_PORT USE_DOG_STATSD USE_DOG_STATSD_MOGRIFIERS DOG_STATSD_MOGRIFIER_A_PATTERN
DOG_STATSD_MOGRIFIER_A_NAME DOG_STATSD_MOGRIFIER_A_TAGS USE_PROMETHEUS PROMETHEUS_ADDR PROMETHEUS_PATH
PROMETHEUS_MAPPER_YAML PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS EXTRA_TAGS STATS_FLUSH_INTERVAL DISABLE_STATS
GOSTATS_LOGGING_SINK_DISABLED BACKEND_TYPE EXPIRATION_JITTER_MAX_SECONDS LOCAL_CACHE_SIZE_IN_BYTES NEAR_LIMIT_RATIO
CACHE_KEY_PREFIX STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT LIMIT_RESPONSE_HEADERS_ENABLED LIMIT_LIMIT_HEADER
LIMIT_REMAINING_HEADER LIMIT_RESET_HEADER SHADOW_MODE QUOTA_MODE RESPONSE_DYNAMIC_METADATA
HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED
REDIS_SOCKET_TYPE REDIS_TYPE REDIS_URL REDIS_POOL_SIZE REDIS_AUTH REDIS_SENTINEL_AUTH REDIS_TLS
REDIS_PIPELINE_WINDOW REDIS_PIPELINE_LIMIT REDIS_CLUSTER_PIPELINE_PARALLELISM REDIS_POOL_ON_EMPTY_BEHAVIOR
REDIS_TIMEOUT REDIS_TLS_CLIENT_CERT REDIS_TLS_CLIENT_KEY REDIS_TLS_CACERT REDIS_TLS_SKIP_HOSTNAME_VERIFICATION
REDIS_PERSECOND REDIS_PERSECOND_SOCKET_TYPE REDIS_PERSECOND_TYPE REDIS_PERSECOND_URL REDIS_PERSECOND_POOL_SIZE
REDIS_PERSECOND_AUTH REDIS_PERSECOND_SENTINEL_AUTH REDIS_PERSECOND_TLS REDIS_PERSECOND_PIPELINE_WINDOW
REDIS_PERSECOND_PIPELINE_LIMIT REDIS_PERSECOND_CLUSTER_PIPELINE_PARALLELISM
REDIS_PERSECOND_POOL_ON_EMPTY_BEHAVIOR REDIS_PERSECOND_TIMEOUT REDIS_HEALTH_CHECK_ACTIVE_CONNECTION
REDIS_STARTUP_INITIAL_INTERVAL REDIS_STARTUP_MAX_INTERVAL REDIS_STARTUP_MAX_ELAPSED_TIME
MEMCACHE_HOST_PORT MEMCACHE_SRV MEMCACHE_SRV_REFRESH MEMCACHE_MAX_IDLE_CONNS MEMCACHE_TLS MEMCACHE_TLS_CLIENT_CERT
MEMCACHE_TLS_CLIENT_KEY MEMCACHE_TLS_CACERT MEMCACHE_TLS_SKIP_HOSTNAME_VERIFICATION
TRACING_ENABLED TRACING_SERVICE_NAME TRACING_SERVICE_NAMESPACE TRACING_SERVICE_INSTANCE_ID
TRACING_EXPORTER_PROTOCOL TRACING_SAMPLING_RATE OTEL_EXPORTER_OTLP_ENDPOINT
";

#[test]
fn every_name_of_the_reference_is_known() {
    for name in REFERENCE.split_whitespace() {
        let known = TABLE.iter().any(|entry| match entry.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => entry.name == name,
        });
        assert!(known, "{name}");
    }
}

#[test]
fn no_name_of_the_reference_is_ignored_in_silence() {
    // A value that asks for something, and is not the default, where "true" is none.
    let value = |name: &str| match name {
        "HOST" | "GRPC_HOST" | "DEBUG_HOST" => "127.1.2.3",
        "PORT" | "GRPC_PORT" | "DEBUG_PORT" => "1234",
        "GRPC_MAX_CONNECTION_AGE" | "GRPC_MAX_CONNECTION_AGE_GRACE" => "1h0m0s",
        "LOG_LEVEL" => "WARNING",
        "LOG_FORMAT" => "json",
        "NEAR_LIMIT_RATIO" | "TRACING_SAMPLING_RATE" => "0.5",
        "PROMETHEUS_ADDR" => ":9999",
        "PROMETHEUS_PATH" => "/other",
        "OTEL_EXPORTER_OTLP_ENDPOINT" | "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => "http://collector:4317",
        "TRACING_EXPORTER_PROTOCOL" => "http",
        "RUNTIME_WATCH_ROOT" | "RESPONSE_DYNAMIC_METADATA" => "false",
        "CONFIG_TYPE" => "GRPC_XDS_SOTW",
        _ => "true",
    };
    let names = TABLE.iter().map(|entry| entry.name.replace('*', "A"));
    for name in names {
        let (result, _) = load_all("", &[(&name, value(&name))], &[]);
        match result {
            Ok(loaded) => {
                let told = loaded.notes.iter().any(|note| note.names.contains(&name));
                assert!(told || loaded.config != Config::default(), "{name} has no effect and is not told");
            }
            Err(errors) => assert!(errors.to_string().contains(&name), "{errors}"),
        }
    }
}

#[test]
fn fields_that_names_of_the_reference_set_exist() {
    for entry in TABLE {
        if let Treatment::Field(field) | Treatment::Switch(field) = entry.treatment {
            let (result, _) = load_all("", &[], &[Flag::new("--test", field, "?")]);
            if let Err(errors) = result {
                assert!(!errors.to_string().contains("there is no setting"), "{field}: {errors}");
            }
        }
    }
}

#[test]
fn a_deployment_of_the_reference_means_the_same() {
    let loaded = from_env(&[
        ("HOST", "127.0.0.1"),
        ("PORT", "18080"),
        ("GRPC_HOST", "::"),
        ("GRPC_PORT", "18081"),
        ("DEBUG_PORT", "16070"),
        ("GRPC_MAX_CONNECTION_AGE", "24h"),
        ("GRPC_SERVER_USE_TLS", "true"),
        ("GRPC_SERVER_TLS_CERT", "/tls/tls.crt"),
        ("GRPC_SERVER_TLS_KEY", "/tls/tls.key"),
        ("GRPC_CLIENT_TLS_CACERT", "/tls/ca.crt"),
        ("GRPC_CLIENT_TLS_SAN", "envoy"),
        ("LOG_LEVEL", "WARN"),
        ("LOG_FORMAT", "json"),
        ("RUNTIME_ROOT", "/data"),
        ("RUNTIME_SUBDIRECTORY", "ratelimit"),
        ("RUNTIME_IGNOREDOTFILES", "true"),
        ("RUNTIME_WATCH_ROOT", "false"),
        ("CONFIG_TYPE", "FILE"),
        ("USE_STATSD", "false"),
        ("USE_PROMETHEUS", "true"),
        ("PROMETHEUS_ADDR", ":19090"),
        ("LIMIT_RESPONSE_HEADERS_ENABLED", "TRUE"),
        ("LIMIT_RESET_HEADER", "X-Reset"),
        ("SHADOW_MODE", "t"),
        ("BACKEND_TYPE", "redis"),
        ("REDIS_SOCKET_TYPE", "tcp"),
        ("REDIS_URL", "redis:6379"),
        ("LOCAL_CACHE_SIZE_IN_BYTES", "1000000"),
    ]);
    let config = &loaded.config;
    assert_eq!(config.http.address.to_string(), "127.0.0.1:18080");
    assert_eq!(config.grpc.address.to_string(), "[::]:18081");
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:16070");
    assert_eq!(config.grpc.max_connection_age, Duration::from_secs(86_400));
    let tls = config.grpc.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, PathBuf::from("/tls/tls.crt"));
    assert_eq!(tls.key, PathBuf::from("/tls/tls.key"));
    assert_eq!(tls.client_ca, Some(PathBuf::from("/tls/ca.crt")));
    assert_eq!(tls.client_san, ["envoy"]);
    assert_eq!(config.telemetry.logs.level, "warn");
    assert_eq!(config.telemetry.logs.format, LogFormat::Json);
    let runtime = Runtime {
        root: "/data".into(),
        subdirectory: "ratelimit".into(),
        ignore_dotfiles: true,
        watch_root: false,
        ..Runtime::default()
    };
    assert_eq!(config.rules.runtime, Some(runtime.clone()));
    assert_eq!(runtime.directory(), PathBuf::from("/data/ratelimit/config"));
    assert_eq!(config.telemetry.metrics.prometheus_address.unwrap().to_string(), "0.0.0.0:19090");
    assert_eq!(config.limiter.response_headers, [HeaderFamily::Draft, HeaderFamily::Legacy]);
    assert_eq!(config.limiter.header_names.reset, "X-Reset");
    assert!(config.limiter.shadow_mode);
    assert_eq!(loaded.sources.of("http.address"), "HOST and PORT");
    let notes: Vec<_> = loaded.notes.iter().map(|note| (note.weight, note.names.join(" "))).collect();
    let expected =
        [(Weight::Info, "REDIS_SOCKET_TYPE".to_owned()), (Weight::Info, "LOCAL_CACHE_SIZE_IN_BYTES".to_owned())];
    assert_eq!(notes, expected);
    let redis = config.redis.as_ref().unwrap();
    assert_eq!((redis.topology, &redis.urls[..]), (Topology::Single, &["redis:6379".to_owned()][..]));
}

#[test]
fn the_redis_of_a_reference_deployment_is_found() {
    let redis = |env: &[(&str, &str)]| from_env(env).config.redis.unwrap();
    let cluster = redis(&[
        ("REDIS_TYPE", "CLUSTER"),
        ("REDIS_URL", "a:1,b:2"),
        ("REDIS_AUTH", "user:pass:word"),
        ("REDIS_TLS", "true"),
        ("REDIS_TLS_CACERT", "/ca.pem"),
        ("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", "true"),
        ("REDIS_TIMEOUT", "5s"),
        ("CACHE_KEY_PREFIX", "blue:"),
    ]);
    assert_eq!((cluster.topology, cluster.urls.join(" ")), (Topology::Cluster, "a:1 b:2".to_owned()));
    assert_eq!(cluster.username.as_deref(), Some("user"));
    assert_eq!(cluster.password, Some(Secret::new("pass:word")));
    let tls = cluster.tls.unwrap();
    assert_eq!((tls.ca, tls.verify_hostname), (Some(PathBuf::from("/ca.pem")), false));
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.key_prefix, "blue:rate_limit");

    let sentinel = redis(&[
        ("REDIS_TYPE", "sentinel"),
        ("REDIS_URL", "mymaster,s1:26379,s2:26379"),
        ("REDIS_AUTH", "secret"),
        ("REDIS_SENTINEL_AUTH", "watcher:other"),
        ("REDIS_PERSECOND", "true"),
        ("REDIS_PERSECOND_URL", "redis://me:mine@fast:6379"),
    ]);
    let asked = sentinel.sentinel.unwrap();
    assert_eq!((sentinel.topology, &*asked.master), (Topology::Sentinel, "mymaster"));
    assert_eq!(sentinel.urls, ["s1:26379", "s2:26379"]);
    assert_eq!(sentinel.password, Some(Secret::new("secret")));
    assert_eq!((asked.username.as_deref(), asked.password), (Some("watcher"), Some(Secret::new("other"))));
    let fast = sentinel.per_second.unwrap();
    assert_eq!((&fast.urls[..], fast.username.as_deref()), (&["fast:6379".to_owned()][..], Some("me")));
    assert_eq!(fast.password, Some(Secret::new("mine")));
}

#[test]
fn passwords_are_never_shown() {
    let yaml =
        "redis: { urls: [redis:6379], password: hunter2, sentinel: { master: m, password: hunter3 }, type: sentinel }";
    let (result, _) = load_all(yaml, &[], &[]);
    let loaded = result.unwrap();
    let shown = format!("{}{:?}", loaded.print(), loaded.config);
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("password: \"***\""), "{shown}");
}

#[test]
fn settings_of_redis_are_checked() {
    for (yaml, field) in [
        ("redis: { type: cluster }", "redis.urls"),
        ("redis: { urls: [a:1, b:2] }", "redis.urls"),
        ("redis: { urls: [a:1], type: sentinel }", "redis.sentinel.master"),
        ("redis: {}", "redis.urls"),
        ("redis: { urls: [a:1, nowhere:no], type: cluster }", "redis.urls"),
        ("redis: { urls: ['redis://a:1/3'] }", "write host:port, and the database as database"),
        ("redis: { urls: [/run/a.sock], type: cluster }", "redis.urls"),
        ("redis: { urls: [/run/a.sock], tls: {} }", "there is no TLS on a Unix socket"),
        ("redis: { urls: [a:1], type: cluster, database: 3 }", "redis.database"),
        ("redis: { urls: [a:1], sentinel: { master: m } }", "redis.sentinel from FILE:1"),
        ("redis: { urls: [a:1], username: x }", "redis.username from FILE:1"),
        ("redis: { urls: [a:1], tls: { certificate: x } }", "redis.tls from"),
        ("redis: { urls: [a:1], connections_per_worker: 65 }", "redis.connections_per_worker from FILE:1"),
        ("redis: { urls: [a:1], connect_timeout: 2m }", "redis.connect_timeout from FILE:1"),
        ("redis: { urls: [a:1], breaker: { open_for: 6s } }", "redis.breaker.max_open_for"),
        ("redis: { urls: [a:1], per_second: { urls: [a:b] } }", "redis.per_second.urls from FILE:1"),
        ("redis: { urls: [a:1], deadline: 1us }", "redis.deadline"),
        ("redis: { urls: [a:1], key_prefix: '{x}' }", "redis.key_prefix"),
        ("redis: { urls: [a:1], password: x, password_file: y }", "redis.password_file"),
        ("redis: { urls: [a:1], breaker: { failures: 0 } }", "redis.breaker.failures"),
        ("redis: { urls: [a:1], per_second: {} }", "redis.per_second.urls"),
    ] {
        let errors = mistakes(yaml, &[], &[]).join("\n");
        assert!(errors.contains(field), "{yaml}: {errors}");
    }
}

#[test]
fn passwords_in_addresses_are_refused_without_showing_them() {
    for address in ["redis://:hunter2@a:1", "me:hunter2@a:1"] {
        let found = mistakes(&format!("redis: {{ urls: ['{address}'] }}"), &[], &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("redis.urls from FILE:1: ") && !found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn the_database_is_found_by_url() {
    let yaml = "database: { url: 'postgres://file/b' }";
    let url = |yaml: &str, env: &[(&str, &str)]| {
        let loaded = load_all(yaml, env, &[]).0.unwrap();
        (format!("{:?}", loaded.config.database.clone().unwrap().url), loaded.sources.of("database.url").to_owned())
    };
    let platform = ("DATABASE_URL", "postgresql://me:hunter2@platform/b");
    assert_eq!(url("", &[platform]), ("postgresql://me:***@platform/b".to_owned(), "DATABASE_URL".to_owned()));
    assert_eq!(url(yaml, &[platform]).1, "DATABASE_URL");
    assert_eq!(url(yaml, &[("TIDEGATE_DATABASE__URL", "postgres://own/b")]).0, "postgres://own/b");
    let printed = load_all("", &[platform], &[]).0.unwrap().print();
    assert!(printed.contains("platform/b") && !printed.contains("hunter2"), "{printed}");
    assert!(from_env(&[]).config.database.is_none());
}

#[test]
fn mistakes_in_the_database_are_told_without_passwords() {
    for (yaml, told) in [
        ("database: {}", "database.url"),
        ("database: { url: 'mysql://hunter2@a/b' }", "database.url from FILE:1: this is no address of a PostgreSQL"),
        ("database: { url: 'postgres://me:hunter2@a:port/b' }", "database.url from FILE:1: "),
        ("database: { url: 'postgres://me:hunter2@a/b?color=red' }", "unknown option `color`"),
        ("database: { url: 'postgres:///b' }", "database.url from FILE:1: the address names no host"),
        ("database: { url: 'postgres://a/b?sslmode=allow' }", "there is no such sslmode"),
        ("database: { url: 'postgres://a:hunter2@b/c', password_file: x }", "database.password_file from FILE:1"),
        ("database: { url: 'postgres://a/b?sslmode=require', tls: {} }", "database.tls from"),
        ("database: { url: 'postgres://a/b', tls: { key: x } }", "certificate and key belong together"),
        ("database: { url: 'postgres://a/b', tls: { mode: disable, ca: x } }", "database.tls.mode from FILE:1"),
        ("database: { url: 'postgres://a/b', pool_size: 0 }", "database.pool_size from FILE:1"),
        ("database: { url: 'postgres://a/b', statement_timeout: 1ms }", "database.statement_timeout from FILE:1"),
        ("database: { url: 'postgres://a/b', bulk_timeout: 1s }", "database.bulk_timeout from FILE:1"),
        ("database: { url: 'postgres://a/b', poll_interval: 0s }", "database.poll_interval from FILE:1"),
    ] {
        let errors = mistakes(yaml, &[], &[]).join("\n");
        assert!(errors.contains(told), "{yaml}: {errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn an_empty_section_is_there() {
    let config = from_yaml("redis: { urls: [a:1], tls: {} }\nrules: { runtime: {} }\n");
    assert_eq!(config.redis.unwrap().tls, Some(RedisTls::default()));
    assert_eq!(config.rules.runtime, Some(Runtime::default()));
}

#[test]
fn names_of_redis_in_the_reference_work_with_our_own_settings() {
    // Addresses from the file, the rest from names of the reference, and the other way round.
    let env = [("REDIS_TYPE", "cluster"), ("REDIS_AUTH", ":secret"), ("REDIS_TLS", "true")];
    let (result, _) = load_all("redis: { urls: [a:1, b:2] }", &env, &[]);
    let redis = result.unwrap().config.redis.unwrap();
    assert_eq!((redis.topology, redis.urls.len(), redis.username), (Topology::Cluster, 2, None));
    assert_eq!((redis.password, redis.tls), (Some(Secret::new("secret")), Some(RedisTls::default())));
    let loaded = from_env(&[("REDIS_TIMEOUT", "2s"), ("TIDEGATE_REDIS__URLS", "a:1")]);
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    assert_eq!(loaded.config.redis.unwrap().connect_timeout, Duration::from_secs(2));
    let (result, _) =
        load_all("redis: { tls: { verify_hostname: false } }", &[("REDIS_URL", "a"), ("REDIS_TLS", "1")], &[]);
    assert!(!result.unwrap().config.redis.unwrap().tls.unwrap().verify_hostname, "only switched on, not changed");
}

#[test]
fn addresses_of_the_reference_may_be_uris() {
    let redis = |env: &[(&str, &str)]| from_env(env).config.redis.unwrap();
    let uri = redis(&[("REDIS_URL", "redis://me:p%40ss@cache:6380/3")]);
    assert_eq!((&uri.urls[..], uri.database), (&["cache:6380".to_owned()][..], 3));
    assert_eq!((uri.username.as_deref(), uri.password), (Some("me"), Some(Secret::new("p@ss"))));
    let own = redis(&[("REDIS_URL", "redis://:theirs@cache"), ("REDIS_AUTH", "ours")]);
    assert_eq!(own.password, Some(Secret::new("ours")));
    let secure = redis(&[("REDIS_URL", "rediss://cache:6380")]);
    assert!(secure.connection().endpoints().unwrap()[0].asks_for_tls());
    let socket = redis(&[("REDIS_URL", "/run/redis.sock"), ("REDIS_SOCKET_TYPE", "unix")]);
    assert!(socket.connection().endpoints().unwrap()[0].is_unix());
    let wrong = mistakes("", &[("REDIS_URL", "redis://:hunter2%@cache")], &[]);
    assert!(wrong[0].starts_with("REDIS_URL: ") && !wrong[0].contains("hunter2"), "{wrong:?}");
}

#[test]
fn what_the_reference_says_of_redis_without_an_address_is_told() {
    let env =
        [("BACKEND_TYPE", "redis"), ("REDIS_TYPE", "CLUSTER"), ("REDIS_PERSECOND_URL", "a:1"), ("REDIS_TLS", "true")];
    let loaded = from_env(&env);
    assert_eq!(loaded.config, Config::default());
    let told: Vec<_> =
        loaded.notes.iter().filter(|note| note.weight == Weight::Warning).flat_map(|n| &n.names).collect();
    env.iter().for_each(|(name, _)| assert!(told.iter().any(|told| told == name), "{name}: {told:?}"));
    let half = mistakes("", &[("REDIS_URL", "a:1"), ("REDIS_PERSECOND", "true")], &[]);
    assert_eq!(half, ["REDIS_PERSECOND: the second Redis has no address; set REDIS_PERSECOND_URL too"]);
    let kind = mistakes("", &[("REDIS_URL", "a:1"), ("REDIS_TYPE", "ring")], &[]);
    assert_eq!(
        kind,
        ["redis.type from REDIS_TYPE: 'ring' is none of the choices; write one of single, sentinel, cluster"]
    );
    let sentinel = mistakes("", &[("REDIS_URL", "mymaster"), ("REDIS_TYPE", "sentinel")], &[]);
    assert!(sentinel[0].starts_with("REDIS_URL: names no sentinels"), "{sentinel:?}");
    let unused = from_env(&[("REDIS_URL", "a:1"), ("REDIS_SENTINEL_AUTH", "x"), ("REDIS_TLS_CACERT", "x")]);
    assert_eq!(unused.notes.len(), 2, "{:?}", unused.notes);
}

#[test]
fn bad_values_of_the_reference_name_their_variable() {
    let env = [
        ("PORT", "http"),
        ("GRPC_PORT", "tcp://10.0.0.1:8081"),
        ("DEBUG_HOST", "example.org"),
        ("SHADOW_MODE", "maybe"),
        ("GRPC_SERVER_USE_TLS", "true"),
        ("CONFIG_TYPE", "CONSUL"),
        ("NEAR_LIMIT_RATIO", "most"),
        ("LOG_FORMAT", "xml"),
        ("RUNTIME_WATCH_ROOT", "yes"),
    ];
    let found = mistakes("", &env, &[]).join("\n");
    for (name, _) in env {
        assert_eq!(found.matches(name).count().min(1), 1, "{name} is not in\n{found}");
    }
    assert!(found.contains("enableServiceLinks"), "{found}");
    assert_eq!(found.lines().count(), env.len(), "{found}");
}

// The documentation.

const DOCUMENT: &str = include_str!("../docs/configuration.md");

#[test]
fn the_documentation_has_every_setting() {
    let redis = "redis: { type: sentinel, urls: [a], sentinel: { master: m }, tls: {} }\n";
    let mut missing = Vec::new();
    // Not both at once.
    for rules in
        ["rules: { runtime: {} }", "rules: { xds: { tls: {} } }", "database: { url: 'postgres://a/b', tls: {} }"]
    {
        let config = from_yaml(&format!("grpc: {{ tls: {{ certificate: a, key: b }} }}\n{rules}\n{redis}"));
        visit("", &serde_json::to_value(&config).unwrap(), &mut |field| {
            if !DOCUMENT.contains(&format!("`{field}`")) {
                missing.push(field.to_owned());
            }
        });
    }
    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:?}");
    let documented: Vec<_> = DOCUMENT.split('`').filter(|word| !word.contains(' ')).collect();
    let has = |name: &str| {
        documented.iter().any(|word| {
            *word == name || word.strip_suffix('*').is_some_and(|start| !start.is_empty() && name.starts_with(start))
        })
    };
    let lacking: Vec<_> = TABLE.iter().map(|entry| entry.name).filter(|name| !has(name)).collect();
    assert!(lacking.is_empty(), "docs/configuration.md lacks {lacking:?}");
}

fn visit(prefix: &str, value: &serde_json::Value, leaf: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::Object(entries) => {
            for (name, value) in entries {
                let field = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                visit(&field, value, leaf);
            }
        }
        _ => leaf(prefix),
    }
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = DOCUMENT.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

#[test]
fn the_examples_of_the_documentation_load() {
    let yaml = blocks("yaml");
    assert!(yaml.len() >= 3, "{yaml:?}");
    for example in yaml {
        let (result, _) = load_all(&example, &[], &[]);
        let loaded = result.unwrap_or_else(|errors| panic!("{errors}\nin\n{example}"));
        assert_ne!(loaded.config, Config::default(), "{example}");
    }
    let env = blocks("sh");
    assert!(!env.is_empty());
    for example in env {
        let assignments = example.split_whitespace().filter_map(|word| word.split_once('='));
        let assignments: Vec<_> = assignments.filter(|(name, _)| !name.starts_with('-')).collect();
        let loaded = load_all("", &assignments, &[]).0.unwrap_or_else(|errors| panic!("{errors}\nin\n{example}"));
        assert_ne!(loaded.config, Config::default(), "{example}");
    }
}

#[test]
fn the_defaults_of_the_documentation_are_the_defaults() {
    let tree = serde_json::to_value(Config::default()).unwrap();
    let mut wrong = Vec::new();
    visit("", &tree, &mut |field| {
        let value = field.split('.').fold(&tree, |value, name| &value[name]);
        let text = match value {
            serde_json::Value::Null => "none".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(items) if items.is_empty() => "none".to_owned(),
            serde_json::Value::Array(items) if items.iter().any(|item| !item.is_string()) => "see below".to_owned(),
            serde_json::Value::Array(items) => {
                items.iter().map(|item| item.as_str().unwrap()).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        let row = DOCUMENT.lines().find(|line| line.starts_with(&format!("| `{field}` |")));
        let default = row.and_then(|row| row.split('|').nth(2)).map(|cell| cell.trim().replace('`', ""));
        if default.as_deref() != Some(text.as_str()) {
            wrong.push(format!("{field}: documented {default:?}, is {text}"));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
