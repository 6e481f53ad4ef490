//! The `ext_authz` section: how a request that Envoy asks about (`envoy.service.auth.v3.Authorization/Check`) becomes
//! descriptors, who is let through or turned away without counting, and what the answers carry.
//!
//! Everything has a default: without a section, a request is one descriptor, `remote_address`, of the domain `edge`.

mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// With `x_forwarded_for`: how many proxies in front of this Envoy append to the header and are trusted, the peer
    /// included. 1 takes the last address of the header, 2 the one before it. 1 to 100, default 1.
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

/// A named value of a request: exactly one of `header`, `query`, `cookie`, `claim`, `metadata`, `context` and
/// `path_variable`, and what is made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Value {
    /// A header's value; of several, the first.
    pub header: Option<String>,
    /// A query parameter's value, decoded; of several, the first.
    pub query: Option<String>,
    /// A cookie's value; of several, the first.
    pub cookie: Option<String>,
    /// A claim of a token that Envoy has verified, `sub`, or `realm_access.roles` for one inside another; of a list, its
    /// first item.
    pub claim: Option<String>,
    /// Dynamic metadata: the namespace, a colon, and a path with dots, `envoy.lb:tenant.id`.
    pub metadata: Option<String>,
    /// An entry of the route's `context_extensions`.
    pub context: Option<String>,
    /// A variable of the template that the path fits.
    pub path_variable: Option<String>,
    /// What it is when the request has none (or an empty one). Default: none, and descriptors that name it are not sent.
    pub default: Option<String>,
    /// The only values told apart; others become `other_value`. At most 10 000. Default: none, all are.
    pub one_of: Vec<String>,
    /// What values outside of `one_of` become. Default `other`.
    pub other_value: Option<String>,
    /// Whether `Alice` and `alice` are one. Default `false`.
    pub ignore_case: bool,
    /// Hash it with the key of `secret_key_file` before it goes anywhere: counters, logs, metrics, metadata. Default
    /// `false`.
    pub secret: bool,
}

/// What is asked of the requests that match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// A name, for the built-in value `route` and for answers. Default: none.
    pub name: Option<String>,
    /// Which requests. Default: all.
    #[serde(rename = "match")]
    pub matching: Match,
    /// The domain whose rules apply. Default: that of the section.
    pub domain: Option<String>,
    /// What is asked. None: such requests pass without being counted. At most 100.
    pub descriptors: Vec<Descriptor>,
    /// What a request costs. Default: 1.
    pub hits: Option<Hits>,
    /// Headers for the upstream, over those of `answer.upstream_headers`.
    pub upstream_headers: BTreeMap<String, String>,
}

/// Which requests; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Path templates, one of which the normalised path fits. Default: any path.
    pub paths: Vec<String>,
    /// Methods. Default: any.
    pub methods: Vec<String>,
    /// Hosts without port, `example.com` or `*.example.com`. Default: any.
    pub hosts: Vec<String>,
    /// Entries of the route's `context_extensions`. Default: none.
    pub context: BTreeMap<String, String>,
}

/// One descriptor: the list of its entries, or a mapping with `entries` and `hits`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Descriptor {
    /// Entries in their order: the name of a value, which is the key too, or `key=text` for a constant. 1 to 32.
    pub entries: Vec<String>,
    /// What a request costs here, instead of the route's `hits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hits: Option<Hits>,
}

/// What a request costs: a number, or a value of the request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Hits {
    /// Always so much.
    Fixed(u64),
    /// What the request says.
    Of(HitsOf),
}

/// A cost that the request says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HitsOf {
    /// A value that is a whole number: one of `values`, or `request_size`.
    pub value: String,
    /// So much of the value is one hit, rounded up. At least 1, default 1.
    #[serde(default = "one")]
    pub per: u64,
    /// What a request costs whose value is missing, or no number. Default 1.
    #[serde(default = "one")]
    pub default: u64,
    /// The least that a request costs. Default 0.
    #[serde(default)]
    pub min: u64,
    /// The most that a request costs. Default 1 000 000.
    #[serde(default = "million")]
    pub max: u64,
}

const fn one() -> u64 {
    1
}

const fn million() -> u64 {
    1_000_000
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
    pub networks: Vec<String>,
    /// Users, as the value that `user` names has them.
    pub users: Vec<String>,
    /// Path templates.
    pub paths: Vec<String>,
    /// Files with one entry a line: a network, `user:NAME` or `path:TEMPLATE`, perhaps ` until TIME`, perhaps a
    /// comment after `#`.
    pub files: Vec<PathBuf>,
}

/// What answers carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// The body of a denial. Default `problem`.
    pub body: Body,
    /// With `body: custom`, the text: `{rule}`, `{domain}`, `{limit}`, `{window}`, `{remaining}`, `{retry_after}` and
    /// `{status}` are filled in. At most 64 KiB.
    pub template: Option<String>,
    /// The media type of `template`. Default `text/plain; charset=utf-8`.
    pub content_type: Option<String>,
    /// The status of a denial by a limit. 400 to 599, default 429.
    pub status: u16,
    /// The status of a denial by a list. 400 to 599, default 403.
    pub list_status: u16,
    /// Headers that the upstream gets, each with a text in which `{name}` stands for a value of the request; one whose
    /// value is missing is not set. What the client sent under the name is removed in any case. Default: none.
    pub upstream_headers: BTreeMap<String, String>,
    /// Headers that the upstream does not get. Default: none.
    pub remove_headers: Vec<String>,
    /// Put the RateLimit headers on the responses of allowed requests, too. Default `true`.
    pub response_headers: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            body: Body::Problem,
            template: None,
            content_type: None,
            status: 429,
            list_status: 403,
            upstream_headers: BTreeMap::new(),
            remove_headers: Vec::new(),
            response_headers: true,
        }
    }
}

/// The body of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A problem document (RFC 9457).
    Problem,
    /// One sentence.
    Text,
    /// The text of `template`.
    Custom,
    /// None.
    None,
}
