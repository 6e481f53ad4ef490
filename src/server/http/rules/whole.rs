//! All rules at once: reading them, and answers about them.

use serde_json::{Value, json};

use super::super::problem::{Kind, Problem};
use crate::rules::live::guard;
use crate::rules::manage::Diff;
use crate::rules::repository::record::Kind as RecordKind;
use crate::rules::repository::{Committed, Filter, MAX_PAGE, Page, Record, Revision, RuleRepository as _};
use crate::server::rule_store::RuleStore;

/// Where the repository stands after a change, and whether that is in force here.
pub async fn document(store: &RuleStore, committed: &Committed) -> Value {
    let Committed { head, changed } = committed;
    let in_force = store.in_force(head.revision).await;
    json!({
        "epoch": head.epoch.to_string(),
        "revision": head.revision.0,
        "changed": changed,
        "in_force": in_force,
    })
}

/// Most rules would be gone.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{deleted} of {of} rules would be gone")]
pub struct Loss {
    deleted: usize,
    of: usize,
}

impl From<Loss> for Problem {
    fn from(loss: Loss) -> Self {
        Self::new(Kind::Conflict, format!("{loss}; repeat it with accept_loss=true if it is meant"))
    }
}

/// What replicas would not follow without being told that it is meant; `count` rules are in force.
#[must_use]
pub fn loss(diff: &Diff, count: usize, revision: Revision) -> Option<Loss> {
    let (mut made, mut deleted) = (0, 0);
    for difference in diff.differences.iter().filter(|difference| difference.subject.kind() == RecordKind::Rule) {
        match (&difference.before, &difference.after) {
            (None, Some(_)) => made += 1,
            (Some(_), None) => deleted += 1,
            _ => {}
        }
    }
    let after = (count + made).saturating_sub(deleted);
    guard::loss(count, after, revision).err().map(|_| Loss { deleted, of: count })
}

/// Every record of these domains. Whoever changes something because of them says on which revision that is based.
///
/// # Errors
/// The repository's.
pub async fn of_domains(store: &RuleStore, domains: Vec<String>) -> Result<Vec<Record>, Problem> {
    let mut all = Vec::new();
    for domain in domains {
        let filter = Filter { domain: Some(domain), ..Filter::default() };
        let mut after = None;
        loop {
            let page = store.repository.list(&filter, Page { after: after.take(), size: MAX_PAGE }).await?;
            let full = page.len() >= MAX_PAGE;
            after = page.last().map(|record| record.subject.clone());
            all.extend(page);
            if !full {
                break;
            }
        }
    }
    Ok(all)
}

/// Every record that there is, of one revision.
///
/// # Errors
/// The repository's.
pub async fn everything(store: &RuleStore) -> Result<Vec<Record>, Problem> {
    let mut all = Vec::new();
    store.repository.read_all(|record| all.push(record)).await?;
    Ok(all)
}
