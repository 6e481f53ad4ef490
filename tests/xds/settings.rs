//! The names of envoyproxy/ratelimit, and our own.

use std::time::Duration;

use tidegate::config::xds::{Backoff, Xds, XdsTls};
use tidegate::config::{Config, ConfigErrors, LoadOptions, Loaded};

/// What Envoy Gateway 1.9.1 sets for its limiter, but for Redis.
pub const ENVOY_GATEWAY: [(&str, &str); 18] = [
    ("RUNTIME_ROOT", "/data"),
    ("RUNTIME_SUBDIRECTORY", "ratelimit"),
    ("RUNTIME_IGNOREDOTFILES", "true"),
    ("RUNTIME_WATCH_ROOT", "false"),
    ("LOG_LEVEL", "info"),
    ("USE_STATSD", "false"),
    ("CONFIG_TYPE", "GRPC_XDS_SOTW"),
    ("CONFIG_GRPC_XDS_SERVER_URL", "envoy-gateway:18001"),
    ("CONFIG_GRPC_XDS_NODE_ID", "envoy-ratelimit"),
    ("GRPC_SERVER_USE_TLS", "true"),
    ("GRPC_SERVER_TLS_CERT", "/certs/tls.crt"),
    ("GRPC_SERVER_TLS_KEY", "/certs/tls.key"),
    ("GRPC_SERVER_TLS_CA_CERT", "/certs/ca.crt"),
    ("CONFIG_GRPC_XDS_SERVER_USE_TLS", "true"),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", "/certs/tls.crt"),
    ("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", "/certs/tls.key"),
    ("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", "/certs/ca.crt"),
    ("FORCE_START_WITHOUT_INITIAL_CONFIG", "true"),
];

fn load(yaml: &str, env: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&LoadOptions { file: Some(file.path().to_owned()), env, flags: Vec::new() })
}

fn mistakes(yaml: &str, env: &[(&str, &str)]) -> String {
    load(yaml, env).unwrap_err().to_string()
}

#[test]
fn the_environment_of_envoy_gateway_is_all_that_is_needed() {
    let loaded = load("", &ENVOY_GATEWAY).unwrap();
    let rules = loaded.config.rules;
    let path = |name: &str| Some(format!("/certs/{name}").into());
    let tls = XdsTls { ca: path("ca.crt"), certificate: path("tls.crt"), key: path("tls.key"), san: None };
    assert_eq!(
        rules.xds,
        Some(Xds {
            server: "envoy-gateway:18001".into(),
            node_id: "envoy-ratelimit".into(),
            tls: Some(tls),
            ..Xds::default()
        })
    );
    assert!(rules.runtime.is_none() && rules.start_without);
    // The directories that it names as well are told to mean nothing.
    let told: Vec<_> = loaded.notes.iter().flat_map(|note| &note.names).collect();
    assert_eq!(told, ["RUNTIME_IGNOREDOTFILES", "RUNTIME_ROOT", "RUNTIME_SUBDIRECTORY", "RUNTIME_WATCH_ROOT"]);
}

#[test]
fn every_name_of_the_reference_is_read() {
    let env = [
        ("CONFIG_TYPE", "GRPC_XDS_SOTW"),
        ("CONFIG_GRPC_XDS_SERVER_URL", "dns:///control.example:18000"),
        ("CONFIG_GRPC_XDS_NODE_METADATA", "zone=eu-1, stage=test"),
        ("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", "authorization:Bearer abc,x-tenant:shop"),
        ("CONFIG_GRPC_XDS_SERVER_USE_TLS", "true"),
        ("CONFIG_GRPC_XDS_SERVER_TLS_SAN", "control"),
        ("XDS_CLIENT_BACKOFF_INITIAL_INTERVAL", "2s"),
        ("XDS_CLIENT_BACKOFF_MAX_INTERVAL", "1m0s"),
        ("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", "8388608"),
    ];
    let loaded = load("", &env).unwrap();
    let xds = loaded.config.rules.xds.clone().unwrap();
    assert_eq!(xds.server, "control.example:18000");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(xds.node_metadata, [pair("zone", "eu-1"), pair("stage", "test")].into());
    let headers = xds.headers.iter().map(|(name, value)| pair(name, value.reveal())).collect::<Vec<_>>();
    assert_eq!(headers, [pair("authorization", "Bearer abc"), pair("x-tenant", "shop")]);
    assert_eq!(xds.tls, Some(XdsTls { san: Some("control".into()), ..XdsTls::default() }));
    assert_eq!(xds.backoff, Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(60) });
    assert_eq!(xds.max_message_bytes, 8 << 20);
    // The header may be a password.
    let shown = format!("{:?}{}", loaded.config, loaded.print());
    assert!(!shown.contains("Bearer"), "{shown}");
    let from = loaded.sources.of("rules.xds.headers.authorization");
    assert_eq!(from, "CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS");
    assert_eq!(loaded.sources.of("rules.xds.connect_timeout"), "default");

    let zero = [("CONFIG_TYPE", "GRPC_XDS_SOTW"), ("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", "0")];
    assert_eq!(load("", &zero).unwrap().config.rules.xds, Some(Xds::default()));
}

#[test]
fn names_that_mean_nothing_are_told() {
    let env = [("CONFIG_GRPC_XDS_SERVER_URL", "a:1"), ("XDS_CLIENT_BACKOFF_JITTER", "true")];
    let loaded = load("", &env).unwrap();
    assert_eq!(loaded.config.rules.xds, None);
    let told: Vec<_> = loaded.notes.iter().map(|note| (note.names.join(","), note.text)).collect();
    assert_eq!(told[0], ("CONFIG_GRPC_XDS_SERVER_URL".into(), "has no effect without CONFIG_TYPE=GRPC_XDS_SOTW"));
    let env = [("CONFIG_TYPE", "GRPC_XDS_SOTW"), ("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", "/a")];
    assert_eq!(load("", &env).unwrap().notes[0].text, "has no effect without CONFIG_GRPC_XDS_SERVER_USE_TLS=true");
}

#[test]
fn our_own_settings_may_be_maps() {
    let yaml = "rules: { xds: { server: a:1, node_metadata: { zone: eu-1 }, headers: { x-key: 'a,b=c' } } }";
    let xds = load(yaml, &[]).unwrap().config.rules.xds.unwrap();
    assert_eq!(xds.node_metadata["zone"], "eu-1");
    assert_eq!(xds.headers["x-key"].reveal(), "a,b=c");
    let env = [("TIDEGATE_RULES__XDS__NODE_METADATA", "a=1,b=2=3"), ("TIDEGATE_RULES__XDS__NODE_ID", "me")];
    let xds = load("", &env).unwrap().config.rules.xds.unwrap();
    assert_eq!((xds.node_id.as_str(), xds.node_metadata["b"].as_str()), ("me", "2=3"));
}

#[test]
fn mistakes_name_their_field_or_variable() {
    for (yaml, told) in [
        ("rules: { xds: { server: localhost } }", "rules.xds.server"),
        ("rules: { xds: { node_id: '' } }", "rules.xds.node_id"),
        ("rules: { xds: { node_metadata: zone } }", "part 1 has no '='"),
        ("rules: { xds: { headers: { grpc-timeout: 1S } } }", "rules.xds.headers.grpc-timeout"),
        ("rules: { xds: { headers: { x-a: \"a\\nb\" } } }", "rules.xds.headers.x-a"),
        ("rules: { xds: { tls: { certificate: a } } }", "certificate and key belong together"),
        ("rules: { xds: { tls: { san: 'a b' } } }", "rules.xds.tls.san"),
        ("rules: { xds: { backoff: { initial: 10s, max: 1s } } }", "rules.xds.backoff.max"),
        ("rules: { xds: { max_message_bytes: 1 } }", "rules.xds.max_message_bytes"),
        ("rules: { xds: {}, paths: [a] }", "rules.paths"),
        ("rules: { xds: {}, runtime: {} }", "rules.runtime"),
        ("rules: { xds: {}, repository_file: a }", "rules.repository_file"),
        ("rules: { xds: {} }\ndatabase: { url: 'postgres://a/b' }", "database"),
        ("rules: { xds: {}, required: true, start_without: true }", "rules.required"),
    ] {
        let found = mistakes(yaml, &[]);
        assert!(found.contains(told), "{yaml}: {found}");
    }
    let env = [
        ("CONFIG_TYPE", "GRPC_XDS_SOTW"),
        ("CONFIG_GRPC_XDS_SERVER_URL", "nowhere"),
        ("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", "secret"),
        ("CONFIG_GRPC_XDS_SERVER_USE_TLS", "perhaps"),
        ("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", "much"),
    ];
    let found = mistakes("", &env);
    for (name, _) in &env[1..] {
        assert!(found.contains(name), "{name} is not in {found}");
    }
    assert!(!found.contains("secret"), "{found}");
}
