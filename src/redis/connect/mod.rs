//! How to speak to Redis: clients as the settings want them.
//!
//! fred's defaults are changed where they would charge twice or wait for ever: a command is sent at most once, every
//! one has a time, queues are bounded. Connections are tried for ever, with growing pauses and jitter.

mod complaints;
mod tls;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy, Server,
    ServerConfig, TcpConfig, TlsConfig, UnresponsiveConfig,
};

use self::complaints::Complaints;
use super::topology::{Kind, NodeAddress};
use crate::config::redis::{Endpoint, EndpointError, RedisConnection, RedisTls, Secret, Topology};

pub use crate::tls::TlsError;

/// Commands that wait in one client; those of a worker's queue are far fewer, as they travel together.
const MAX_COMMANDS: usize = 10_000;
/// Messages that wait in one subscriber.
const MAX_MESSAGES: usize = 1_024;
/// How often a command is sent that no decision waits for: it does no harm twice.
const BACKGROUND_ATTEMPTS: u32 = 3;
/// Pauses between attempts to connect: the first, and the longest; each varies by up to the jitter.
const FIRST_PAUSE: u32 = 50;
const LONGEST_PAUSE: u32 = 1_000;
const JITTER: u32 = 100;
/// A connection that leaves a command unanswered for so long is closed and opened anew.
const UNRESPONSIVE: Duration = Duration::from_secs(2);
const UNRESPONSIVE_CHECK: Duration = Duration::from_millis(500);

/// Why the settings give no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An address that is none.
    #[error("redis.urls: {0}")]
    Address(#[from] EndpointError),
    /// No addresses.
    #[error("redis.urls: no address; write where Redis is, host:port")]
    NoAddress,
    /// A file with a password that cannot be read, or is empty.
    #[error("redis.password_file: {path:?}: {error}; its first line must be the password")]
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
    password: Option<Secret>,
    tls: Option<TlsConfig>,
    deadline: Duration,
    complaints: Arc<Complaints>,
}

impl Connector {
    /// Reads what the settings name. `deadline` is the time of a command.
    ///
    /// # Errors
    /// [`ConnectError`], with the setting to change.
    pub fn new(settings: &RedisConnection, deadline: Duration) -> Result<Self, ConnectError> {
        let endpoints = settings.endpoints()?;
        let nodes: Vec<_> = endpoints.iter().map(node).collect();
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
            None => settings.password.clone(),
            Some(path) => Some(read_password(path)?),
        };
        // An address can ask for TLS on its own.
        let asked = endpoints.iter().any(Endpoint::asks_for_tls).then(RedisTls::default);
        let tls = settings.tls.clone().or(asked).as_ref().map(tls::client).transpose()?;
        Ok(Self { kind, settings: settings.clone(), password, tls, deadline, complaints: Arc::default() })
    }

    /// How nodes are found.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind.clone()
    }

    /// Clients for one worker and one node, or the primary behind sentinels; not connected yet. Made within a runtime,
    /// they tell in the log why they cannot connect.
    #[must_use]
    pub fn clients(&self, address: &NodeAddress) -> Vec<Client> {
        let client = |_| {
            let (config, performance, connection, policy) = self.settings_for(address);
            let client = Client::new(config, Some(performance), Some(connection), Some(policy));
            self.complaints.listen(&client, address);
            client
        };
        (0..self.settings.connections_per_worker.max(1)).map(client).collect()
    }

    /// A client for the whole deployment, for what no decision waits for; not connected yet. In a cluster it finds its way
    /// by itself, and while it connects to one node again, none is reached. `deadline` is the time of a command, which
    /// may be sent again.
    #[must_use]
    pub fn background(&self, deadline: Duration) -> Client {
        let address = match &self.kind {
            Kind::Single(node) | Kind::Sentinel { primary: node, .. } => node.clone(),
            // Where it is entered, for the log.
            Kind::Cluster(nodes) => nodes.first().cloned().unwrap_or_else(|| NodeAddress { host: "".into(), port: 0 }),
        };
        let (mut config, mut performance, mut connection, policy) = self.settings_for(&address);
        if let Kind::Cluster(nodes) = &self.kind {
            let hosts = nodes.iter().map(|node| Server::new(&*node.host, node.port)).collect();
            config.server = ServerConfig::Clustered { hosts, policy: ClusterDiscoveryPolicy::UseCache };
        }
        performance.default_command_timeout = deadline;
        connection.max_command_attempts = BACKGROUND_ATTEMPTS;
        let client = Client::new(config, Some(performance), Some(connection), Some(policy));
        self.complaints.listen(&client, &address);
        client
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
            password: self.password.as_ref().map(|password| password.reveal().to_owned()),
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
            Kind::Single(_) | Kind::Sentinel { .. } => vec![ReconnectError::ReadOnly, ReconnectError::MasterDown],
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

/// A Unix socket is a node whose host is its path.
fn node(endpoint: &Endpoint) -> NodeAddress {
    match endpoint {
        Endpoint::Tcp { host, port, .. } => NodeAddress { host: host.as_str().into(), port: *port },
        Endpoint::Unix(path) => NodeAddress { host: path.to_string_lossy().into(), port: 0 },
    }
}

/// The first line of a file.
fn read_password(path: &Path) -> Result<Secret, ConnectError> {
    let wrong = |error| ConnectError::PasswordFile { path: path.to_owned(), error };
    let text = std::fs::read_to_string(path).map_err(wrong)?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(Secret::new(password)),
        _ => Err(wrong(io::Error::other("it is empty"))),
    }
}
