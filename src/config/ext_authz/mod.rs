//! The `ext_authz` section: how a request that Envoy asks about (`envoy.service.auth.v3.Authorization/Check`) becomes
//! descriptors, who is let through or turned away without counting, and what the answers carry.
//!
//! Everything has a default: without a section, a request is one descriptor, `remote_address`, of the domain `edge`.

mod answer;
mod built_in;
mod pieces;
mod route;
mod value;
mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, Body};
pub use built_in::BuiltIn;
pub use pieces::{Piece, pieces};
pub use route::{Descriptor, Hits, HitsOf, Match, Route};
pub(crate) use value::metadata;
pub use value::{Source, Value};

use super::scalar::list;

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExtAuthz {
    /// The domain whose rules apply, for routes that name none. Not empty, default `edge`.
    pub domain: String,
    /// Which address is the client's.
    pub client_address: ClientAddress,
    /// How paths are read.
    pub paths: Paths,
    /// Where Envoy puts the claims that it has verified.
    pub claims: Claims,
    /// Values that descriptors name, beside the built-in ones. At most 64. Default: none.
    pub values: BTreeMap<String, Value>,
    /// The value that names the user, for lists and logs: one of `values`, or a built-in one. Default: none.
    pub user: Option<String>,
    /// A file whose first line is the key that `secret` values are hashed with: at least 32 bytes, the same for all
    /// replicas. Required when a value is secret.
    pub secret_key_file: Option<PathBuf>,
    /// What is asked of which request; the first route that matches holds, and a request that none matches passes.
    /// At most 1000. Default: one route for everything, with the descriptor `[remote_address]`.
    pub routes: Vec<Route>,
    /// Who is turned away, or let through without counting.
    pub lists: Lists,
    /// What answers carry.
    pub answer: Answer,
}

impl Default for ExtAuthz {
    fn default() -> Self {
        Self {
            domain: "edge".to_owned(),
            client_address: ClientAddress::default(),
            paths: Paths::default(),
            claims: Claims::default(),
            values: BTreeMap::new(),
            user: None,
            secret_key_file: None,
            routes: vec![Route {
                descriptors: vec![Descriptor { entries: vec!["remote_address".to_owned()], hits: None }],
                ..Route::default()
            }],
            lists: Lists::default(),
            answer: Answer::default(),
        }
    }
}

/// Which address is the client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientAddress {
    /// `peer`: the other end of the connection, as Envoy tells it. `x_forwarded_for`: the address that the outermost
    /// trusted proxy wrote there. Default `peer`.
    pub source: AddressSource,
    /// With `x_forwarded_for`: how many trusted proxies append to the header before it is seen here. 1 takes the last
    /// address of the header, 2 the one before it. 1 to 100, default 1.
    pub trusted_hops: usize,
    /// Bits of an IPv4 address that tell clients apart. 8 to 32, default 32.
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address that tell clients apart. 16 to 128, default 64.
    pub ipv6_prefix: u8,
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self { source: AddressSource::Peer, trusted_hops: 1, ipv4_prefix: 32, ipv6_prefix: 64 }
    }
}

/// Where the client's address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressSource {
    /// The other end of the connection.
    Peer,
    /// `X-Forwarded-For`, from its end.
    XForwardedFor,
}

/// How paths are read. They are normalised before anything looks at them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Templates, such as `/users/{id}` and `/files/{*rest}`: the built-in value `path` is the template that a path
    /// fits, so that there are only so many. Literal segments go before variable ones. At most 10 000. Default: none.
    #[serde(deserialize_with = "list::deserialize")]
    pub templates: Vec<String>,
    /// What `path` is for paths that fit no template. Not empty, default `other`.
    pub unmatched: String,
    /// Whether `/Users` and `/users` are one path. Default `false`.
    pub ignore_case: bool,
}

impl Default for Paths {
    fn default() -> Self {
        Self { templates: Vec::new(), unmatched: "other".to_owned(), ignore_case: false }
    }
}

/// Where Envoy puts the claims of a token that it has verified: dynamic metadata, of the JWT filter by default. Envoy
/// passes it on when the ext_authz filter lists the namespace in `metadata_context_namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Claims {
    /// The namespace. Not empty, default `envoy.filters.http.jwt_authn`.
    pub namespace: String,
    /// The key below it that holds the claims: `payload_in_metadata` of the JWT filter's provider. Empty when the claims
    /// stand in the namespace itself. Default `jwt_payload`.
    pub key: String,
}

impl Default for Claims {
    fn default() -> Self {
        Self { namespace: "envoy.filters.http.jwt_authn".to_owned(), key: "jwt_payload".to_owned() }
    }
}

/// Who is turned away, or let through without counting. `deny` is looked at first; of two networks that hold an address,
/// the longer one speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lists {
    /// Turned away.
    pub deny: List,
    /// Let through.
    pub allow: List,
}

/// One list: what stands in the settings, and files that are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// Networks, `203.0.113.0/24` or an address.
    #[serde(deserialize_with = "list::deserialize")]
    pub networks: Vec<String>,
    /// Users, as the value that `user` names has them.
    #[serde(deserialize_with = "list::deserialize")]
    pub users: Vec<String>,
    /// Path templates.
    #[serde(deserialize_with = "list::deserialize")]
    pub paths: Vec<String>,
    /// Files with one entry a line: a network, `user:NAME` or `path:TEMPLATE`, perhaps ` until TIME`, perhaps a
    /// comment after `#`.
    #[serde(deserialize_with = "list::deserialize")]
    pub files: Vec<PathBuf>,
}
