//! Answers about all rules at once.

use serde_json::{Value, json};

use crate::rules::repository::Committed;
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
