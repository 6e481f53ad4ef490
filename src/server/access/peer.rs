//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection; every request carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody in the network. Loopback is no better: a proxy beside us delivers from there.
    Network(SocketAddr),
    /// Of our Unix socket: the user that this process runs as, or root, whom no file keeps out.
    Owner {
        /// The user's number.
        uid: u32,
    },
    /// Of our Unix socket: somebody else, who was let in by somebody who changed the file.
    Stranger,
}

impl Peer {
    /// What failed attempts are counted by: the address; of IPv6 the first 64 bits, as one client has many of the rest.
    #[must_use]
    pub fn counted_as(&self) -> String {
        match self {
            Self::Network(address) => match address.ip().to_canonical() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
                }
            },
            Self::Owner { .. } | Self::Stranger => "socket".to_owned(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Owner { uid } => write!(f, "uid {uid}"),
            Self::Stranger => f.write_str("a stranger on the socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_of_ipv6_is_counted_once() {
        let counted = |address: &str| Peer::Network(address.parse().unwrap()).counted_as();
        assert_eq!(counted("192.0.2.1:5"), "192.0.2.1");
        assert_eq!(counted("[::ffff:192.0.2.1]:5"), "192.0.2.1");
        assert_eq!(counted("[2001:db8:1:2:3:4:5:6]:7"), "2001:db8:1:2::/64");
        assert_eq!(counted("[2001:db8:1:2::9]:1"), counted("[2001:db8:1:2:3:4:5:6]:7"));
    }
}
