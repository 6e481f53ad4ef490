//! Every environment name of envoyproxy/ratelimit, and what becomes of it.

/// What becomes of a name that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Its value is the value of a field.
    Field(&'static str),
    /// Its value, a boolean as Go reads it, is the value of a field.
    Switch(&'static str),
    /// It means something together with others, or needs translation.
    Special,
    /// It has no effect because nothing here needs it; said at level info, with the reason.
    Unneeded(&'static str),
    /// It has no effect although it asks for something; said as a warning, with what to do.
    Unsupported(&'static str),
    /// Like [`Treatment::Unsupported`] when true; false asks for nothing.
    UnsupportedIfTrue(&'static str),
}

/// A name of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// The environment variable; with `*` at its end, all that begin so.
    pub name: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
}

pub(super) const STATSD: &str = "metrics are not sent by statsd; scrape /metrics of the administration listener, or set USE_PROMETHEUS=true for the \
     same names";

pub(super) const TRACES_BY_HTTP: &str =
    "spans are sent by gRPC only; point OTEL_EXPORTER_OTLP_ENDPOINT at the collector's gRPC port, mostly 4317";

const XDS_BACKOFF: &str = "not needed: pauses between attempts double up to the longest, and vary by chance \
     (rules.xds.backoff)";

const PIPELINED: &str = "not needed: calls of one moment always travel together";

const POOL: &str =
    "not needed: each worker has connections of its own, on which calls are pipelined (redis.connections_per_worker)";

const STARTS: &str = "not needed: the server starts at once, and tries to reach Redis for ever";

const ACTIVE: &str = "not needed: while Redis is away limiter.failure_mode answers; /readyz?verbose and the metrics \
     tidegate_redis_* tell";

pub(super) const MEMCACHE: &str = "counters are never kept in memcached; remove the setting";

const RESOURCE: &str = "set OTEL_RESOURCE_ATTRIBUTES=service.namespace=...,service.instance.id=... instead";

/// The entry of a name, if the reference knows it.
pub(super) fn find(name: &str) -> Option<&'static Name> {
    TABLE.iter().find(|entry| match entry.name.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => entry.name == name,
    })
}

const fn name(name: &'static str, treatment: Treatment) -> Name {
    Name { name, treatment }
}

/// Every name.
pub const TABLE: &[Name] = &[
    // Listeners
    name("HOST", Treatment::Special),
    name("PORT", Treatment::Special),
    name("GRPC_HOST", Treatment::Special),
    name("GRPC_PORT", Treatment::Special),
    name("GRPC_UDS", Treatment::Field("grpc.unix_socket")),
    name("DEBUG_HOST", Treatment::Special),
    name("DEBUG_PORT", Treatment::Special),
    name("GRPC_MAX_CONNECTION_AGE", Treatment::Field("grpc.max_connection_age")),
    name("GRPC_MAX_CONNECTION_AGE_GRACE", Treatment::Field("grpc.max_connection_age_grace")),
    name("GRPC_SERVER_USE_TLS", Treatment::Special),
    name("GRPC_SERVER_TLS_CERT", Treatment::Special),
    name("GRPC_SERVER_TLS_KEY", Treatment::Special),
    name("GRPC_CLIENT_TLS_CACERT", Treatment::Special),
    name("GRPC_CLIENT_TLS_SAN", Treatment::Special),
    // Logs
    name("LOG_LEVEL", Treatment::Special),
    name("LOG_FORMAT", Treatment::Special),
    // Rules
    name("CONFIG_TYPE", Treatment::Special),
    name("FORCE_START_WITHOUT_INITIAL_CONFIG", Treatment::Switch("rules.start_without")),
    name("RUNTIME_ROOT", Treatment::Field("rules.runtime.root")),
    name("RUNTIME_SUBDIRECTORY", Treatment::Field("rules.runtime.subdirectory")),
    name("RUNTIME_APPDIRECTORY", Treatment::Field("rules.runtime.app_directory")),
    name("RUNTIME_IGNOREDOTFILES", Treatment::Switch("rules.runtime.ignore_dotfiles")),
    name("RUNTIME_WATCH_ROOT", Treatment::Switch("rules.runtime.watch_root")),
    name("MERGE_DOMAIN_CONFIG", Treatment::Switch("rules.merge_domains")),
    name(
        "HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED",
        Treatment::Unneeded("always so: health says NOT_SERVING until the first rules are loaded"),
    ),
    // xDS
    name("CONFIG_GRPC_XDS_NODE_ID", Treatment::Special),
    name("CONFIG_GRPC_XDS_NODE_METADATA", Treatment::Special),
    name("CONFIG_GRPC_XDS_SERVER_URL", Treatment::Special),
    name("CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL", Treatment::Unneeded(XDS_BACKOFF)),
    name("CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS", Treatment::Special),
    name("CONFIG_GRPC_XDS_SERVER_USE_TLS", Treatment::Special),
    name("CONFIG_GRPC_XDS_CLIENT_TLS_CERT", Treatment::Special),
    name("CONFIG_GRPC_XDS_CLIENT_TLS_KEY", Treatment::Special),
    name("CONFIG_GRPC_XDS_SERVER_TLS_CACERT", Treatment::Special),
    name("CONFIG_GRPC_XDS_SERVER_TLS_SAN", Treatment::Special),
    name("XDS_CLIENT_BACKOFF_INITIAL_INTERVAL", Treatment::Special),
    name("XDS_CLIENT_BACKOFF_MAX_INTERVAL", Treatment::Special),
    name("XDS_CLIENT_BACKOFF_RANDOM_FACTOR", Treatment::Unneeded(XDS_BACKOFF)),
    name("XDS_CLIENT_BACKOFF_JITTER", Treatment::Unneeded(XDS_BACKOFF)),
    name("XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES", Treatment::Special),
    // Metrics
    name("USE_STATSD", Treatment::Special),
    name("STATSD_HOST", Treatment::Special),
    name("STATSD_PORT", Treatment::Special),
    name("USE_DOG_STATSD", Treatment::UnsupportedIfTrue(STATSD)),
    name("USE_DOG_STATSD_MOGRIFIERS", Treatment::UnsupportedIfTrue(STATSD)),
    name("DOG_STATSD_MOGRIFIER_*", Treatment::Unsupported(STATSD)),
    name("USE_PROMETHEUS", Treatment::Special),
    name("PROMETHEUS_ADDR", Treatment::Special),
    name("PROMETHEUS_PATH", Treatment::Field("telemetry.metrics.prometheus_path")),
    name(
        "PROMETHEUS_MAPPER_YAML",
        Treatment::Unsupported("metric names are fixed; rename them in Prometheus by metric_relabel_configs"),
    ),
    name(
        "PROMETHEUS_RESPONSE_TIME_AS_MILLISECONDS",
        Treatment::UnsupportedIfTrue("response times are in seconds; multiply by 1000 in the query"),
    ),
    name(
        "EXTRA_TAGS",
        Treatment::Unsupported(
            "labels are not added here; add them in Prometheus by static_configs or relabel_configs",
        ),
    ),
    name("STATS_FLUSH_INTERVAL", Treatment::Unneeded("not needed: each scrape reads the numbers as they are")),
    name("DISABLE_STATS", Treatment::Special),
    name("GOSTATS_*", Treatment::Unneeded("not needed: settings of the Go metrics library")),
    // Counters
    name("BACKEND_TYPE", Treatment::Special),
    name(
        "EXPIRATION_JITTER_MAX_SECONDS",
        Treatment::Unneeded("not needed: counters expire one by one, each at its own time"),
    ),
    name(
        "LOCAL_CACHE_SIZE_IN_BYTES",
        Treatment::Unneeded(
            "not needed: counters over their limit are remembered anyway; redis.over_limit_memory bounds them",
        ),
    ),
    name("NEAR_LIMIT_RATIO", Treatment::Field("limiter.near_limit_ratio")),
    name("CACHE_KEY_PREFIX", Treatment::Special),
    name(
        "STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT",
        Treatment::UnsupportedIfTrue(
            "write charge: all_or_nothing in the domain, so that a denied request charges no limit",
        ),
    ),
    // Answers
    name("LIMIT_RESPONSE_HEADERS_ENABLED", Treatment::Special),
    name("LIMIT_LIMIT_HEADER", Treatment::Field("limiter.header_names.limit")),
    name("LIMIT_REMAINING_HEADER", Treatment::Field("limiter.header_names.remaining")),
    name("LIMIT_RESET_HEADER", Treatment::Field("limiter.header_names.reset")),
    name("SHADOW_MODE", Treatment::Switch("limiter.shadow_mode")),
    name("QUOTA_MODE", Treatment::Switch("limiter.quota_mode")),
    name("RESPONSE_DYNAMIC_METADATA", Treatment::Switch("limiter.dynamic_metadata")),
    // Redis
    name("REDIS_SOCKET_TYPE", Treatment::Special),
    name("REDIS_TYPE", Treatment::Special),
    name("REDIS_URL", Treatment::Special),
    name("REDIS_POOL_SIZE", Treatment::Unneeded(POOL)),
    name("REDIS_AUTH", Treatment::Special),
    name("REDIS_SENTINEL_AUTH", Treatment::Special),
    name("REDIS_TLS", Treatment::Special),
    name("REDIS_PIPELINE_WINDOW", Treatment::Unneeded(PIPELINED)),
    name("REDIS_PIPELINE_LIMIT", Treatment::Unneeded(PIPELINED)),
    name("REDIS_CLUSTER_PIPELINE_PARALLELISM", Treatment::Unneeded(PIPELINED)),
    name("REDIS_POOL_ON_EMPTY_BEHAVIOR", Treatment::Unneeded(POOL)),
    name("REDIS_TIMEOUT", Treatment::Special),
    name("REDIS_PERSECOND", Treatment::Special),
    name("REDIS_PERSECOND_SOCKET_TYPE", Treatment::Special),
    name("REDIS_PERSECOND_TYPE", Treatment::Special),
    name("REDIS_PERSECOND_URL", Treatment::Special),
    name("REDIS_PERSECOND_POOL_SIZE", Treatment::Unneeded(POOL)),
    name("REDIS_PERSECOND_AUTH", Treatment::Special),
    name("REDIS_PERSECOND_SENTINEL_AUTH", Treatment::Special),
    name("REDIS_PERSECOND_TLS", Treatment::Special),
    name("REDIS_PERSECOND_PIPELINE_WINDOW", Treatment::Unneeded(PIPELINED)),
    name("REDIS_PERSECOND_PIPELINE_LIMIT", Treatment::Unneeded(PIPELINED)),
    name("REDIS_PERSECOND_CLUSTER_PIPELINE_PARALLELISM", Treatment::Unneeded(PIPELINED)),
    name("REDIS_PERSECOND_POOL_ON_EMPTY_BEHAVIOR", Treatment::Unneeded(POOL)),
    name("REDIS_PERSECOND_TIMEOUT", Treatment::Special),
    name("REDIS_TLS_CLIENT_CERT", Treatment::Special),
    name("REDIS_TLS_CLIENT_KEY", Treatment::Special),
    name("REDIS_TLS_CACERT", Treatment::Special),
    name("REDIS_TLS_SKIP_HOSTNAME_VERIFICATION", Treatment::Special),
    name("REDIS_POOL_ON_EMPTY_WAIT_DURATION", Treatment::Unneeded(POOL)),
    name("REDIS_PERSECOND_POOL_ON_EMPTY_WAIT_DURATION", Treatment::Unneeded(POOL)),
    name("REDIS_HEALTH_CHECK_ACTIVE_CONNECTION", Treatment::Unneeded(ACTIVE)),
    name("REDIS_STARTUP_INITIAL_INTERVAL", Treatment::Unneeded(STARTS)),
    name("REDIS_STARTUP_MAX_INTERVAL", Treatment::Unneeded(STARTS)),
    name("REDIS_STARTUP_MAX_ELAPSED_TIME", Treatment::Unneeded(STARTS)),
    // Memcache
    name("MEMCACHE_HOST_PORT", Treatment::Unsupported(MEMCACHE)),
    name("MEMCACHE_SRV", Treatment::Unsupported(MEMCACHE)),
    name("MEMCACHE_SRV_REFRESH", Treatment::Unsupported(MEMCACHE)),
    name("MEMCACHE_MAX_IDLE_CONNS", Treatment::Unsupported(MEMCACHE)),
    name("MEMCACHE_TLS", Treatment::Unsupported(MEMCACHE)),
    name("MEMCACHE_TLS_CLIENT_CERT", Treatment::Unsupported(MEMCACHE)),
    name("MEMCACHE_TLS_CLIENT_KEY", Treatment::Unsupported(MEMCACHE)),
    name("MEMCACHE_TLS_CACERT", Treatment::Unsupported(MEMCACHE)),
    name("MEMCACHE_TLS_SKIP_HOSTNAME_VERIFICATION", Treatment::Unsupported(MEMCACHE)),
    // Traces
    name("TRACING_ENABLED", Treatment::Switch("telemetry.traces.enabled")),
    name("TRACING_SERVICE_NAME", Treatment::Field("telemetry.traces.service_name")),
    name("TRACING_SERVICE_NAMESPACE", Treatment::Unsupported(RESOURCE)),
    name("TRACING_SERVICE_INSTANCE_ID", Treatment::Unsupported(RESOURCE)),
    name("TRACING_EXPORTER_PROTOCOL", Treatment::Special),
    name("TRACING_SAMPLING_RATE", Treatment::Field("telemetry.traces.sampling_ratio")),
    name("OTEL_SERVICE_NAME", Treatment::Field("telemetry.traces.service_name")),
    name("OTEL_EXPORTER_OTLP_ENDPOINT", Treatment::Special),
    name("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Treatment::Special),
];
