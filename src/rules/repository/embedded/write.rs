//! Commits.

use redb::{Database, ReadableTable as _, Table, WriteTransaction};

use super::file::new_epoch;
use super::read::head;
use super::store::Store;
use super::tables::{
    ACCEPTED, CHANGES, COMMITS, ChangeKey, EPOCH, META, RECORDS, RecordValue, SubjectKey, VERSIONS, VersionKey, key,
};
use crate::rules::form::{read_content, write_content};
use crate::rules::repository::{
    Change, Commit, Committed, Content, Expected, Found, Head, MAX_CHANGES, RepositoryError, Revision, Subject,
};

/// Makes a commit, or changes nothing.
pub(super) fn commit(store: &Store, database: &Database, mut commit: Commit) -> Result<Committed, RepositoryError> {
    check(&mut commit)?;
    let transaction = database.begin_write()?;
    let before = head(&transaction.open_table(META)?, &transaction.open_table(COMMITS)?)?;
    if let Some(expected) = commit.base.filter(|base| *base != before.revision) {
        return Err(RepositoryError::Moved { expected, found: before.revision });
    }
    let revision = Revision(before.revision.0 + 1);
    let mut tables = Tables::open(&transaction)?;
    let mut changed = 0;
    for change in &commit.changes {
        changed += usize::from(tables.change(change, revision)?);
    }
    drop(tables);
    if changed == 0 {
        transaction.abort()?;
        return Ok(Committed { head: before, changed });
    }
    finish(store, transaction, revision, &commit.author, commit.reason.as_deref())?;
    Ok(Committed { head: Head { revision, ..before }, changed })
}

/// Begins another epoch with the next revision.
pub(super) fn accept(
    store: &Store,
    database: &Database,
    author: &str,
    reason: Option<&str>,
) -> Result<Head, RepositoryError> {
    let transaction = database.begin_write()?;
    let before = head(&transaction.open_table(META)?, &transaction.open_table(COMMITS)?)?;
    let (epoch, now, revision) = (new_epoch()?, store.now(), Revision(before.revision.0 + 1));
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(EPOCH, epoch.to_string().as_str())?;
        meta.insert(ACCEPTED, now.as_microsecond().to_string().as_str())?;
    }
    finish(store, transaction, revision, author, reason)?;
    Ok(Head { epoch, revision, accepted: Some(now) })
}

fn finish(
    store: &Store,
    transaction: WriteTransaction,
    revision: Revision,
    author: &str,
    reason: Option<&str>,
) -> Result<(), RepositoryError> {
    transaction.open_table(COMMITS)?.insert(revision.0, (store.now().as_microsecond(), author, reason))?;
    transaction.commit()?;
    store.announce(revision);
    Ok(())
}

/// What can be told without looking. Changes are sorted: the tables are filled in their order.
fn check(commit: &mut Commit) -> Result<(), RepositoryError> {
    if commit.changes.len() > MAX_CHANGES {
        return Err(RepositoryError::TooManyChanges(commit.changes.len()));
    }
    commit.changes.sort_by(|a, b| a.subject.cmp(&b.subject));
    let refused = |subject: &Subject, reason: String| RepositoryError::Refused { subject: subject.clone(), reason };
    for pair in commit.changes.windows(2) {
        if let [a, b] = pair
            && a.subject == b.subject
        {
            return Err(refused(&a.subject, "stands twice in one commit".to_owned()));
        }
    }
    for Change { subject, content, .. } in &commit.changes {
        if let Some(kind) = content.as_ref().map(Content::kind).filter(|kind| *kind != subject.kind()) {
            return Err(refused(subject, format!("cannot have the content of a {}", kind.name())));
        }
    }
    Ok(())
}

struct Tables<'t> {
    records: Table<'t, SubjectKey<'static>, RecordValue<'static>>,
    versions: Table<'t, VersionKey<'static>, Option<&'static str>>,
    changes: Table<'t, ChangeKey<'static>, ()>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, RepositoryError> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            versions: transaction.open_table(VERSIONS)?,
            changes: transaction.open_table(CHANGES)?,
        })
    }

    /// Makes a change; `false` when it is idle.
    fn change(&mut self, change: &Change, revision: Revision) -> Result<bool, RepositoryError> {
        let Change { subject, content, expected } = change;
        let content = content.as_ref().map(|content| write_content(content).to_string());
        let (domain, kind, path) = key(subject);
        let created = {
            let there = self.records.get((domain, kind, path))?;
            // A tombstone is nothing to who looks for a record.
            let there = there.as_ref().map(|there| there.value());
            let there = there.and_then(|(changed, created, content)| Some((changed, created, content?)));
            expect(subject, *expected, there.map(|(changed, ..)| Revision(changed)))?;
            match (&there, &content) {
                (None, None) => return Ok(false),
                (Some((.., there)), Some(content)) if is_same(subject, there, content) => return Ok(false),
                _ => there.map_or(revision.0, |(_, created, _)| created),
            }
        };
        // A tombstone keeps who made the record.
        self.records.insert((domain, kind, path), (revision.0, created, content.as_deref()))?;
        self.versions.insert((domain, kind, path, revision.0), content.as_deref())?;
        self.changes.insert((revision.0, domain, kind, path), ())?;
        Ok(true)
    }
}

fn expect(subject: &Subject, expected: Expected, there: Option<Revision>) -> Result<(), RepositoryError> {
    let holds = match expected {
        Expected::Anything => true,
        Expected::Absent => there.is_none(),
        Expected::Present => there.is_some(),
        Expected::At(revision) => there == Some(revision),
    };
    if holds {
        return Ok(());
    }
    let found = there.map_or(Found::Absent, Found::At);
    Err(RepositoryError::Conflict { subject: subject.clone(), expected, found })
}

/// Whether two contents mean the same: an older version may have written the one in other words.
fn is_same(subject: &Subject, there: &str, content: &str) -> bool {
    let rewritten = |text| {
        let content = read_content(subject, serde_json::from_str(text).ok()?).ok()?;
        Some(write_content(&content))
    };
    there == content || rewritten(there).is_some_and(|there| Some(there) == rewritten(content))
}
