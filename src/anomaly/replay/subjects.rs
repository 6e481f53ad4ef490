//! Which subjects a request of a log belongs to.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::log::Entry;
use crate::core::subject::{Attribute, Subject};

/// What requests of a group have in common.
type Attributes = SmallVec<[(Attribute, Arc<str>); 3]>;

/// Something for each of some subjects.
#[derive(Debug)]
pub(super) struct BySubject<T> {
    users: HashMap<Arc<str>, T>,
    addresses: HashMap<IpAddr, T>,
    groups: Vec<(Attributes, T)>,
}

impl<T> Default for BySubject<T> {
    fn default() -> Self {
        Self { users: HashMap::new(), addresses: HashMap::new(), groups: Vec::new() }
    }
}

impl<T> BySubject<T> {
    /// What `subject` has; made, if it has nothing yet.
    pub(super) fn entry(&mut self, subject: &Subject, new: impl FnOnce() -> T) -> &mut T {
        match subject {
            Subject::User(user) => self.users.entry(user.clone()).or_insert_with(new),
            Subject::Address(address) => self.addresses.entry(network(*address)).or_insert_with(new),
            Subject::Group(attributes) => {
                let at = self.groups.iter().position(|(known, _)| known == attributes).unwrap_or_else(|| {
                    self.groups.push((attributes.clone(), new()));
                    self.groups.len() - 1
                });
                &mut self.groups[at].1
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.users.len() + self.addresses.len() + self.groups.len()
    }

    /// Calls `visit` with what each subject of the request has.
    pub(super) fn of(&mut self, entry: &Entry, mut visit: impl FnMut(Kind, &mut T)) {
        if !self.users.is_empty()
            && let Some(found) = entry.user().and_then(|user| self.users.get_mut(user))
        {
            visit(Kind::User, found);
        }
        if !self.addresses.is_empty()
            && let Some(found) = entry.address.and_then(|address| self.addresses.get_mut(&network(address)))
        {
            visit(Kind::Address, found);
        }
        for (attributes, found) in &mut self.groups {
            if attributes.iter().all(|(attribute, value)| has(entry, *attribute, value)) {
                visit(Kind::Group, found);
            }
        }
    }
}

/// What kind of subject it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Address,
    Group,
}

/// The address that tells clients apart: of IPv6 the /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

fn has(entry: &Entry, attribute: Attribute, value: &str) -> bool {
    match attribute {
        Attribute::Country => entry.country.is_some_and(|country| country == value.as_bytes()),
        Attribute::Path => entry.path().is_some_and(|path| is_of_template(path, value)),
        Attribute::UserAgent => entry.user_agent() == Some(value),
        Attribute::Anonymous => entry.user().is_none(),
        Attribute::Address => entry.address.is_some_and(|address| network(address).to_string() == value),
        Attribute::Asn => entry.asn.is_some_and(|asn| value.parse() == Ok(asn)),
    }
}

/// Whether `path` is of `template`, in which a part in braces stands for any one part of a path, and `*` at the end for
/// all further ones. Empty parts do not count.
fn is_of_template(path: &str, template: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let mut wanted = template.split('/').filter(|part| !part.is_empty());
    loop {
        match (parts.next(), wanted.next()) {
            (None, None) | (Some(_), Some("*")) => return true,
            (Some(part), Some(wanted)) => {
                let any = wanted.starts_with('{') && wanted.ends_with('}');
                if !any && part != wanted {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_stand_for_paths() {
        for (path, template, is) in [
            ("/shop/tents/12", "/shop/tents/{id}", true),
            ("/shop/tents/", "/shop/tents/{id}", false),
            ("/shop//tents/12/", "/shop/tents/{id}", true),
            ("/shop/tents/12/reviews", "/shop/tents/*", true),
            ("/shop/tents", "/shop/tents/{id}", false),
            ("/shop/tents/12/reviews", "/shop/tents/{id}", false),
            ("/", "/", true),
            ("/a", "/b", false),
        ] {
            assert_eq!(is_of_template(path, template), is, "{path} {template}");
        }
    }

    #[test]
    fn requests_find_their_subjects() {
        let mut subjects: BySubject<&str> = BySubject::default();
        subjects.entry(&Subject::User("alice".into()), || "user");
        subjects.entry(&Subject::Address("2001:db8::".parse().unwrap()), || "address");
        let group = |country: &str| {
            let attributes = [(Attribute::Country, country.into()), (Attribute::Path, "/a/{id}".into())];
            Subject::Group(attributes.into_iter().collect())
        };
        subjects.entry(&group("DE"), || "group");
        assert_eq!(*subjects.entry(&group("DE"), || "another"), "group");
        assert_eq!(subjects.len(), 3);
        let mut found = |line: &str| {
            let mut reader = super::super::log::Reader::new(std::io::Cursor::new(line.to_owned()), None).unwrap();
            let mut found = Vec::new();
            subjects.of(&reader.read().unwrap().unwrap(), |_, name| found.push(*name));
            found
        };
        let all = r#"{"ts":1,"user_id":"alice","ip_address":"2001:db8::7","path":"/a/9","country":"DE"}"#;
        assert_eq!(found(all), ["user", "address", "group"]);
        assert_eq!(found(r#"{"ts":1,"ip_address":"2001:db8:0:1::7","path":"/a/9","country":"FR"}"#), [""; 0]);
    }
}
