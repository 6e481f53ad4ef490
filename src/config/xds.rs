//! The settings of rules that an xDS server hands out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::redis::Secret;
use super::scalar::{duration, map};

/// An xDS server that hands out the rules, as Envoy Gateway's does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Xds {
    /// Where it is, `host:port`. Default `localhost:18000`.
    pub server: String,
    /// Who we are: the server chooses the rules by it. Not empty, default `default`.
    pub node_id: String,
    /// What else the server is told of us. Default: nothing.
    #[serde(deserialize_with = "map::deserialize")]
    pub node_metadata: BTreeMap<String, String>,
    /// Headers of the call, such as `authorization`. Their values are never shown. Default: none.
    #[serde(deserialize_with = "map::deserialize")]
    pub headers: BTreeMap<String, Secret>,
    /// TLS towards it; the files are read anew for each connection. Default: none, plain text.
    pub tls: Option<XdsTls>,
    /// How long connecting may take, the TLS handshake included. `1ms` to `1m`, default `10s`.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Pauses between attempts, and before a set that was refused is refused again.
    pub backoff: Backoff,
    /// The largest set of rules accepted, bytes. 1024 to 256 MiB, default 67108864 (64 MiB).
    pub max_message_bytes: usize,
}

impl Default for Xds {
    fn default() -> Self {
        Self {
            server: "localhost:18000".to_owned(),
            node_id: "default".to_owned(),
            node_metadata: BTreeMap::new(),
            headers: BTreeMap::new(),
            tls: None,
            connect_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
            max_message_bytes: 64 << 20,
        }
    }
}

impl Xds {
    /// The host and the port of `server`; an IPv6 address without its brackets. `None` when it is no such thing.
    #[must_use]
    pub fn address(&self) -> Option<(&str, u16)> {
        let authority: http::uri::Authority = self.server.parse().ok()?;
        let port = authority.port_u16().filter(|port| *port != 0)?;
        let (host, _) = self.server.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (!host.is_empty() && !host.contains('@')).then_some((host, port))
    }
}

/// TLS towards the xDS server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct XdsTls {
    /// Certificate authorities, a PEM file. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// Our certificate chain, a PEM file; needs `key`. Default: none.
    pub certificate: Option<PathBuf>,
    /// Its private key, a PEM file. Default: none.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must be for, when that is not the host of `server`. Default: none.
    pub san: Option<String>,
}

/// Pauses that double from the first to the longest, each shortened by up to half, by chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The first. `1ms` to `1h`, default `500ms`.
    #[serde(with = "duration")]
    pub initial: Duration,
    /// The longest. `initial` to `1h`, default `10s`.
    #[serde(with = "duration")]
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), max: Duration::from_secs(10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_host_and_a_port() {
        let address = |server: &str| {
            let xds = Xds { server: server.to_owned(), ..Xds::default() };
            xds.address().map(|(host, port)| (host.to_owned(), port))
        };
        for (server, host, port) in
            [("localhost:18000", "localhost", 18000), ("10.0.0.1:1", "10.0.0.1", 1), ("[::1]:443", "::1", 443)]
        {
            assert_eq!(address(server), Some((host.to_owned(), port)), "{server}");
        }
        for server in [
            "",
            "localhost",
            ":18000",
            "localhost:",
            "localhost:0",
            "localhost:70000",
            "http://a:1",
            "me:x@a:1",
            "a:1/b",
        ] {
            assert_eq!(address(server), None, "{server}");
        }
    }
}
