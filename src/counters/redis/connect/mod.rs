//! How to speak to Redis: clients as the settings want them.
//!
//! fred's defaults are changed where they would charge twice or wait for ever: a command is sent at most once, every
//! one has a time, queues are bounded. Connections are tried for ever, with growing pauses and jitter.

mod tls;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy, Server, ServerConfig, TcpConfig,
    TlsConfig, UnresponsiveConfig,
};

use super::backend::Kind;
use super::topology::NodeAddress;
use crate::config::redis::{RedisConnection, Topology};

pub use tls::TlsError;

/// Commands that wait in one client; those of a worker's queue are far fewer, as they travel together.
const MAX_COMMANDS: usize = 10_000;
/// Messages that wait in one subscriber.
const MAX_MESSAGES: usize = 1_024;
/// Pauses between attempts to connect: the first, and the longest; each varies by up to the jitter.
const FIRST_PAUSE: u32 = 50;
const LONGEST_PAUSE: u32 = 1_000;
const JITTER: u32 = 100;
/// A connection that leaves a command unanswered for so long is closed and opened anew.
const UNRESPONSIVE: Duration = Duration::from_secs(2);
const UNRESPONSIVE_CHECK: Duration = Duration::from_millis(500);
/// The port of sentinels, when an address names none.
const SENTINEL_PORT: u16 = 26_379;
const PORT: u16 = 6_379;

/// Why the settings give no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An address that is none.
    #[error("redis.urls: \"{0}\" is no address; write host:port, or the path of a Unix socket for type: single")]
    Address(String),
    /// No addresses.
    #[error("redis.urls: no address; write where Redis is")]
    NoAddress,
    /// A file with a password that cannot be read.
    #[error("redis.password_file: {path:?} cannot be read: {error}")]
    PasswordFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Certificates or keys.
    #[error("redis.tls: {0}")]
    Tls(#[from] TlsError),
}

/// Makes clients for one deployment of Redis.
#[derive(Debug)]
pub struct Connector {
    kind: Kind,
    settings: RedisConnection,
    password: Option<String>,
    tls: Option<TlsConfig>,
    deadline: Duration,
}

impl Connector {
    /// Reads what the settings name. `deadline` is the time of a command.
    ///
    /// # Errors
    /// [`ConnectError`], with the setting to change.
    pub fn new(settings: &RedisConnection, deadline: Duration) -> Result<Self, ConnectError> {
        let default_port = if settings.topology == Topology::Sentinel { SENTINEL_PORT } else { PORT };
        let nodes = settings.urls.iter().map(|url| address(url, default_port)).collect::<Result<Vec<_>, _>>()?;
        let first = nodes.first().cloned().ok_or(ConnectError::NoAddress)?;
        let kind = match settings.topology {
            Topology::Single => Kind::Single(first),
            Topology::Cluster => Kind::Cluster(nodes),
            Topology::Sentinel => {
                let master = settings.sentinel.as_ref().map_or("", |sentinel| &sentinel.master);
                Kind::Sentinel { primary: NodeAddress { host: master.into(), port: 0 }, sentinels: nodes }
            }
        };
        let password = match &settings.password_file {
            None => settings.password.as_ref().map(|password| password.reveal().to_owned()),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConnectError::PasswordFile { path: path.clone(), error })?;
                Some(text.lines().next().unwrap_or_default().to_owned())
            }
        };
        let tls = settings.tls.as_ref().map(tls::client).transpose()?;
        Ok(Self { kind, settings: settings.clone(), password, tls, deadline })
    }

    /// How nodes are found.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind.clone()
    }

    /// Clients for one worker and one node, or the primary behind sentinels; not connected yet.
    #[must_use]
    pub fn clients(&self, address: &NodeAddress) -> Vec<Client> {
        let client = |_| {
            let (config, performance, connection, policy) = self.settings_for(address);
            Client::new(config, Some(performance), Some(connection), Some(policy))
        };
        (0..self.settings.connections_per_worker.max(1)).map(client).collect()
    }

    /// A client that listens to channels; not connected yet.
    #[must_use]
    pub fn subscriber(&self, address: &NodeAddress) -> SubscriberClient {
        let (config, performance, connection, policy) = self.settings_for(address);
        // Commands of its own are few, and nobody's decision waits for them.
        let performance = PerformanceConfig {
            default_command_timeout: self.settings.connect_timeout,
            broadcast_channel_capacity: MAX_MESSAGES,
            ..performance
        };
        SubscriberClient::new(config, Some(performance), Some(connection), Some(policy))
    }

    fn settings_for(&self, address: &NodeAddress) -> (Config, PerformanceConfig, ConnectionConfig, ReconnectPolicy) {
        let settings = &self.settings;
        let server = |node: &NodeAddress| Server::new(&*node.host, node.port);
        let server = match &self.kind {
            Kind::Sentinel { primary, sentinels } => {
                let sentinel = settings.sentinel.clone().unwrap_or_default();
                ServerConfig::Sentinel {
                    hosts: sentinels.iter().map(server).collect(),
                    service_name: primary.host.to_string(),
                    username: sentinel.username,
                    password: sentinel.password.map(|password| password.reveal().to_owned()),
                }
            }
            _ if address.host.starts_with('/') => ServerConfig::Unix { path: PathBuf::from(&*address.host) },
            Kind::Single(_) | Kind::Cluster(_) => ServerConfig::Centralized { server: server(address) },
        };
        let config = Config {
            server,
            // The first connection is tried as long as any other.
            fail_fast: false,
            username: settings.username.clone(),
            password: self.password.clone(),
            database: (settings.database > 0).then_some(settings.database),
            tls: self.tls.clone(),
            ..Config::default()
        };
        let performance = PerformanceConfig { default_command_timeout: self.deadline, ..PerformanceConfig::default() };
        // Where one name stands for whichever server is the primary, a replica means that the name has to be looked up
        // again. Anything else that a server complains of is no better on another connection, and while the client
        // connects, nothing is asked.
        let reconnect_errors = match &self.kind {
            Kind::Cluster(_) => Vec::new(),
            Kind::Single(_) | Kind::Sentinel { .. } => vec![ReconnectError::ReadOnly],
        };
        let connection = ConnectionConfig {
            connection_timeout: settings.connect_timeout,
            internal_command_timeout: settings.connect_timeout,
            max_command_attempts: 1,
            max_command_buffer_len: MAX_COMMANDS,
            unresponsive: UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE), interval: UNRESPONSIVE_CHECK },
            auto_client_setname: true,
            reconnect_on_auth_error: true,
            reconnect_errors,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let mut policy = ReconnectPolicy::new_exponential(0, FIRST_PAUSE, LONGEST_PAUSE, 2);
        policy.set_jitter(JITTER);
        (config, performance, connection, policy)
    }
}

/// `host:port`, `host`, `redis://host:port`, or the path of a Unix socket.
fn address(text: &str, default_port: u16) -> Result<NodeAddress, ConnectError> {
    let wrong = || ConnectError::Address(text.to_owned());
    let plain = text.trim().strip_prefix("redis://").unwrap_or(text.trim()).trim_end_matches('/');
    if text.trim().starts_with('/') {
        return Ok(NodeAddress { host: text.trim().into(), port: 0 });
    }
    if plain.is_empty() || plain.contains(['/', '@', ' ']) {
        return Err(wrong());
    }
    let bracketed = plain.starts_with('[') && plain.ends_with(']');
    if !plain.contains(':') || bracketed {
        let host = plain.trim_start_matches('[').trim_end_matches(']');
        return Ok(NodeAddress { host: host.into(), port: default_port });
    }
    NodeAddress::parse(plain, "").filter(|address| !address.host.is_empty()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_ports_or_are_sockets() {
        let read = |text| address(text, 6379).map(|address| (address.host.to_string(), address.port)).ok();
        let some = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(read("redis:7000"), some("redis", 7000));
        assert_eq!(read("redis"), some("redis", 6379));
        assert_eq!(read("redis://redis:7000/"), some("redis", 7000));
        assert_eq!(read("[::1]:7000"), some("::1", 7000));
        assert_eq!(read("[::1]"), some("::1", 6379));
        assert_eq!(read("/run/redis.sock"), some("/run/redis.sock", 0));
        for wrong in ["", ":7000", "a b:1", "redis:port", "user:secret@redis:1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
