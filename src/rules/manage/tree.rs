//! From a domain's tree to the paths of records, and back.

use std::collections::BTreeMap;

use crate::core::path::{DescriptorPath, PathEntry, PathError, canonical_path};
use crate::core::spec::{DescriptorSpec, DomainSettings, DomainSpec, Origin, RuleSpec};
use crate::rules::form::has_wildcard;
use crate::rules::repository::{Content, Subject};

/// Why a tree cannot be kept as records: one mistake, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct TreeError {
    /// Where.
    pub origin: Origin,
    /// What.
    pub kind: TreeErrorKind,
}

/// The mistakes of a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeErrorKind {
    /// A domain that stands twice.
    #[error("domain '{domain}' stands twice; write all of it in one place")]
    DuplicateDomain {
        /// The domain.
        domain: String,
        /// Where it stands first.
        first: Origin,
    },
    /// The same key and value twice on one level.
    #[error("descriptor '{path}' stands twice; leave one of them out")]
    DuplicateDescriptor {
        /// Its path.
        path: DescriptorPath,
        /// Where it stands first.
        first: Origin,
    },
    /// A path that is too long or too deep.
    #[error("the descriptor's path cannot be: {0}")]
    Path(#[from] PathError),
}

/// A node of a tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// With its position as `order` where it is a wildcard, and without its origin.
    pub(super) rule: RuleSpec,
    pub(super) origin: Origin,
    pub(super) has_children: bool,
}

impl Node {
    /// Whether it is there without a record, for those below it.
    pub(super) fn is_implied(&self) -> bool {
        self.has_children && self.rule == RuleSpec::default()
    }
}

/// Every node of a domain, by its path.
pub(super) type Nodes = BTreeMap<DescriptorPath, Node>;

/// The nodes of a domain.
pub(super) fn flatten(spec: &DomainSpec) -> Result<Nodes, Vec<TreeError>> {
    let (mut nodes, mut errors) = (Nodes::new(), Vec::new());
    flatten_level(&spec.descriptors, &mut Vec::new(), &mut nodes, &mut errors);
    if errors.is_empty() { Ok(nodes) } else { Err(errors) }
}

fn flatten_level(level: &[DescriptorSpec], above: &mut Vec<PathEntry>, nodes: &mut Nodes, errors: &mut Vec<TreeError>) {
    let mut wildcards = 0;
    for spec in level {
        let origin = spec.rule.origin;
        above.push(PathEntry { key: (&*spec.key).into(), value: spec.value.as_deref().map(Into::into) });
        match DescriptorPath::new(above.iter().cloned()) {
            Ok(path) => {
                let is_wildcard = has_wildcard(&path);
                let order = if is_wildcard { wildcards } else { 0 };
                wildcards += u32::from(is_wildcard);
                let rule = RuleSpec { origin: Origin::default(), order, ..spec.rule.clone() };
                let has_children = !spec.descriptors.is_empty();
                if let Some(first) = nodes.get(&path) {
                    let kind = TreeErrorKind::DuplicateDescriptor { path, first: first.origin };
                    errors.push(TreeError { origin, kind });
                } else {
                    nodes.insert(path, Node { rule, origin, has_children });
                    flatten_level(&spec.descriptors, above, nodes, errors);
                }
            }
            Err(error) => errors.push(TreeError { origin, kind: error.into() }),
        }
        above.pop();
    }
}

/// What a repository holds of a domain: its settings, and a record for each node that says something, or has nothing
/// below it.
///
/// # Errors
/// Every mistake of the tree.
pub fn contents(spec: &DomainSpec) -> Result<Vec<(Subject, Content)>, Vec<TreeError>> {
    let domain: Box<str> = (&*spec.name).into();
    let settings = (Subject::Domain(domain.clone()), Content::Domain(spec.settings));
    let rules = flatten(spec)?.into_iter().filter(|(_, node)| !node.is_implied());
    let rules = rules.map(|(path, node)| (Subject::Rule(domain.clone(), path), Content::Rule(node.rule)));
    Ok(std::iter::once(settings).chain(rules).collect())
}

/// The trees of these contents, by domain. A domain without settings has those of the API; overrides are no part of a
/// tree. On each level the wildcards come last, in their order.
pub fn specs<'c>(contents: impl IntoIterator<Item = (&'c Subject, &'c Content)>) -> Vec<DomainSpec> {
    let mut domains: BTreeMap<&str, (DomainSettings, Level<'_>)> = BTreeMap::new();
    for (subject, content) in contents {
        let domain = || subject.domain();
        let empty = || (DomainSettings::API, Level::new());
        match (subject, content) {
            (Subject::Domain(_), Content::Domain(settings)) => {
                domains.entry(domain()).or_insert_with(empty).0 = *settings;
            }
            (Subject::Rule(_, path), Content::Rule(rule)) => {
                add(&mut domains.entry(domain()).or_insert_with(empty).1, path.entries(), rule);
            }
            _ => {}
        }
    }
    let spec = |(name, (settings, level)): (&str, (DomainSettings, Level<'_>))| DomainSpec {
        settings,
        descriptors: unfold(level),
        ..DomainSpec::new(name)
    };
    domains.into_iter().map(spec).collect()
}

/// By the text of the entry.
type Level<'c> = BTreeMap<String, Branch<'c>>;

struct Branch<'c> {
    entry: &'c PathEntry,
    rule: Option<&'c RuleSpec>,
    below: Level<'c>,
}

fn add<'c>(level: &mut Level<'c>, entries: &'c [PathEntry], rule: &'c RuleSpec) {
    let Some((entry, below)) = entries.split_first() else { return };
    let text = canonical_path([(&*entry.key, entry.value.as_deref())]);
    let branch = level.entry(text).or_insert_with(|| Branch { entry, rule: None, below: Level::new() });
    if below.is_empty() {
        branch.rule = Some(rule);
    } else {
        add(&mut branch.below, below, rule);
    }
}

fn unfold(level: Level<'_>) -> Vec<DescriptorSpec> {
    let mut specs: Vec<DescriptorSpec> = level
        .into_values()
        .map(|Branch { entry, rule, below }| DescriptorSpec {
            key: entry.key.to_string(),
            value: entry.value.as_ref().map(ToString::to_string),
            rule: rule.cloned().unwrap_or_default(),
            descriptors: unfold(below),
        })
        .collect();
    let is_wildcard =
        |spec: &DescriptorSpec| spec.key.contains('*') || spec.value.as_ref().is_some_and(|value| value.contains('*'));
    // Stable: what is equal stays in the order of its text.
    specs.sort_by_key(|spec| if is_wildcard(spec) { (true, spec.rule.order) } else { (false, 0) });
    specs
}
