//! Which descriptors a line of a log makes: every chain of keys that the rules have and that a log can fill. Envoy's
//! route actions would say; a log has none.

use smallvec::SmallVec;

use super::log::Entry;
use crate::core::descriptor::{Descriptor, Entry as Pair};
use crate::core::spec::{DescriptorSpec, DomainSpec};

/// The most chains asked about for one line, of those that a request may have.
const MAX_CHAINS: usize = 100;

/// What a log knows, under the names that descriptors have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    User,
    Address,
    Path,
    Method,
    UserAgent,
    Country,
}

impl Part {
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "user_id" | "user" => Self::User,
            "remote_address" | "ip_address" => Self::Address,
            "path" => Self::Path,
            "method" => Self::Method,
            "user_agent" => Self::UserAgent,
            "country" => Self::Country,
            _ => return None,
        })
    }

    fn value<'a>(self, entry: &'a Entry, address: &'a str) -> Option<&'a str> {
        match self {
            Self::User => entry.user(),
            Self::Address => entry.address.map(|_| address),
            Self::Path => entry.path(),
            Self::Method => entry.method(),
            Self::UserAgent => entry.user_agent(),
            Self::Country => entry.country.as_ref().and_then(|country| std::str::from_utf8(country).ok()),
        }
    }
}

type Chain = SmallVec<[(String, Part); 2]>;

/// The chains of keys to ask about.
#[derive(Debug, Default)]
pub(super) struct Questions {
    chains: Vec<Chain>,
    /// Keys of rules that no log can fill.
    unknown: Vec<String>,
}

impl Questions {
    pub(super) fn of(domain: &DomainSpec) -> Self {
        let mut questions = Self::default();
        questions.gather(&domain.descriptors, &Chain::new());
        questions
    }

    fn gather(&mut self, descriptors: &[DescriptorSpec], above: &Chain) {
        for descriptor in descriptors.iter().filter(|descriptor| !descriptor.rule.disabled) {
            let Some(part) = Part::of(&descriptor.key) else {
                if !self.unknown.contains(&descriptor.key) && self.unknown.len() < MAX_CHAINS {
                    self.unknown.push(descriptor.key.clone());
                }
                continue;
            };
            let mut chain = above.clone();
            chain.push((descriptor.key.clone(), part));
            self.gather(&descriptor.descriptors, &chain);
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

    /// The descriptors of a request, each with whether it names the user and the address.
    pub(super) fn ask<'a>(
        &'a self,
        entry: &'a Entry,
        address: &'a str,
    ) -> impl Iterator<Item = (Descriptor<'a>, bool, bool)> {
        self.chains.iter().filter_map(move |chain| {
            let entries = chain
                .iter()
                .map(|(key, part)| Some(Pair::new(key, part.value(entry, address)?)))
                .collect::<Option<SmallVec<_>>>()?;
            let names = |wanted| chain.iter().any(|&(_, part)| part == wanted);
            Some((Descriptor { entries, ..Descriptor::default() }, names(Part::User), names(Part::Address)))
        })
    }
}
