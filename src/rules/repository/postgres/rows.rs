//! Rows as records.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::table::CONTENT;
use crate::rules::form::{Defaults, DomainForm, LimitForm, OverrideForm, RuleForm, has_wildcard};
use crate::rules::repository::record::Kind;
use crate::rules::repository::{Content, Record, Revision, Stamp, Subject, Unreadable};

/// The JSON of a column, not read yet.
struct Json<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        // The first byte is the version of the binary format, always 1; the rest is text.
        raw.split_first().map(|(_, text)| Self(text)).ok_or_else(|| "no JSON".into())
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSONB
    }
}

impl Json<'_> {
    fn read<T: DeserializeOwned>(&self, field: &str) -> Result<T, Unreadable> {
        serde_json::from_slice(self.0).map_err(|error| Unreadable::saying(format!("{field}: {error}")))
    }
}

/// The record of a row of [`super::table::Table::select`]; `None`, which is told in the log, when its path is none.
pub(super) fn record(kind: Kind, row: &Row) -> Result<Option<Record>, tokio_postgres::Error> {
    let (domain, path): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let Some(subject) = subject(kind, domain, path) else { return Ok(None) };
    let content = if row.try_get(3)? { None } else { Some(content(&subject, row)?) };
    Ok(Some(Record {
        subject,
        revision: revision(row.try_get(2)?),
        content,
        created: stamp(row.try_get(4)?, row.try_get(5)?),
        updated: stamp(row.try_get(6)?, row.try_get(7)?),
    }))
}

/// A subject by the names of its parts.
pub(super) fn subject(kind: Kind, domain: &str, path: &str) -> Option<Subject> {
    if kind == Kind::Domain {
        return Some(Subject::Domain(domain.into()));
    }
    match path.parse() {
        Ok(path) if kind == Kind::Rule => Some(Subject::Rule(domain.into(), path)),
        Ok(path) => Some(Subject::Override(domain.into(), path)),
        Err(error) => {
            tracing::warn!(domain, path, %error, "a record in the database is at no path, and is left out");
            None
        }
    }
}

/// A revision as the database has it, never negative.
pub(super) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or_default())
}

/// A revision for the database.
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// Who and when.
pub(super) fn stamp(at: SystemTime, by: &str) -> Stamp {
    Stamp { at: timestamp(at), by: by.into() }
}

/// A time of the database's; what no calendar has is the epoch.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn content(subject: &Subject, row: &Row) -> Result<Result<Content, Unreadable>, tokio_postgres::Error> {
    Ok(match subject {
        Subject::Rule(_, path) => rule(row)?
            .and_then(|form| form.spec(has_wildcard(path), Defaults::API).map(Content::Rule).map_err(unreadable)),
        Subject::Override(..) => {
            over(row)?.and_then(|form| form.over(Defaults::API).map(Content::Override).map_err(unreadable))
        }
        Subject::Domain(_) => domain(row)?.settings().map(Content::Domain).map_err(unreadable),
    })
}

fn unreadable(problems: Vec<crate::rules::form::FieldProblem>) -> Unreadable {
    Unreadable::saying(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn rule(row: &Row) -> Result<Result<RuleForm, Unreadable>, tokio_postgres::Error> {
    let flag = |column: usize| row.try_get::<_, bool>(CONTENT + column);
    let (limits, metadata): (Option<Json<'_>>, Option<Json<'_>>) = (row.try_get(CONTENT)?, row.try_get(CONTENT + 10)?);
    let form = RuleForm {
        shadow_mode: flag(1)?,
        quota_mode: flag(2)?,
        detailed_metric: flag(3)?,
        value_to_metric: flag(4)?,
        share_threshold: flag(5)?,
        protect: flag(6)?,
        enabled: flag(7)?,
        tags: row.try_get(CONTENT + 11)?,
        ..RuleForm::default()
    };
    let failure_mode: Option<&str> = row.try_get(CONTENT + 8)?;
    let order: i64 = row.try_get(CONTENT + 9)?;
    Ok((|| {
        let (rate_limit, rate_limits) = limit_forms(limits)?;
        Ok(RuleForm {
            rate_limit,
            rate_limits,
            metadata: metadata.map(|metadata| metadata.read("metadata")).transpose()?,
            failure_mode: failure_mode
                .map(|mode| serde_json::from_value(serde_json::Value::from(mode)))
                .transpose()
                .map_err(|error| Unreadable::saying(format!("failure_mode: {error}")))?,
            order: u32::try_from(order).map_err(|error| Unreadable::saying(format!("order: {error}")))?,
            ..form
        })
    })())
}

fn over(row: &Row) -> Result<Result<OverrideForm, Unreadable>, tokio_postgres::Error> {
    let limits: Option<Json<'_>> = row.try_get(CONTENT)?;
    let until: SystemTime = row.try_get(CONTENT + 1)?;
    Ok((|| {
        let (rate_limit, rate_limits) = limit_forms(limits)?;
        let until = Timestamp::try_from(until).map_err(|error| Unreadable::saying(format!("until: {error}")))?;
        Ok(OverrideForm { rate_limit, rate_limits, until })
    })())
}

fn domain(row: &Row) -> Result<DomainForm, tokio_postgres::Error> {
    Ok(DomainForm {
        charge: row.try_get(CONTENT)?,
        default_algorithm: row.try_get(CONTENT + 1)?,
        response_headers: row.try_get(CONTENT + 2)?,
        accept_overrides: row.try_get(CONTENT + 3)?,
        accept_refunds: row.try_get(CONTENT + 4)?,
    })
}

type LimitForms = (Option<LimitForm>, Option<Vec<LimitForm>>);

fn limit_forms(limits: Option<Json<'_>>) -> Result<LimitForms, Unreadable> {
    let mut limits = match limits {
        None => return Ok((None, None)),
        Some(limits) => limits.read::<Vec<LimitForm>>("limits")?,
    };
    Ok(match limits.pop() {
        Some(only) if limits.is_empty() => (Some(only), None),
        last => {
            limits.extend(last);
            (None, Some(limits))
        }
    })
}
