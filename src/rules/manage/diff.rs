//! What has to change for a repository to say what a text says.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::tree::{Node, Nodes, TreeError, TreeErrorKind, flatten};
use crate::core::path::{DescriptorPath, canonical_path};
use crate::core::spec::{DomainSettings, DomainSpec, RuleSpec};
use crate::rules::form::{has_wildcard, write_content};
use crate::rules::repository::{Change, Content, Expected, Record, Revision, Subject, Unreadable};

/// A record that has to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Which.
    pub subject: Subject,
    /// The revision that it has; `None` when there is no such record.
    pub revision: Option<Revision>,
    /// What it says.
    pub before: Option<Result<Content, Unreadable>>,
    /// What it is to say; `None` to delete it.
    pub after: Option<Content>,
}

/// What has to change, and what is to be thought of before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// Each record once, in the order of lists.
    pub differences: Vec<Difference>,
    /// What the author may not have meant.
    pub warnings: Vec<Warning>,
}

impl Diff {
    /// The changes to commit. Each expects its record as it was when the difference was made.
    #[must_use]
    pub fn into_changes(self) -> Vec<Change> {
        let change = |Difference { subject, revision, after, .. }| Change {
            subject,
            content: after,
            expected: revision.map_or(Expected::Absent, Expected::At),
        };
        self.differences.into_iter().map(change).collect()
    }
}

/// What the author of a text may not have meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A domain is left without rules.
    #[error("domain {domain} is left without any rule; {deleted} are deleted")]
    Empties {
        /// Which.
        domain: Box<str>,
        /// How many rules it loses.
        deleted: usize,
    },
    /// A domain loses more than half of its rules.
    #[error("domain {domain} loses {deleted} of its {of} rules")]
    DeletesMost {
        /// Which.
        domain: Box<str>,
        /// How many rules it loses.
        deleted: usize,
        /// How many it has.
        of: usize,
    },
    /// A record that this version cannot read is replaced or deleted.
    #[error("{subject} is replaced or deleted, though what it says cannot be read: {reason}")]
    Unreadable {
        /// Which.
        subject: Subject,
        /// Why not.
        reason: String,
    },
    /// A rule is deleted, and its override stays until it ends by itself.
    #[error("{0} stays, though its rule is deleted")]
    OverrideStays(Subject),
}

/// What has to change in `current`, all records of the desired domains (others do not matter), for it to say what
/// `desired` says.
///
/// # Errors
/// Every mistake in the trees.
pub fn diff(current: &[Record], desired: &[DomainSpec]) -> Result<Diff, Vec<TreeError>> {
    let mut by_domain: HashMap<&str, Vec<&Record>> = HashMap::new();
    for record in current.iter().filter(|record| record.content.is_some()) {
        by_domain.entry(record.subject.domain()).or_default().push(record);
    }
    let mut seen = HashMap::new();
    let (mut diff, mut errors) = (Diff::default(), Vec::new());
    for spec in desired {
        if let Some(first) = seen.insert(&*spec.name, spec.origin) {
            let kind = TreeErrorKind::DuplicateDomain { domain: spec.name.clone(), first };
            errors.push(TreeError { origin: spec.origin, kind });
            continue;
        }
        match flatten(spec) {
            Ok(nodes) => {
                let current = by_domain.get(&*spec.name).map_or(&[][..], Vec::as_slice);
                diff_domain(&mut diff, &spec.name, current, &spec.settings, nodes);
            }
            Err(more) => errors.extend(more),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    diff.differences.sort_by(|a, b| a.subject.cmp(&b.subject));
    Ok(diff)
}

fn diff_domain(diff: &mut Diff, domain: &str, current: &[&Record], settings: &DomainSettings, nodes: Nodes) {
    let there: BTreeMap<&DescriptorPath, &Record> =
        current.iter().filter_map(|record| Some((rule_path(record)?, *record))).collect();
    let is_emptied = nodes.is_empty();
    let nodes = keep_orders(nodes, &there);
    let mut deleted = 0;
    for (path, record) in &there {
        if !nodes.contains_key(path) {
            deleted += 1;
            diff.add(&record.subject, Some(record), None);
        }
    }
    for record in current {
        if let Subject::Override(_, path) = &record.subject
            && there.contains_key(path)
            && !nodes.contains_key(path)
        {
            diff.warnings.push(Warning::OverrideStays(record.subject.clone()));
        }
    }
    for (path, node) in nodes {
        let record = there.get(&path).copied();
        if record.is_some() || !node.is_implied() {
            diff.add(&Subject::Rule(domain.into(), path), record, Some(Content::Rule(node.rule)));
        }
    }
    let record = current.iter().find(|record| matches!(record.subject, Subject::Domain(_)));
    // A domain without settings has those of the API.
    if record.is_some() || *settings != DomainSettings::API {
        diff.add(&Subject::Domain(domain.into()), record.copied(), Some(Content::Domain(*settings)));
    }
    match (deleted, there.len()) {
        (0, _) => {}
        (deleted, _) if is_emptied => diff.warnings.push(Warning::Empties { domain: domain.into(), deleted }),
        (deleted, of) if deleted * 2 > of => {
            diff.warnings.push(Warning::DeletesMost { domain: domain.into(), deleted, of });
        }
        _ => {}
    }
}

impl Diff {
    /// Adds what has to change of one record, if anything.
    pub(super) fn add(&mut self, subject: &Subject, record: Option<&Record>, after: Option<Content>) {
        let before = record.and_then(|record| record.content.clone());
        match (&before, &after) {
            (None, None) => return,
            (Some(Ok(before)), Some(after)) if is_same(before, after) => return,
            (Some(Err(Unreadable(reason, _))), _) => {
                let (subject, reason) = (subject.clone(), reason.clone());
                self.warnings.push(Warning::Unreadable { subject, reason });
            }
            _ => {}
        }
        // A deleted record is none to who expects one.
        let revision = before.is_some().then(|| record.map(|record| record.revision)).flatten();
        self.differences.push(Difference { subject: subject.clone(), revision, before, after });
    }
}

/// Whether two contents mean the same, wherever they were written.
fn is_same(a: &Content, b: &Content) -> bool {
    a == b || write_content(a) == write_content(b)
}

fn rule_path(record: &Record) -> Option<&DescriptorPath> {
    match &record.subject {
        Subject::Rule(_, path) => Some(path),
        _ => None,
    }
}

fn rule(record: &Record) -> Option<&RuleSpec> {
    match record.content.as_ref()?.as_ref().ok()? {
        Content::Rule(rule) => Some(rule),
        _ => None,
    }
}

/// Gives nodes the orders that they have already, level by level, where that leaves the wildcards in their order.
fn keep_orders(mut nodes: Nodes, there: &BTreeMap<&DescriptorPath, &Record>) -> Nodes {
    let old = orders(there);
    let mut levels: BTreeMap<String, Vec<(u32, &str)>> = BTreeMap::new();
    for (path, node) in nodes.iter().filter(|(path, _)| has_wildcard(path)) {
        levels.entry(parent(path)).or_default().push((node.rule.order, path.as_str()));
    }
    let mut kept: HashMap<String, u32> = HashMap::new();
    for mut level in levels.into_values() {
        level.sort_unstable();
        let numbers: Option<Vec<(u32, &str)>> = level.iter().map(|(_, path)| Some((*old.get(*path)?, *path))).collect();
        // As the numbers, and for equal ones the paths, have it.
        if let Some(numbers) = numbers.filter(|numbers| numbers.is_sorted()) {
            kept.extend(numbers.into_iter().map(|(order, path)| (path.to_owned(), order)));
        }
    }
    for (path, Node { rule: desired, .. }) in &mut nodes {
        if let Some(order) = kept.get(path.as_str()) {
            desired.order = *order;
        } else if !has_wildcard(path) {
            // It means nothing there.
            desired.order = there.get(path).and_then(|record| rule(record)).map_or(0, |rule| rule.order);
        }
    }
    nodes
}

/// The order of every wildcard that is there, also of those that are only there for the paths below them.
fn orders(there: &BTreeMap<&DescriptorPath, &Record>) -> HashMap<String, u32> {
    let mut orders: HashMap<String, u32> = HashMap::new();
    for (path, record) in there {
        let Some(rule) = rule(record) else { continue };
        let entries = path.entries();
        for length in 1..entries.len() {
            let is_wildcard = entries[length - 1].key.contains('*')
                || entries[length - 1].value.as_ref().is_some_and(|value| value.contains('*'));
            if is_wildcard {
                orders.entry(text(&entries[..length])).or_insert(0);
            }
        }
        if has_wildcard(path) {
            orders.insert(path.as_str().to_owned(), rule.order);
        }
    }
    orders
}

fn parent(path: &DescriptorPath) -> String {
    text(&path.entries()[..path.entries().len() - 1])
}

fn text(entries: &[crate::core::path::PathEntry]) -> String {
    canonical_path(entries.iter().map(|entry| (&*entry.key, entry.value.as_deref())))
}

impl fmt::Display for Diff {
    /// A line for each warning, then one for each record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "! {warning}")?;
        }
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        Ok(())
    }
}
