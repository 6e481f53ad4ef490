//! Every rule in force, compiled for lookup and immutable.
//!
//! A descriptor is looked up entry by entry from its domain's top level. Of the branches of a level, one is taken and
//! never reconsidered:
//!
//! 1. the branch with exactly this key and value,
//! 2. else the first branch, in the order of writing, whose pattern (a `*` in key or value) matches,
//! 3. else the branch with this key and no value,
//! 4. else none: the descriptor has no rule.
//!
//! The rule of the branch that the *last* entry takes applies. A descriptor that is longer or shorter than the path
//! to a rule does not match it. The cost of a lookup does not depend on the number of rules.

mod compile;
mod explain;
mod level;
#[cfg(test)]
mod tests;
mod wildcard;

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::descriptor::Entry;
use super::rule::{Rule, RuleId};
use super::spec::{DomainSettings, DomainSpec};
use level::Level;

pub use compile::{CompileError, CompileErrorKind, MAX_DEPTH};
pub use explain::{Alternative, Explanation, Step};
pub(crate) use wildcard::Pattern;

/// Every domain with its rules.
#[derive(Debug, Default)]
pub struct RuleSet {
    domains: Vec<Domain>,
    by_name: HashMap<Box<[u8]>, usize, RandomState>,
    rule_count: usize,
}

/// A domain's settings and rules.
#[derive(Debug)]
pub struct Domain {
    /// The domain's name.
    pub name: Box<str>,
    /// What holds for all of its rules.
    pub settings: DomainSettings,
    top: Level,
    rules: Box<[Rule]>,
    first_id: u32,
}

impl RuleSet {
    /// Compiles domains. With `merge_domains`, domains of one name are merged, in order; the first one's settings
    /// hold.
    ///
    /// # Errors
    /// Every mistake found, in the order of writing.
    pub fn compile(domains: Vec<DomainSpec>, merge_domains: bool) -> Result<Self, Vec<CompileError>> {
        compile::compile(domains, merge_domains)
    }

    /// The domain of that name.
    #[must_use]
    pub fn domain(&self, name: &[u8]) -> Option<&Domain> {
        self.domains.get(*self.by_name.get(name)?)
    }

    /// All domains, in the order of writing.
    pub fn domains(&self) -> impl ExactSizeIterator<Item = &Domain> {
        self.domains.iter()
    }

    /// How many rules there are.
    #[must_use]
    pub const fn rule_count(&self) -> usize {
        self.rule_count
    }

    /// All rules, domain by domain; a rule's position is its id.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.domains.iter().flat_map(|domain| &domain.rules)
    }
}

impl Domain {
    /// The rule that applies to a descriptor, if any.
    #[must_use]
    pub fn find(&self, entries: &[Entry<'_>]) -> Option<&Rule> {
        let (last, path) = entries.split_last()?;
        let mut level = &self.top;
        for entry in path {
            level = level.branch(entry)?.children.as_deref()?;
        }
        level.branch(last)?.rule.map(|id| self.rule(id))
    }

    /// How [`Domain::find`] comes to its answer, for a person.
    #[must_use]
    pub fn explain(&self, entries: &[Entry<'_>]) -> Explanation<'_> {
        explain::explain(self, entries)
    }

    /// The domain's rules, in the order of writing.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[(id.0 - self.first_id) as usize]
    }
}
