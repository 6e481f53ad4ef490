//! Which descriptors a line of a log makes: every chain of keys that the rules have and that a log can fill. Envoy's
//! route actions would say; a log has none.

use smallvec::SmallVec;

use super::log::Entry;
use crate::core::descriptor::{Descriptor, Entry as Pair};
use crate::core::identity::{Keys, Role};
use crate::core::spec::{DescriptorSpec, DomainSpec};

/// The most chains asked about for one line, of those that a request may have.
const MAX_CHAINS: usize = 100;

/// What a line tells of its client; `None` when it does not.
fn value<'a>(role: Role, entry: &'a Entry, address: &'a str) -> Option<&'a str> {
    match role {
        Role::User => entry.user(),
        Role::Address => entry.address.map(|_| address),
        Role::Path => entry.path(),
        Role::Method => entry.method(),
        Role::UserAgent => entry.user_agent(),
        Role::Country => entry.country.as_ref().and_then(|country| std::str::from_utf8(country).ok()),
        Role::Asn => None,
    }
}

type Chain = SmallVec<[(Box<str>, Role); 2]>;

/// The chains of keys to ask about.
#[derive(Debug, Default)]
pub(super) struct Questions {
    chains: Vec<Chain>,
    /// Keys of rules that no log can fill.
    unknown: Vec<String>,
}

impl Questions {
    pub(super) fn of(domain: &DomainSpec, keys: &Keys) -> Self {
        let mut questions = Self::default();
        questions.gather(&domain.descriptors, keys, &Chain::new());
        questions
    }

    fn gather(&mut self, descriptors: &[DescriptorSpec], keys: &Keys, above: &Chain) {
        for descriptor in descriptors.iter().filter(|descriptor| !descriptor.rule.disabled) {
            let role = keys.role(descriptor.key.as_bytes());
            let Some(role) = role.filter(|role| *role != Role::Asn) else {
                if !self.unknown.contains(&descriptor.key) && self.unknown.len() < MAX_CHAINS {
                    self.unknown.push(descriptor.key.clone());
                }
                continue;
            };
            let mut chain = above.clone();
            chain.push((descriptor.key.as_str().into(), role));
            self.gather(&descriptor.descriptors, keys, &chain);
            if descriptor.rule.effect.is_some() && !self.chains.contains(&chain) && self.chains.len() < MAX_CHAINS {
                self.chains.push(chain);
            }
        }
    }

    /// Keys of rules that are never met, because no log tells their values.
    pub(super) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Whether there is anything to ask.
    pub(super) const fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// The descriptors of a request.
    pub(super) fn ask<'a>(&'a self, entry: &'a Entry, address: &'a str) -> impl Iterator<Item = Descriptor<'a>> {
        self.chains.iter().filter_map(move |chain| {
            let mut descriptor = Descriptor::default();
            for (key, role) in chain {
                descriptor.entries.push(Pair::new(key, value(*role, entry, address)?));
            }
            Some(descriptor)
        })
    }
}
