//! Reading at one revision.

use std::ops::Bound;

use jiff::Timestamp;
use redb::{Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable};

use super::error::strange;
use super::tables::{
    ACCEPTED, CHANGES, COMMITS, ChangeKey, EPOCH, META, RECORDS, RecordValue, SubjectKey, TOKENS, TokenKey, TokenValue,
    VERSIONS, VersionKey, key, subject, time,
};
use crate::rules::form::read_content;
use crate::rules::repository::{
    Changes, Content, Head, MAX_PAGE, Page, Record, RepositoryError, Revision, Stamp, Subject, Unreadable, Version,
};

type Commits = ReadOnlyTable<u64, (i64, &'static str, Option<&'static str>)>;

/// The tables as one commit left them.
pub(super) struct View {
    meta: ReadOnlyTable<&'static str, &'static str>,
    commits: Commits,
    pub(super) records: ReadOnlyTable<SubjectKey<'static>, RecordValue<'static>>,
    versions: ReadOnlyTable<VersionKey<'static>, Option<&'static str>>,
    changes: ReadOnlyTable<ChangeKey<'static>, ()>,
    pub(super) tokens: ReadOnlyTable<TokenKey<'static>, TokenValue<'static>>,
}

/// The head, in a view or in a transaction.
pub(super) fn head(
    meta: &impl ReadableTable<&'static str, &'static str>,
    commits: &impl ReadableTable<u64, (i64, &'static str, Option<&'static str>)>,
) -> Result<Head, RepositoryError> {
    let text = meta.get(EPOCH)?.map(|text| text.value().to_owned()).unwrap_or_default();
    let epoch = text.parse().map_err(|_| strange("epoch", &text))?;
    let accepted = meta.get(ACCEPTED)?.map(|text| parse_time(text.value())).transpose()?;
    let revision = Revision(commits.last()?.map_or(0, |(revision, _)| revision.value()));
    Ok(Head { epoch, revision, accepted })
}

fn parse_time(text: &str) -> Result<Timestamp, RepositoryError> {
    time(text.parse().map_err(|_| strange("time", text))?)
}

/// The stamp of the commit that was asked for last: neighbours often share it.
#[derive(Default)]
struct LastStamp(Option<(u64, Stamp)>);

impl LastStamp {
    fn get(&mut self, commits: &Commits, revision: u64) -> Result<Stamp, RepositoryError> {
        if let Some((last, stamp)) = &self.0
            && *last == revision
        {
            return Ok(stamp.clone());
        }
        let commit = commits.get(revision)?.ok_or_else(|| strange("revision", revision))?;
        let (at, by, _) = commit.value();
        let stamp = Stamp { at: time(at)?, by: by.into() };
        self.0 = Some((revision, stamp.clone()));
        Ok(stamp)
    }
}

/// What it takes to read many records.
#[derive(Default)]
pub(super) struct Stamps {
    created: LastStamp,
    updated: LastStamp,
}

impl View {
    pub(super) fn open(database: &Database) -> Result<Self, RepositoryError> {
        let transaction = database.begin_read()?;
        Ok(Self {
            meta: transaction.open_table(META)?,
            commits: transaction.open_table(COMMITS)?,
            records: transaction.open_table(RECORDS)?,
            versions: transaction.open_table(VERSIONS)?,
            changes: transaction.open_table(CHANGES)?,
            tokens: transaction.open_table(TOKENS)?,
        })
    }

    pub(super) fn head(&self) -> Result<Head, RepositoryError> {
        head(&self.meta, &self.commits)
    }

    pub(super) fn record(
        &self,
        subject: Subject,
        (changed, created, content): RecordValue<'_>,
        stamps: &mut Stamps,
    ) -> Result<Record, RepositoryError> {
        Ok(Record {
            revision: Revision(changed),
            content: content.map(|content| parse_content(&subject, content)),
            created: stamps.created.get(&self.commits, created)?,
            updated: stamps.updated.get(&self.commits, changed)?,
            subject,
        })
    }

    pub(super) fn get(&self, subject: &Subject) -> Result<Option<Record>, RepositoryError> {
        let there = self.records.get(key(subject))?;
        let there = there.as_ref().map(|there| there.value()).filter(|(.., content)| content.is_some());
        there.map(|there| self.record(subject.clone(), there, &mut Stamps::default())).transpose()
    }

    pub(super) fn content_at(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> Result<Option<Result<Content, Unreadable>>, RepositoryError> {
        let (domain, kind, path) = key(subject);
        let mut until = self.versions.range((domain, kind, path, 0)..=(domain, kind, path, revision.0))?;
        let Some(version) = until.next_back().transpose()? else { return Ok(None) };
        Ok(version.1.value().map(|content| parse_content(subject, content)))
    }

    /// Versions of one record.
    pub(super) fn history_of(&self, subject: &Subject, page: &Page<Revision>) -> Result<Vec<Version>, RepositoryError> {
        let (domain, kind, path) = key(subject);
        let end = match page.after {
            Some(after) => Bound::Excluded((domain, kind, path, after.0)),
            None => Bound::Included((domain, kind, path, u64::MAX)),
        };
        let mut found = Vec::new();
        for version in self.versions.range((Bound::Included((domain, kind, path, 0)), end))?.rev() {
            if found.len() >= page.size.clamp(1, MAX_PAGE) {
                break;
            }
            let (_, _, _, revision) = version?.0.value();
            found.push(self.version(subject.clone(), revision)?);
        }
        Ok(found)
    }

    /// Versions of all records.
    pub(super) fn history(&self, page: &Page<Revision>) -> Result<Vec<Version>, RepositoryError> {
        let end = page.after.map_or(Bound::Unbounded, |after| Bound::Excluded((after.0, "", 0, "")));
        let mut found: Vec<Version> = Vec::new();
        for change in self.changes.range((Bound::Unbounded, end))?.rev() {
            let change = change?;
            let (revision, domain, kind, path) = change.0.value();
            let full = found.len() >= page.size.clamp(1, MAX_PAGE);
            if full && found.last().is_some_and(|last| last.revision.0 != revision) {
                break;
            }
            found.push(self.version(subject((domain, kind, path))?, revision)?);
        }
        Ok(found)
    }

    fn version(&self, subject: Subject, revision: u64) -> Result<Version, RepositoryError> {
        let (domain, kind, path) = key(&subject);
        let mut until = self.versions.range((domain, kind, path, 0)..=(domain, kind, path, revision))?.rev();
        let mut next = || -> Result<Option<serde_json::Value>, RepositoryError> {
            let Some(version) = until.next().transpose()? else { return Ok(None) };
            Ok(version.1.value().map(parse_json))
        };
        let (after, before) = (next()?, next()?);
        let commit = self.commits.get(revision)?.ok_or_else(|| strange("revision", revision))?;
        let (at, by, reason) = commit.value();
        let stamp = Stamp { at: time(at)?, by: by.into() };
        Ok(Version { revision: Revision(revision), stamp, reason: reason.map(Into::into), before, after, subject })
    }

    pub(super) fn changed_since(&self, revision: Revision, most: usize) -> Result<Option<Changes>, RepositoryError> {
        let head = self.head()?;
        let (mut records, mut stamps) = (Vec::new(), Stamps::default());
        for change in self.changes.range((revision.0.saturating_add(1), "", 0, "")..)? {
            let change = change?;
            let (revision, domain, kind, path) = change.0.value();
            let there = self.records.get((domain, kind, path))?.ok_or_else(|| strange("record", path))?;
            // It stands once, where it changed last.
            if there.value().0 == revision {
                if records.len() >= most {
                    return Ok(None);
                }
                records.push(self.record(subject((domain, kind, path))?, there.value(), &mut stamps)?);
            }
        }
        Ok(Some(Changes { head, records }))
    }

    /// Hands all records on, so many at a time, until `take` says no.
    pub(super) fn read_all(
        &self,
        batch: usize,
        mut take: impl FnMut(Vec<Record>) -> bool,
    ) -> Result<Head, RepositoryError> {
        let (mut records, mut stamps) = (Vec::with_capacity(batch), Stamps::default());
        for there in self.records.iter()? {
            let (key, value) = there?;
            if value.value().2.is_none() {
                continue;
            }
            records.push(self.record(subject(key.value())?, value.value(), &mut stamps)?);
            if records.len() == batch && !take(std::mem::replace(&mut records, Vec::with_capacity(batch))) {
                return self.head();
            }
        }
        take(records);
        self.head()
    }
}

fn parse_content(subject: &Subject, text: &str) -> Result<Content, Unreadable> {
    let value = serde_json::from_str(text).map_err(|error| Unreadable(format!("is no JSON: {error}"), text.into()))?;
    read_content(subject, value)
}

/// What is no JSON is shown as it is.
fn parse_json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
