//! The settings of counters in Redis.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::scalar::{duration, list};

/// Counters in Redis, shared by all replicas. Without this section counters are in each process's memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// How nodes are found: `single`, `sentinel` or `cluster`. Default `single`.
    #[serde(rename = "type")]
    pub topology: Topology,
    /// `host:port` of the server, of sentinels, or of some nodes of the cluster; the path of a Unix socket for a
    /// `single` server. `rediss://host:port` asks for TLS. Required.
    #[serde(deserialize_with = "list::deserialize")]
    pub urls: Vec<String>,
    /// ACL user. Default: none, the user `default`.
    pub username: Option<String>,
    /// Password. Default: none.
    pub password: Option<Secret>,
    /// A file whose first line is the password, instead of `password`. Default: none.
    pub password_file: Option<PathBuf>,
    /// The database's number, of a `single` server or behind sentinels. 0 to 255 (Redis has 16 unless configured),
    /// default 0.
    pub database: u8,
    /// What sentinels are asked; required with `sentinel`.
    pub sentinel: Option<Sentinel>,
    /// Speak TLS to Redis (and to sentinels); `{}` is enough. Default: none, plain text.
    pub tls: Option<RedisTls>,
    /// Connections of each worker to each node. 1 to 64, default 1: calls are pipelined.
    pub connections_per_worker: usize,
    /// How long connecting may take, handshakes included. `1ms` to `1m`, default `1s`.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long Redis may take for a decision; after that the rule's failure mode answers. Choose less than Envoy's
    /// own timeout, which is 20 ms unless configured. `1ms` to `10s`, default `10ms`.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// First part of every key, and of the channel. 1 to 64 visible ASCII characters without braces, default
    /// `rate_limit`.
    pub key_prefix: String,
    /// Hash tags that the counters of a `cluster` share, so that several travel in one call; 0 gives every counter a tag
    /// of its own. Some 20 per primary. Changing it starts all counters anew. 0 to 16 384, default 0.
    pub cluster_buckets: u16,
    /// Requests that wait in one worker's queue; more are answered by the failure mode. 1 to 1 000 000, default 10 000.
    pub max_queued: usize,
    /// When calls to a node are given up before they are made.
    pub breaker: Breaker,
    /// Counters over their limit that are answered without asking Redis.
    pub over_limit_memory: OverLimitMemory,
    /// How replicas learn how many they are.
    pub heartbeat: Heartbeat,
    /// Another Redis for limits per second. Default: none.
    pub per_second: Option<RedisConnection>,
}

/// Where a Redis is, and how to speak to it; the fields have the meanings and defaults of those in `redis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConnection {
    /// How nodes are found.
    #[serde(rename = "type")]
    pub topology: Topology,
    /// Where.
    #[serde(deserialize_with = "list::deserialize")]
    pub urls: Vec<String>,
    /// ACL user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// A file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// The database's number.
    pub database: u8,
    /// What sentinels are asked.
    pub sentinel: Option<Sentinel>,
    /// TLS.
    pub tls: Option<RedisTls>,
    /// Connections of each worker to each node.
    pub connections_per_worker: usize,
    /// How long connecting may take.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
}

impl Default for Redis {
    fn default() -> Self {
        let RedisConnection {
            topology,
            urls,
            username,
            password,
            password_file,
            database,
            sentinel,
            tls,
            connections_per_worker,
            connect_timeout,
        } = RedisConnection::default();
        Self {
            topology,
            urls,
            username,
            password,
            password_file,
            database,
            sentinel,
            tls,
            connections_per_worker,
            connect_timeout,
            deadline: Duration::from_millis(10),
            key_prefix: "rate_limit".to_owned(),
            cluster_buckets: 0,
            max_queued: 10_000,
            breaker: Breaker::default(),
            over_limit_memory: OverLimitMemory::default(),
            heartbeat: Heartbeat::default(),
            per_second: None,
        }
    }
}

impl Default for RedisConnection {
    fn default() -> Self {
        Self {
            topology: Topology::Single,
            urls: Vec::new(),
            username: None,
            password: None,
            password_file: None,
            database: 0,
            sentinel: None,
            tls: None,
            connections_per_worker: 1,
            connect_timeout: Duration::from_secs(1),
        }
    }
}

impl Redis {
    /// Where the main Redis is.
    #[must_use]
    pub fn connection(&self) -> RedisConnection {
        RedisConnection {
            topology: self.topology,
            urls: self.urls.clone(),
            username: self.username.clone(),
            password: self.password.clone(),
            password_file: self.password_file.clone(),
            database: self.database,
            sentinel: self.sentinel.clone(),
            tls: self.tls.clone(),
            connections_per_worker: self.connections_per_worker,
            connect_timeout: self.connect_timeout,
        }
    }
}

impl RedisConnection {
    /// The addresses, read.
    ///
    /// # Errors
    /// The first address that is none.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, EndpointError> {
        let port = if self.topology == Topology::Sentinel { SENTINEL_PORT } else { REDIS_PORT };
        self.urls.iter().map(|text| Endpoint::parse(text, port)).collect()
    }
}

/// The ports of servers and sentinels whose addresses name none.
const REDIS_PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;

/// One address of a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Over the network.
    Tcp {
        /// A name, or an IP address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether the address asks for TLS, `rediss://`.
        tls: bool,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// A text that is no address of a Redis. It does not show the text where that may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Something before an `@`.
    #[error("an address holds no password here; write host:port, and username and password beside it")]
    Credentials,
    /// Something after the port.
    #[error("\"{0}\": what follows the port has no meaning here; write host:port, and the database as database")]
    Path(String),
    /// A scheme that is not spoken.
    #[error(
        "\"{0}\" is no address of a Redis; write host:port, redis://host:port, rediss://host:port for TLS, or a path"
    )]
    Scheme(String),
    /// No host, or no port.
    #[error("\"{0}\" is no address; write host:port, [IPv6 address]:port, or the path of a Unix socket")]
    Address(String),
}

impl Endpoint {
    /// `host:port`, `host`, `redis://host:port`, `rediss://host:port`, or the path of a Unix socket.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, EndpointError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://").or(Some(text)).filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            Some((scheme, _)) => return Err(EndpointError::Scheme(format!("{scheme}://..."))),
        };
        if rest.contains('@') {
            return Err(EndpointError::Credentials);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?']) {
            return Err(EndpointError::Path(text.to_owned()));
        }
        let wrong = || EndpointError::Address(text.to_owned());
        let (host, port) = match authority.rsplit_once(':') {
            // Without brackets the last part of an IPv6 address cannot be told from a port.
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, default_port),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
        };
        if port == 0 || !is_host {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: bare.unwrap_or(host).to_owned(), port, tls })
    }

    /// Whether it is a Unix socket.
    #[must_use]
    pub const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether it asks for TLS.
    #[must_use]
    pub const fn asks_for_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

/// How the nodes of a Redis are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// One server.
    #[default]
    Single,
    /// The primary that sentinels name.
    Sentinel,
    /// A cluster.
    Cluster,
}

/// What sentinels are asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sentinel {
    /// The name of the primary. Required.
    pub master: String,
    /// ACL user of the sentinels themselves. Default: none.
    pub username: Option<String>,
    /// Their password. Default: none.
    pub password: Option<Secret>,
}

/// TLS towards Redis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisTls {
    /// Certificate authorities, a PEM file. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate chain, a PEM file; needs `key`. Default: none.
    pub certificate: Option<PathBuf>,
    /// Its private key, a PEM file. Default: none.
    pub key: Option<PathBuf>,
    /// Whether the server's certificate must be for the name that was connected to. Default `true`.
    pub verify_hostname: bool,
}

impl Default for RedisTls {
    fn default() -> Self {
        Self { ca: None, certificate: None, key: None, verify_hostname: true }
    }
}

/// When calls to a node are given up before they are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// After so many failures in a row. 1 to 1000, default 5.
    pub failures: u32,
    /// For so long at first, 20 % more or less. `1ms` to `1m`, default `200ms`.
    #[serde(with = "duration")]
    pub open_for: Duration,
    /// Twice as long after each failed probe, but at most so long. `open_for` to `10m`, default `1s`.
    #[serde(with = "duration")]
    pub max_open_for: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        let crate::counters::breaker::BreakerOptions { failures, open_for, max_open_for } = Default::default();
        Self { failures, open_for, max_open_for }
    }
}

impl From<&Breaker> for crate::counters::breaker::BreakerOptions {
    fn from(breaker: &Breaker) -> Self {
        let Breaker { failures, open_for, max_open_for } = *breaker;
        Self { failures, open_for, max_open_for }
    }
}

/// Counters over their limit that are answered without asking Redis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverLimitMemory {
    /// The most of them; 0 asks Redis for every hit. 0 to 100 000 000, default 100 000.
    pub max_counters: usize,
    /// How often a hit on one of them asks all the same. `10ms` to `1h`, default `1s`.
    #[serde(with = "duration")]
    pub ask_again: Duration,
}

impl Default for OverLimitMemory {
    fn default() -> Self {
        let crate::counters::over_limit::OverLimitOptions { max_counters, ask_again } = Default::default();
        Self { max_counters, ask_again }
    }
}

impl From<&OverLimitMemory> for crate::counters::over_limit::OverLimitOptions {
    fn from(memory: &OverLimitMemory) -> Self {
        let OverLimitMemory { max_counters, ask_again } = *memory;
        Self { max_counters, ask_again }
    }
}

/// How replicas learn how many they are, for when Redis is away and each counts at its share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heartbeat {
    /// How often a replica says that it lives; one that is silent for four times as long does not count. `100ms` to
    /// `1m`, default `1s`.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Take it that there are so many, until they have counted themselves. 1 to 10 000; default: none, 1.
    pub expect_replicas: Option<u32>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), expect_replicas: None }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_ports_or_are_sockets() {
        let tcp = |host: &str, port, tls| Ok(Endpoint::Tcp { host: host.to_owned(), port, tls });
        for (text, endpoint) in [
            ("redis:7000", tcp("redis", 7000, false)),
            (" redis ", tcp("redis", 6379, false)),
            ("redis://redis:7000/", tcp("redis", 7000, false)),
            ("rediss://redis-0.redis", tcp("redis-0.redis", 6379, true)),
            ("[::1]:7000", tcp("::1", 7000, false)),
            ("rediss://[::1]", tcp("::1", 6379, true)),
            ("/run/redis.sock", Ok(Endpoint::Unix("/run/redis.sock".into()))),
            ("unix:///run/redis.sock", Ok(Endpoint::Unix("/run/redis.sock".into()))),
            ("redis://:secret@redis:1", Err(EndpointError::Credentials)),
            ("user:secret@redis:1", Err(EndpointError::Credentials)),
            ("redis:1/3", Err(EndpointError::Path("redis:1/3".to_owned()))),
            ("http://redis:1", Err(EndpointError::Scheme("http://...".to_owned()))),
        ] {
            assert_eq!(Endpoint::parse(text, 6379), endpoint, "{text}");
        }
        for text in ["", ":7000", "a b:1", "redis:port", "redis:70000", "redis:0", "::1:6379", "[redis]:1", "redis:"] {
            assert_eq!(Endpoint::parse(text, 6379), Err(EndpointError::Address(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let redis = Redis { password: Some(Secret::new("hunter2")), ..Redis::default() };
        assert!(!format!("{redis:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&redis).unwrap().contains("hunter2"));
    }
}
