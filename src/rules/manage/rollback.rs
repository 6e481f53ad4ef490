//! What has to change for everything to be as at a revision.

use jiff::Timestamp;

use super::diff::Diff;
use crate::rules::repository::{Content, Record, Subject, Unreadable};

/// A record whose former content this version cannot read, so that it cannot be written again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{subject} cannot be as it was then, for what it said cannot be read: {reason}")]
pub struct NoWayBack {
    /// Which.
    pub subject: Subject,
    /// Why not.
    pub reason: String,
}

/// What has to change for records to say again what they said then. `changed` has every record that has changed since
/// (deleted ones, too), with its content of then. Overrides that would have ended by `now` do not come back.
///
/// # Errors
/// Every record for which there is no way back.
pub fn rollback(
    changed: impl IntoIterator<Item = (Record, Option<Result<Content, Unreadable>>)>,
    now: Timestamp,
) -> Result<Diff, Vec<NoWayBack>> {
    let (mut diff, mut errors) = (Diff::default(), Vec::new());
    for (record, then) in changed {
        let then = then.filter(|then| !matches!(then, Ok(Content::Override(over)) if over.until <= now));
        match then.transpose() {
            Ok(then) => diff.add(&record.subject, Some(&record), then),
            Err(Unreadable(reason, _)) => errors.push(NoWayBack { subject: record.subject, reason }),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    diff.differences.sort_by(|a, b| a.subject.cmp(&b.subject));
    Ok(diff)
}
