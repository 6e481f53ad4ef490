//! Making changes: commit, write the audit line, and wait a moment until they are in force.
//!
//! A change that has begun is carried to its end in a task of its own, whatever becomes of the caller's connection: what
//! is done is also told in the log.

use std::future::Future;

use jiff::Timestamp;

use super::super::problem::{Kind, Problem};
use super::super::request_id;
use crate::rules::repository::record::{Record, Stamp};
use crate::rules::repository::{Change, Commit, Committed, RepositoryError, RuleRepository as _};
use crate::server::access::Caller;
use crate::server::rule_store::RuleStore;

/// A change of one record, made.
pub struct Made {
    /// The record now.
    pub record: Record,
    /// Whether there was none before.
    pub created: bool,
    /// Whether it is in force on this replica.
    pub in_force: bool,
}

/// What the log says of a change besides its author.
#[derive(Clone, Debug)]
pub struct Audit {
    /// What was done: `set`, `delete`, `apply`.
    pub action: &'static str,
    /// To what.
    pub subject: String,
}

impl Audit {
    /// One line at level info, without secrets.
    pub fn log(&self, author: &str, revision: Option<u64>, request: Option<&str>) {
        let Self { action, subject } = self;
        tracing::info!(target: "tidegate::audit", author, action, %subject, revision, request_id = request, "changed");
    }
}

/// Makes one change.
///
/// # Errors
/// The repository's.
pub async fn make(
    store: &RuleStore,
    caller: &Caller,
    action: &'static str,
    change: Change,
    reason: Option<Box<str>>,
) -> Result<Made, Problem> {
    let audit = Audit { action, subject: change.subject.to_string() };
    let change_made = change.clone();
    let commit = Commit { author: caller.0.clone(), reason, base: None, changes: vec![change] };
    let author = commit.author.clone();
    let store = store.clone();
    to_the_end(async move {
        let Committed { head, changed } = commit_and_log(&store, commit, audit).await?;
        // What was written, should it be gone again, or the repository be away by now.
        let stamp = Stamp { at: Timestamp::now(), by: author };
        let Change { subject, content, .. } = change_made;
        let ours = Record {
            subject: subject.clone(),
            revision: head.revision,
            content: content.map(Ok),
            created: stamp.clone(),
            updated: stamp,
        };
        let record = match ours.content {
            Some(_) => store.repository.get(&subject).await.ok().flatten().unwrap_or(ours),
            None => ours,
        };
        let created = changed > 0 && record.content.is_some() && record.created == record.updated;
        let in_force = store.in_force(record.revision).await;
        Ok(Made { record, created, in_force })
    })
    .await
}

/// Makes changes all together, and says in the log that it did.
///
/// # Errors
/// The repository's.
pub async fn commit_and_log(store: &RuleStore, commit: Commit, audit: Audit) -> Result<Committed, Problem> {
    let author = commit.author.clone();
    let committed = store.repository.commit(commit).await;
    match &committed {
        Ok(Committed { head, changed }) if *changed > 0 => {
            audit.log(&author, Some(head.revision.0), request_id::current().as_deref());
        }
        Err(error @ RepositoryError::OutcomeUnknown { .. }) => {
            let Audit { action, subject } = &audit;
            let request = request_id::current();
            tracing::warn!(target: "tidegate::audit", author, action, %subject, request_id = request, "perhaps changed: {error}");
        }
        _ => {}
    }
    Ok(committed?)
}

/// Runs to the end, even when nobody waits any more.
///
/// # Errors
/// Those of the work.
pub async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(request_id::carried(work)).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(%error, "a change ended in the middle");
            Err(Problem::new(Kind::Internal, "the change ended in the middle; read what is there before you try again"))
        }
    }
}
