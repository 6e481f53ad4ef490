//! Which entries of descriptors tell who a client is.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::client::{Client, address, text};
use super::descriptor::Request;

/// What an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The user.
    User,
    /// The client's address.
    Address,
    /// The method.
    Method,
    /// The path.
    Path,
    /// The user agent.
    UserAgent,
    /// The country of the address.
    Country,
    /// The autonomous system of the address.
    Asn,
}

/// The entries of one domain that tell something, by their keys.
#[derive(Clone, Debug)]
pub struct Keys(Box<[(Box<[u8]>, Role)]>);

impl Keys {
    /// Of a key that is listed twice, the first holds.
    pub fn new<'a>(keys: impl IntoIterator<Item = (&'a str, Role)>) -> Self {
        Self(keys.into_iter().map(|(key, role)| (key.as_bytes().into(), role)).collect())
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no entry tells anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an entry with this key tells.
    #[must_use]
    pub fn role(&self, key: &[u8]) -> Option<Role> {
        self.0.iter().find(|(known, _)| **known == *key).map(|(_, role)| *role)
    }

    /// Who makes a request: what its protocol tells, else the first entry of each kind.
    #[must_use]
    pub fn client<'a>(&self, request: &Request<'a>) -> Client<'a> {
        let mut client = Client::default();
        for entry in request.descriptors.iter().flat_map(|descriptor| &descriptor.entries) {
            if entry.value.is_empty() {
                continue;
            }
            match self.role(entry.key) {
                None => {}
                Some(Role::User) => {
                    client.user.get_or_insert_with(|| text(entry.value));
                }
                Some(Role::Address) => client.address = client.address.or_else(|| address(text(entry.value))),
                Some(Role::Method) if client.method.is_empty() => client.method = text(entry.value),
                Some(Role::Path) if client.path.is_empty() => client.path = text(entry.value),
                Some(Role::Method | Role::Path) => {}
                Some(Role::UserAgent) => {
                    client.user_agent.get_or_insert_with(|| text(entry.value));
                }
                Some(Role::Country) => client.country = client.country.or_else(|| country(entry.value)),
                Some(Role::Asn) => client.asn = client.asn.or_else(|| asn(text(entry.value))),
            }
        }
        match request.client {
            Some(told) => told.or(client),
            None => client,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new([
            ("user_id", Role::User),
            ("user", Role::User),
            ("remote_address", Role::Address),
            ("ip_address", Role::Address),
            ("masked_remote_address", Role::Address),
            ("method", Role::Method),
            ("path", Role::Path),
            ("user_agent", Role::UserAgent),
            ("country", Role::Country),
            ("asn", Role::Asn),
        ])
    }
}

/// `DE`; a client may write it as it likes.
#[must_use]
pub fn country(value: &[u8]) -> Option<[u8; 2]> {
    let code: [u8; 2] = value.try_into().ok()?;
    code.iter().all(u8::is_ascii_alphabetic).then(|| code.map(|letter| letter.to_ascii_uppercase()))
}

/// `64496` or `AS64496`.
#[must_use]
pub fn asn(value: &str) -> Option<u32> {
    value.trim_start_matches(['A', 'S', 'a', 's']).parse().ok()
}

/// The keys of every domain.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    domains: HashMap<Box<str>, Keys, RandomState>,
    others: Keys,
}

impl Identities {
    /// Those of some domains; all others have [`Keys::default`].
    pub fn new(domains: impl IntoIterator<Item = (Box<str>, Keys)>) -> Self {
        Self { domains: domains.into_iter().collect(), others: Keys::default() }
    }

    /// Those of a domain.
    #[must_use]
    pub fn of(&self, domain: &str) -> &Keys {
        if self.domains.is_empty() {
            return &self.others;
        }
        self.domains.get(domain).unwrap_or(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use smallvec::{SmallVec, smallvec};

    use super::*;
    use crate::core::descriptor::{Descriptor, Entry};

    fn request<'a>(descriptors: &[&[(&'a str, &'a str)]]) -> Request<'a> {
        let entries = |entries: &[(&'a str, &'a str)]| -> SmallVec<[Entry<'a>; 4]> {
            entries.iter().map(|(key, value)| Entry::new(key, value)).collect()
        };
        let descriptors =
            descriptors.iter().map(|each| Descriptor { entries: entries(each), ..Descriptor::default() }).collect();
        Request { domain: b"edge", descriptors, ..Request::default() }
    }

    #[test]
    fn the_first_entry_of_each_kind_tells() {
        let request = request(&[
            &[("user_id", "alice"), ("path", "/login?x")],
            &[("remote_address", "192.0.2.0/24"), ("user", "bob")],
            &[("ip_address", "192.0.2.7"), ("asn", "AS64496"), ("country", "de"), ("method", "")],
        ]);
        let client = Identities::default().of("edge").client(&request);
        let expected = Client {
            user: Some("alice"),
            address: Some("192.0.2.7".parse().unwrap()),
            path: "/login?x",
            country: Some(*b"DE"),
            asn: Some(64_496),
            ..Client::default()
        };
        assert_eq!(client, expected);
    }

    #[test]
    fn what_the_protocol_tells_goes_before() {
        let told = Client { path: "/real", method: "GET", ..Client::default() };
        let mut request = request(&[&[("path", "/template"), ("user_agent", "a")]]);
        request.client = Some(&told);
        let client = Keys::default().client(&request);
        assert_eq!((client.path, client.method, client.user_agent), ("/real", "GET", Some("a")));
    }

    #[test]
    fn a_domain_can_have_keys_of_its_own() {
        let identities = Identities::new([("edge".into(), Keys::new([("who", Role::User)]))]);
        assert_eq!(identities.of("edge").role(b"who"), Some(Role::User));
        assert_eq!(identities.of("edge").role(b"user_id"), None);
        assert_eq!(identities.of("other").role(b"user_id"), Some(Role::User));
    }

    #[test]
    fn bytes_that_are_no_text_tell_what_comes_before_them() {
        let entries: SmallVec<[Entry<'_>; 4]> = smallvec![Entry { key: b"user_id", value: b"ali\xffce" }];
        let request =
            Request { descriptors: smallvec![Descriptor { entries, ..Descriptor::default() }], ..Request::default() };
        assert_eq!(Keys::default().client(&request).user, Some("ali"));
    }
}
