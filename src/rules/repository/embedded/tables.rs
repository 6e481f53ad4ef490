//! The tables, and how keys and values are written. Times are microseconds since the Unix epoch.

use jiff::Timestamp;
use redb::{Database, TableDefinition};

use super::error::strange;
use crate::rules::repository::record::Kind;
use crate::rules::repository::{Epoch, RepositoryError, Subject};

/// The format of the tables that this version writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

/// Facts about the whole, by name: [`FORMAT_NAME`], [`EPOCH`], [`ACCEPTED`].
pub(super) const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
pub(super) const FORMAT_NAME: &str = "format";
pub(super) const EPOCH: &str = "epoch";
/// Microseconds in decimal; missing when the history simply began.
pub(super) const ACCEPTED: &str = "accepted";

/// When, by whom and why, by revision. The last one is the head.
pub(super) const COMMITS: TableDefinition<'_, u64, (i64, &str, Option<&str>)> = TableDefinition::new("commits");

/// Domain, kind, path (empty for a domain).
pub(super) type SubjectKey<'a> = (&'a str, u8, &'a str);

/// The revision that changed it last, the one that made it, and its content in JSON: nothing for a tombstone.
pub(super) type RecordValue<'a> = (u64, u64, Option<&'a str>);

/// Every record.
pub(super) const RECORDS: TableDefinition<'_, SubjectKey<'_>, RecordValue<'_>> = TableDefinition::new("records");

/// Domain, kind, path, revision.
pub(super) type VersionKey<'a> = (&'a str, u8, &'a str, u64);

/// What each record was from a revision on; nothing when it was deleted. What was there before is the version before.
pub(super) const VERSIONS: TableDefinition<'_, VersionKey<'_>, Option<&str>> = TableDefinition::new("versions");

/// Revision, domain, kind, path.
pub(super) type ChangeKey<'a> = (u64, &'a str, u8, &'a str);

/// Which records each revision changed.
pub(super) const CHANGES: TableDefinition<'_, ChangeKey<'_>, ()> = TableDefinition::new("changes");

/// Name, time of making, hash.
pub(super) type TokenKey<'a> = (&'a str, i64, &'a [u8; 32]);

/// By whom it was made, scopes in JSON, when it expires, when it was revoked.
pub(super) type TokenValue<'a> = (&'a str, &'a str, Option<i64>, Option<i64>);

/// Every token, revoked ones too.
pub(super) const TOKENS: TableDefinition<'_, TokenKey<'_>, TokenValue<'_>> = TableDefinition::new("tokens");

/// Makes all tables in an empty database.
pub(super) fn initialise(database: &Database, epoch: Epoch) -> Result<(), RepositoryError> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT_NAME, FORMAT.to_string().as_str())?;
        meta.insert(EPOCH, epoch.to_string().as_str())?;
        transaction.open_table(COMMITS)?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(VERSIONS)?;
        transaction.open_table(CHANGES)?;
        transaction.open_table(TOKENS)?;
    }
    Ok(transaction.commit()?)
}

pub(super) const fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Domain => 0,
        Kind::Rule => 1,
        Kind::Override => 2,
    }
}

pub(super) fn key(subject: &Subject) -> SubjectKey<'_> {
    let path = subject.path().map_or("", |path| path.as_str());
    (subject.domain(), kind_number(subject.kind()), path)
}

pub(super) fn subject((domain, kind, path): SubjectKey<'_>) -> Result<Subject, RepositoryError> {
    let parsed = || path.parse().map_err(|_| strange("descriptor path", path));
    match kind {
        0 => Ok(Subject::Domain(domain.into())),
        1 => Ok(Subject::Rule(domain.into(), parsed()?)),
        2 => Ok(Subject::Override(domain.into(), parsed()?)),
        _ => Err(strange("kind of record", kind)),
    }
}

pub(super) fn time(micros: i64) -> Result<Timestamp, RepositoryError> {
    Timestamp::from_microsecond(micros).map_err(|_| strange("time", micros))
}
