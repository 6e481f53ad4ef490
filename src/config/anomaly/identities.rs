//! Which entries of a domain's descriptors tell who a client is.

use serde::{Deserialize, Serialize};

use super::super::scalar::list;
use crate::core::identity::{Identities, Keys, Role};

use super::Anomaly;

/// The keys of entries in one domain; of several, the first that a request has tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DomainIdentities {
    /// The user. Default `user_id`, `user`.
    #[serde(deserialize_with = "list::deserialize")]
    pub user: Vec<String>,
    /// The client's address. Default `remote_address`, `ip_address`, `masked_remote_address`.
    #[serde(deserialize_with = "list::deserialize")]
    pub address: Vec<String>,
    /// The method. Default `method`.
    #[serde(deserialize_with = "list::deserialize")]
    pub method: Vec<String>,
    /// The path, or its template. Default `path`.
    #[serde(deserialize_with = "list::deserialize")]
    pub path: Vec<String>,
    /// The user agent. Default `user_agent`.
    #[serde(deserialize_with = "list::deserialize")]
    pub user_agent: Vec<String>,
    /// The country of the address, ISO 3166-1 alpha-2. Default `country`.
    #[serde(deserialize_with = "list::deserialize")]
    pub country: Vec<String>,
    /// The autonomous system of the address. Default `asn`.
    #[serde(deserialize_with = "list::deserialize")]
    pub asn: Vec<String>,
}

impl Default for DomainIdentities {
    fn default() -> Self {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        Self {
            user: keys(&["user_id", "user"]),
            address: keys(&["remote_address", "ip_address", "masked_remote_address"]),
            method: keys(&["method"]),
            path: keys(&["path"]),
            user_agent: keys(&["user_agent"]),
            country: keys(&["country"]),
            asn: keys(&["asn"]),
        }
    }
}

impl DomainIdentities {
    /// Every key, with the field that it stands in and what it tells.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, &str, Role)> {
        let fields: [(&'static str, &Vec<String>, Role); 7] = [
            ("user", &self.user, Role::User),
            ("address", &self.address, Role::Address),
            ("method", &self.method, Role::Method),
            ("path", &self.path, Role::Path),
            ("user_agent", &self.user_agent, Role::UserAgent),
            ("country", &self.country, Role::Country),
            ("asn", &self.asn, Role::Asn),
        ];
        fields.into_iter().flat_map(|(field, keys, role)| keys.iter().map(move |key| (field, &**key, role)))
    }
}

impl Anomaly {
    /// The keys of every domain, for the limiter.
    #[must_use]
    pub fn identities(&self) -> Identities {
        let keys = |domain: &DomainIdentities| Keys::new(domain.keys().map(|(_, key, role)| (key, role)));
        Identities::new(self.domains.iter().map(|(name, domain)| (name.as_str().into(), keys(domain))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_limiter() {
        let (limiters, ours) = (Keys::default(), DomainIdentities::default());
        for (_, key, role) in ours.keys() {
            assert_eq!(limiters.role(key.as_bytes()), Some(role), "{key}");
        }
        assert_eq!(ours.keys().count(), limiters.len());
    }
}
