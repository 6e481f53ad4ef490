//! Access logs of Envoy, `anomaly.access_logs`.

use serde::{Deserialize, Serialize};

use crate::config::ext_authz::{AddressSource, Claims, Source, metadata};

/// What one access log tells. A domain that has an access log takes its observations from there only, so that no request
/// is seen twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// The domain that its requests are decided in. Required.
    pub domain: String,
    /// Where the user stands, as descriptors name it. Default: nowhere, and clients are told apart by their addresses.
    pub user: Option<LoggedValue>,
    /// Where the country of the address stands, ISO 3166-1 alpha-2. Default: nowhere.
    pub country: Option<LoggedValue>,
    /// Where the autonomous system of the address stands. Default: nowhere.
    pub asn: Option<LoggedValue>,
    /// Which address is the client's.
    pub client_address: LoggedAddress,
    /// Where Envoy puts the claims that it has verified.
    pub claims: Claims,
}

/// Which address is the client's, as in `ext_authz.client_address`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggedAddress {
    /// `peer`: the downstream remote address, which Envoy takes from `X-Forwarded-For` itself when it is told to trust
    /// proxies before it. `x_forwarded_for`: the address that the outermost trusted proxy wrote there. Default `peer`.
    pub source: AddressSource,
    /// With `x_forwarded_for`: how many trusted proxies append to the header, this Envoy included. 1 to 100, default 1.
    pub trusted_hops: usize,
}

impl Default for LoggedAddress {
    fn default() -> Self {
        Self { source: AddressSource::Peer, trusted_hops: 1 }
    }
}

/// Where a value stands: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggedValue {
    /// A request header; Envoy logs those that `additional_request_headers_to_log` lists.
    pub header: Option<String>,
    /// A claim of a token that Envoy has verified.
    pub claim: Option<String>,
    /// Dynamic metadata: the namespace, a colon, and a path with dots, `envoy.lb:tenant.id`.
    pub metadata: Option<String>,
}

impl LoggedValue {
    /// Where the value stands.
    ///
    /// # Errors
    /// What to write, when there is no place, or several.
    pub fn source(&self) -> Result<Source<'_>, String> {
        match (self.header.as_deref(), self.claim.as_deref(), self.metadata.as_deref()) {
            (Some(name), None, None) => Ok(Source::Header(name)),
            (None, Some(path), None) => Ok(Source::Claim(path)),
            (None, None, Some(text)) => metadata(text),
            (None, None, None) => Err("it has no source; write one of header, claim, metadata".to_owned()),
            _ => Err("it has several sources; write only one of header, claim, metadata".to_owned()),
        }
    }
}
