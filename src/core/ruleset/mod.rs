//! Every rule in force, compiled for lookup.
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
//!
//! A rule set is edited in place, and its clones share what an edit does not touch: the next set is made of a clone of
//! the one in force, and costs what has changed, not what there is. Only an edit that reaches the rules below it (a
//! threshold shared or not, a value in metrics, a branch disabled or enabled) costs as much as they are many.

mod compile;
mod derive;
mod edit;
mod explain;
mod level;
mod needles;
mod pattern_set;
mod recall;
mod table;
#[cfg(test)]
mod tests;
mod text_map;
mod wildcard;

use std::sync::Arc;

use super::descriptor::Entry;
use super::path::{DescriptorPath, PathEntry};
use super::rule::Rule;
use super::spec::{DomainSettings, DomainSpec, RuleSpec};
use level::{Level, Node};
use table::RuleTable;
use text_map::{Named, TextMap};

pub use compile::{CompileError, CompileErrorKind, MAX_DEPTH};
pub use explain::{Alternative, Explanation, Step};
pub use table::Page;
pub(crate) use wildcard::Pattern;

/// Every domain with its rules. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    domains: TextMap<Arc<Domain>>,
    rules: RuleTable,
    /// Domains ever made, for their order.
    domains_made: u64,
}

/// A domain's settings and rules.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The domain's name.
    pub name: Arc<str>,
    /// What holds for all of its rules.
    pub settings: DomainSettings,
    /// The settings were written; else the domain is there for its rules only.
    has_settings: bool,
    /// Counts up from domain to domain.
    number: u64,
    top: Level,
    rule_count: usize,
}

impl Named for Arc<Domain> {
    fn text(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

impl RuleSet {
    /// Compiles domains. With `merge_domains`, domains of one name are merged, in order; the first one's settings
    /// hold. Wildcards are tried in the order of writing, whatever their `order` says.
    ///
    /// # Errors
    /// Every mistake found, in the order of writing.
    pub fn compile(domains: Vec<DomainSpec>, merge_domains: bool) -> Result<Self, Vec<CompileError>> {
        compile::compile(domains, merge_domains)
    }

    /// Writes the settings of a domain, which is made if there is none, or with `None` takes them away: then
    /// [`DomainSettings::API`] hold, and a domain without rules is gone.
    pub fn set_domain(&mut self, name: &str, settings: Option<DomainSettings>) {
        if settings.is_none() && self.domain(name.as_bytes()).is_none() {
            return;
        }
        self.edit(name, |domain, _| {
            domain.settings = settings.unwrap_or(DomainSettings::API);
            domain.has_settings = settings.is_some();
        });
    }

    /// Writes a rule at a path, in place of what stands there; what stands below stays. Makes the domain, with
    /// [`DomainSettings::API`], and what leads to the path if they are not there. A rule without effect is a branch
    /// that no descriptor may end at. Among wildcards of one order, the path's text decides.
    ///
    /// # Errors
    /// [`CompileErrorKind::TooManyRules`]; then nothing has changed.
    pub fn put(&mut self, domain: &str, path: &DescriptorPath, rule: RuleSpec) -> Result<(), CompileErrorKind> {
        self.put_entries(domain, path.entries(), rule)
    }

    fn put_entries(&mut self, domain: &str, path: &[PathEntry], rule: RuleSpec) -> Result<(), CompileErrorKind> {
        if self.rules.is_full() {
            return Err(CompileErrorKind::TooManyRules);
        }
        self.edit(domain, |domain, rules| edit::put(domain, rules, path, rule));
        Ok(())
    }

    /// Takes away the rule at a path, and what only led to it; what stands below stays. Returns whether there was one.
    pub fn remove(&mut self, domain: &str, path: &DescriptorPath) -> bool {
        let is_written = |domain: &Domain| domain.node(path.entries()).is_some_and(|node| node.flags.written);
        if !self.domain(domain.as_bytes()).is_some_and(is_written) {
            return false;
        }
        self.edit(domain, |domain, rules| edit::remove(domain, rules, path.entries()));
        true
    }

    /// Changes a domain, which is made if there is none, and taken away if nothing is left of it.
    fn edit(&mut self, name: &str, change: impl FnOnce(&mut Domain, &mut RuleTable)) {
        if let Some(domain) = self.domains.get_mut(name.as_bytes()) {
            let domain = Arc::make_mut(domain);
            change(domain, &mut self.rules);
            if !domain.has_settings && domain.top.is_empty() {
                self.domains.take(name.as_bytes());
            }
            return;
        }
        let mut domain = Domain {
            name: name.into(),
            settings: DomainSettings::API,
            has_settings: false,
            number: self.domains_made,
            top: Level::default(),
            rule_count: 0,
        };
        self.domains_made += 1;
        change(&mut domain, &mut self.rules);
        self.domains.insert(Arc::new(domain));
    }

    /// What is written at a path, as far as decisions depend on it; `None` where nothing is.
    #[must_use]
    pub fn spec(&self, domain: &str, path: &DescriptorPath) -> Option<RuleSpec> {
        let (last, above) = path.entries().split_last()?;
        let mut level = &self.domain(domain.as_bytes())?.top;
        for entry in above {
            level = level.get(entry)?.children.as_deref()?;
        }
        recall::spec(level.get(last)?)
    }

    /// The domain of that name.
    #[must_use]
    pub fn domain(&self, name: &[u8]) -> Option<&Domain> {
        self.domains.get(name).map(|domain| &**domain)
    }

    /// All domains, in the order of writing.
    pub fn domains(&self) -> impl ExactSizeIterator<Item = &Domain> {
        let mut domains: Vec<_> = self.domains.iter().map(|domain| &**domain).collect();
        domains.sort_unstable_by_key(|domain| domain.number);
        domains.into_iter()
    }

    /// How many rules are in force.
    #[must_use]
    pub const fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// All rules in force, by their ids: of a compiled set, domain by domain in the order of writing.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.rules().map(|rule| &**rule)
    }

    /// The rules by their ids, page by page: what two sets share need not be looked at twice.
    #[must_use]
    pub fn pages(&self) -> &[Arc<Page>] {
        self.rules.pages()
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
        level.branch(last)?.rule.as_deref()
    }

    /// How [`Domain::find`] comes to its answer, for a person.
    #[must_use]
    pub fn explain(&self, entries: &[Entry<'_>]) -> Explanation<'_> {
        explain::explain(self, entries)
    }

    /// How many rules of the domain are in force.
    #[must_use]
    pub const fn rule_count(&self) -> usize {
        self.rule_count
    }

    /// The node that is written so, also below one that is disabled.
    fn node(&self, path: &[PathEntry]) -> Option<&Node> {
        let (last, path) = path.split_last()?;
        path.iter().try_fold(&self.top, |level, entry| level.get(entry)?.children.as_deref())?.get(last)
    }
}
