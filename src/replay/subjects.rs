//! Which subjects a request of a log belongs to.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::log::Entry;
use crate::anomaly::features::template;
use crate::core::adjustment::set::short;
use crate::core::client::{MAX_USER, network, short_name, short_path};
use crate::core::subject::{Attribute, Subject};

/// What requests of a group have in common.
type Attributes = SmallVec<[(Attribute, Arc<str>); 3]>;

/// Something for each of some subjects.
#[derive(Debug)]
pub(super) struct BySubject<T> {
    users: HashMap<Arc<str>, T>,
    addresses: HashMap<IpAddr, T>,
    groups: Vec<(Attributes, T)>,
    /// The template of a request's path.
    path: String,
}

impl<T> Default for BySubject<T> {
    fn default() -> Self {
        Self { users: HashMap::new(), addresses: HashMap::new(), groups: Vec::new(), path: String::new() }
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

    /// Calls `visit` with what each subject of the request has. Subjects are known as the engine names them, by their
    /// short forms.
    pub(super) fn of(&mut self, entry: &Entry, mut visit: impl FnMut(&mut T)) {
        if !self.users.is_empty()
            && let Some(found) = entry.user().and_then(|user| self.users.get_mut(&*short_name(user, MAX_USER)))
        {
            visit(found);
        }
        if !self.addresses.is_empty()
            && let Some(found) = entry.address.and_then(|address| self.addresses.get_mut(&network(address)))
        {
            visit(found);
        }
        if self.groups.is_empty() {
            return;
        }
        template::reduce(short_path(entry.path().unwrap_or_default()), &mut self.path);
        for (attributes, found) in &mut self.groups {
            if attributes.iter().all(|(attribute, value)| has(entry, &self.path, *attribute, value)) {
                visit(found);
            }
        }
    }
}

/// Whether a request has an attribute. `path` is the template of its path.
fn has(entry: &Entry, path: &str, attribute: Attribute, value: &str) -> bool {
    match attribute {
        Attribute::Country => entry.country.is_some_and(|country| country == value.as_bytes()),
        Attribute::Path => path == value,
        Attribute::UserAgent => entry.user_agent().is_some_and(|agent| short(attribute, agent) == value),
        Attribute::Anonymous => entry.user().is_none(),
        Attribute::Address => entry.address.is_some_and(|address| network(address).to_string() == value),
        Attribute::Asn => entry.asn.is_some_and(|asn| value.parse() == Ok(asn)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            subjects.of(&reader.read().unwrap().unwrap(), |name| found.push(*name));
            found
        };
        let all = r#"{"ts":1,"user_id":"alice","ip_address":"2001:db8::7","path":"/a/9","country":"DE"}"#;
        assert_eq!(found(all), ["user", "address", "group"]);
        assert_eq!(found(r#"{"ts":1,"ip_address":"2001:db8:0:1::7","path":"/a/9","country":"FR"}"#), [""; 0]);
        assert_eq!(found(r#"{"ts":1,"ip_address":"192.0.2.1","path":"/a/9/b","country":"DE"}"#), [""; 0]);
    }

    #[test]
    fn long_names_are_known_by_their_short_forms() {
        let (user, agent) = ("u".repeat(200), "a".repeat(200));
        let mut subjects: BySubject<&str> = BySubject::default();
        subjects.entry(&Subject::User((*short_name(&user, MAX_USER)).into()), || "user");
        let agents = [(Attribute::UserAgent, (*short(Attribute::UserAgent, &agent)).into())];
        subjects.entry(&Subject::Group(agents.into_iter().collect()), || "group");
        let line = format!(r#"{{"ts":1,"user_id":"{user}","user_agent":"{agent}"}}"#);
        let mut reader = super::super::log::Reader::new(std::io::Cursor::new(line), None).unwrap();
        let mut found = Vec::new();
        subjects.of(&reader.read().unwrap().unwrap(), |name| found.push(*name));
        assert_eq!(found, ["user", "group"]);
    }
}
