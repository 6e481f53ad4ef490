//! What is asked of the tables.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use deadpool_postgres::{Client, GenericClient, Transaction};
use futures_util::TryStreamExt as _;
use serde_json::Value;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, IsolationLevel, Row};

use super::rows::{self, number};
use super::table::{Table, table, tables};
use crate::rules::form::read_content;
use crate::rules::repository::record::Kind;
use crate::rules::repository::{
    Changes, Content, Epoch, Filter, Head, MAX_PAGE, Page, Record, RepositoryError, Revision, Subject, Unreadable,
    Version,
};

/// Asks for the head, in the columns of [`head_of`].
pub(super) const HEAD: &str = "SELECT epoch::text, revision, accepted_at FROM public.rule_set_head";

/// The head of a row.
pub(super) fn head_of(row: &Row) -> Result<Head, RepositoryError> {
    let epoch: &str = row.try_get(0)?;
    let epoch: Epoch = epoch.replace('-', "").parse().map_err(RepositoryError::Unusable)?;
    let accepted: Option<SystemTime> = row.try_get(2)?;
    Ok(Head { epoch, revision: rows::revision(row.try_get(1)?), accepted: accepted.map(rows::timestamp) })
}

/// The newest revision.
pub(super) async fn head(client: &impl GenericClient) -> Result<Head, RepositoryError> {
    let statement = client.prepare_cached(HEAD).await?;
    match client.query_opt(&statement, &[]).await? {
        Some(row) => head_of(&row),
        None => Err(RepositoryError::Unusable(
            "rule_set_head has lost its row; put it back: INSERT INTO rule_set_head DEFAULT VALUES".to_owned(),
        )),
    }
}

/// Everything that is asked within it is answered as of one moment.
async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, Error> {
    client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await
}

/// One record.
pub(super) async fn get(client: &Client, subject: &Subject) -> Result<Option<Record>, RepositoryError> {
    let table = table(subject.kind());
    let row = match subject.path() {
        Some(path) => {
            let text = format!("{} WHERE domain = $1 AND path = $2 AND NOT deleted", table.select);
            let statement = client.prepare_cached(&text).await?;
            client.query_opt(&statement, &[&subject.domain(), &path.as_str()]).await?
        }
        None => {
            let statement =
                client.prepare_cached(&format!("{} WHERE domain = $1 AND NOT deleted", table.select)).await?;
            client.query_opt(&statement, &[&subject.domain()]).await?
        }
    };
    Ok(row.map(|row| rows::record(table.kind, &row)).transpose()?.flatten())
}

/// A page of records.
pub(super) async fn list(
    client: &mut Client,
    filter: &Filter,
    page: &Page<Subject>,
) -> Result<Vec<Record>, RepositoryError> {
    let size = page.size.clamp(1, MAX_PAGE);
    let transaction = snapshot(client).await?;
    let mut records = Vec::new();
    // The first so many of each kind have the first so many of all.
    for table in tables().into_iter().filter(|table| filter.kind.is_none_or(|kind| kind == table.kind)) {
        if let Some(conditions) = Conditions::of(table.kind, filter, page.after.as_ref()) {
            let path = if table.kind == Kind::Domain { "" } else { ", path" };
            let text = format!("{} WHERE {} ORDER BY domain{path} LIMIT {size}", table.select, conditions.text);
            let statement = transaction.prepare_cached(&text).await?;
            let found = transaction.query(&statement, &conditions.parameters()).await?;
            records.extend(decoded(table, &found)?);
        }
    }
    records.sort_by(|one, other| one.subject.cmp(&other.subject));
    records.truncate(size);
    Ok(records)
}

fn decoded(table: &Table, found: &[Row]) -> Result<Vec<Record>, Error> {
    found.iter().filter_map(|row| rows::record(table.kind, row).transpose()).collect()
}

/// What records of one kind must meet.
struct Conditions {
    text: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Conditions {
    /// `None` when no record of the kind does.
    fn of(kind: Kind, filter: &Filter, after: Option<&Subject>) -> Option<Self> {
        let mut all = Self { text: "NOT deleted".to_owned(), values: Vec::new() };
        if let Some(domain) = &filter.domain {
            all.add("domain = ?", [domain.clone()]);
        }
        if let Some(prefix) = filter.path_prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
            if kind == Kind::Domain {
                return None;
            }
            // The first is for the index.
            all.add("path >= ? AND starts_with(path, ?)", [prefix.clone(), prefix.clone()]);
        }
        if (filter.tag.is_some() || filter.enabled.is_some()) && kind != Kind::Rule {
            return None;
        }
        if let Some(tag) = &filter.tag {
            // The index is of rules that have tags.
            all.add("tags <> '{}' AND tags @> ARRAY[?]", [tag.clone()]);
        }
        if let Some(enabled) = filter.enabled {
            all.add("enabled = ?", [enabled]);
        }
        if let Some(after) = after {
            let domain = after.domain().to_owned();
            match (kind.cmp(&after.kind()), after.path()) {
                (Ordering::Greater, _) => all.add("domain >= ?", [domain]),
                (Ordering::Equal, Some(path)) => all.add("(domain, path) > (?, ?)", [domain, path.to_string()]),
                (Ordering::Equal | Ordering::Less, _) => all.add("domain > ?", [domain]),
            }
        }
        Some(all)
    }

    /// One more, with a value for each `?`.
    fn add<V: ToSql + Sync + Send + 'static>(&mut self, condition: &str, values: impl IntoIterator<Item = V>) {
        self.text.push_str(" AND ");
        let mut values = values.into_iter();
        for part in condition.split_inclusive('?') {
            let Some((part, value)) = part.strip_suffix('?').zip(values.next()) else {
                self.text.push_str(part);
                continue;
            };
            self.values.push(Box::new(value));
            self.text.push_str(part);
            self.text.push_str(&format!("${}", self.values.len()));
        }
    }

    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }
}

/// Versions, newest first.
pub(super) async fn history(
    client: &Client,
    subject: Option<&Subject>,
    page: &Page<Revision>,
) -> Result<Vec<Version>, RepositoryError> {
    const COLUMNS: &str = "SELECT kind::text, domain, path, revision, changed_at, changed_by, reason, before, after \
                           FROM public.rate_limit_rule_history";
    let size = i64::try_from(page.size.clamp(1, MAX_PAGE)).unwrap_or(i64::MAX);
    let below = page.after.map_or(i64::MAX, number);
    let found = match subject {
        Some(subject) => {
            let text = format!(
                "{COLUMNS} WHERE kind = $1::text::public.rate_limit_record_kind AND domain = $2 AND path = $3 \
                 AND revision < $4 ORDER BY revision DESC LIMIT $5"
            );
            let statement = client.prepare_cached(&text).await?;
            let path = subject.path().map_or("", |path| path.as_str());
            client.query(&statement, &[&subject.kind().name(), &subject.domain(), &path, &below, &size]).await?
        }
        None => {
            // Down to the revision of the last one on the page, and all of that.
            let text = format!(
                "{COLUMNS} WHERE revision < $1 AND revision >= (SELECT min(revision) FROM (SELECT revision \
                 FROM public.rate_limit_rule_history WHERE revision < $1 ORDER BY revision DESC LIMIT $2) AS page) \
                 ORDER BY revision DESC, domain, kind, path"
            );
            let statement = client.prepare_cached(&text).await?;
            client.query(&statement, &[&below, &size]).await?
        }
    };
    let versions = found.iter().filter_map(|row| version(row).transpose()).collect::<Result<_, _>>()?;
    Ok(versions)
}

fn version(row: &Row) -> Result<Option<Version>, Error> {
    let kind = match row.try_get(0)? {
        "domain" => Kind::Domain,
        "rule" => Kind::Rule,
        _ => Kind::Override,
    };
    let Some(subject) = rows::subject(kind, row.try_get(1)?, row.try_get(2)?) else { return Ok(None) };
    Ok(Some(Version {
        subject,
        revision: rows::revision(row.try_get(3)?),
        stamp: rows::stamp(row.try_get(4)?, row.try_get(5)?),
        reason: row.try_get::<_, Option<&str>>(6)?.map(Into::into),
        before: row.try_get(7)?,
        after: row.try_get(8)?,
    }))
}

/// What a record was.
pub(super) async fn content_at(
    client: &Client,
    subject: &Subject,
    revision: Revision,
) -> Result<Option<Result<Content, Unreadable>>, RepositoryError> {
    let text = "SELECT after FROM public.rate_limit_rule_history \
                WHERE kind = $1::text::public.rate_limit_record_kind AND domain = $2 AND path = $3 AND revision <= $4 \
                ORDER BY revision DESC LIMIT 1";
    let statement = client.prepare_cached(text).await?;
    let path = subject.path().map_or("", |path| path.as_str());
    let parameters: [&(dyn ToSql + Sync); 4] = [&subject.kind().name(), &subject.domain(), &path, &number(revision)];
    let row = client.query_opt(&statement, &parameters).await?;
    let after: Option<Value> = row.map(|row| row.try_get(0)).transpose()?.flatten();
    Ok(after.map(|content| read_content(subject, content)))
}

/// What changed behind a revision.
pub(super) async fn changed_since(
    client: &mut Client,
    revision: Revision,
    most: usize,
) -> Result<Option<Changes>, RepositoryError> {
    let transaction = snapshot(client).await?;
    let head = head(&transaction).await?;
    let one_more = i64::try_from(most.saturating_add(1)).unwrap_or(i64::MAX);
    let mut records = Vec::new();
    for table in tables() {
        let text = format!("{} WHERE revision > $1 ORDER BY revision LIMIT $2", table.select);
        let statement = transaction.prepare_cached(&text).await?;
        let found = transaction.query(&statement, &[&number(revision), &one_more]).await?;
        records.extend(decoded(table, &found)?);
        if records.len() > most {
            return Ok(None);
        }
    }
    records.sort_by_key(|record| record.revision);
    Ok(Some(Changes { head, records }))
}

/// Every record, as they come.
pub(super) async fn all(
    client: &mut Client,
    time: Duration,
    mut each: impl FnMut(Record) + Send,
) -> Result<Head, RepositoryError> {
    let transaction = snapshot(client).await?;
    transaction.batch_execute(&format!("SET LOCAL statement_timeout = {}", time.as_millis())).await?;
    let head = head(&transaction).await?;
    for table in tables() {
        let statement = transaction.prepare_cached(&format!("{} WHERE NOT deleted", table.select)).await?;
        let found = transaction.query_raw(&statement, std::iter::empty::<&(dyn ToSql + Sync)>()).await?;
        let mut found = std::pin::pin!(found);
        while let Some(row) = found.try_next().await? {
            rows::record(table.kind, &row)?.into_iter().for_each(&mut each);
        }
    }
    Ok(head)
}
