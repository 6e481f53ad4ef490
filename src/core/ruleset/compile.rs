//! From whole domains to a rule set, with every mistake that only the whole can show.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::RuleSet;
use crate::core::path::PathEntry;
use crate::core::rule::composite;
use crate::core::spec::{DescriptorSpec, DomainSpec, Origin};

/// The deepest nesting of descriptors.
pub const MAX_DEPTH: usize = 64;

/// Why a rule set does not compile: one mistake, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct CompileError {
    /// Where.
    pub origin: Origin,
    /// What.
    pub kind: CompileErrorKind,
}

/// The mistakes that only the whole can show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileErrorKind {
    /// The same domain twice, without merging.
    #[error("duplicate domain '{domain}' in config file")]
    DuplicateDomain {
        /// The domain.
        domain: String,
        /// Where it was written first.
        first: Origin,
    },
    /// The same key and value twice in one level.
    #[error("duplicate descriptor composite key '{path}'")]
    DuplicateDescriptor {
        /// The descriptor, as `domain.key_value...`.
        path: String,
        /// Where it was written first.
        first: Origin,
    },
    /// Too many levels.
    #[error("descriptors are nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// More rules than a rule id can count.
    #[error("more than {} rules", u32::MAX)]
    TooManyRules,
}

pub(super) fn compile(domains: Vec<DomainSpec>, merge_domains: bool) -> Result<RuleSet, Vec<CompileError>> {
    let mut errors = Vec::new();
    let domains = merge(domains, merge_domains, &mut errors);
    let mut set = RuleSet::default();
    for spec in domains {
        set.set_domain(&spec.name, Some(spec.settings));
        let mut compiler = Compiler { domain: &spec.name, set: &mut set, path: Vec::new(), errors: &mut errors };
        compiler.level(spec.descriptors);
    }
    errors.sort_by_key(|error| error.origin);
    if errors.is_empty() { Ok(set) } else { Err(errors) }
}

/// One spec per domain name.
fn merge(domains: Vec<DomainSpec>, merge_domains: bool, errors: &mut Vec<CompileError>) -> Vec<DomainSpec> {
    let mut merged: Vec<DomainSpec> = Vec::with_capacity(domains.len());
    let mut positions: HashMap<String, usize, RandomState> = HashMap::default();
    for spec in domains {
        match positions.get(&spec.name) {
            Some(position) if merge_domains => merged[*position].descriptors.extend(spec.descriptors),
            Some(position) => {
                let (domain, first) = (spec.name.clone(), merged[*position].origin);
                errors.push(CompileError {
                    origin: spec.origin,
                    kind: CompileErrorKind::DuplicateDomain { domain, first },
                });
                // It will not be in force, but its own mistakes are told as well.
                merged.push(spec);
            }
            None => {
                positions.insert(spec.name.clone(), merged.len());
                merged.push(spec);
            }
        }
    }
    merged
}

struct Compiler<'a> {
    domain: &'a str,
    set: &'a mut RuleSet,
    /// From the domain's top to the node at hand.
    path: Vec<PathEntry>,
    errors: &'a mut Vec<CompileError>,
}

impl Compiler<'_> {
    fn level(&mut self, specs: Vec<DescriptorSpec>) {
        let mut seen: HashMap<PathEntry, Origin, RandomState> = HashMap::default();
        let mut wildcards = 0;
        for spec in specs {
            let DescriptorSpec { key, value, mut rule, descriptors } = spec;
            let origin = rule.origin;
            let entry = PathEntry { key: key.into(), value: value.filter(|value| !value.is_empty()).map(Into::into) };
            self.path.push(entry.clone());
            // A disabled node still may not be written twice, or enabling it would break the set.
            if let Some(first) = seen.get(&entry) {
                let path = self.composite();
                self.error(origin, CompileErrorKind::DuplicateDescriptor { path, first: *first });
            } else if self.path.len() > MAX_DEPTH {
                self.error(origin, CompileErrorKind::TooDeep);
            } else {
                if entry.has_wildcard() {
                    rule.order = wildcards;
                    wildcards += 1;
                }
                seen.insert(entry, origin);
                if let Err(kind) = self.set.put_entries(self.domain, &self.path, rule) {
                    self.error(origin, kind);
                }
                self.level(descriptors);
            }
            self.path.pop();
        }
    }

    /// The name that envoyproxy/ratelimit gives the node at hand.
    fn composite(&self) -> String {
        self.path.iter().fold(self.domain.to_owned(), |path, entry| {
            format!("{path}.{}", composite(&entry.key, entry.value.as_deref()))
        })
    }

    fn error(&mut self, origin: Origin, kind: CompileErrorKind) {
        self.errors.push(CompileError { origin, kind });
    }
}
