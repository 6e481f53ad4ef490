//! Commits.
//!
//! Expectations are looked at and changes made set by set: a statement takes arrays of columns, thousands of records at
//! a time. What a statement leaves out as idle, and revisions, stamps and versions, are the database's.

use std::collections::HashSet;
use std::time::SystemTime;

use deadpool_postgres::{Client, Transaction};
use serde_json::Value;
use tokio_postgres::types::{Json, ToSql};

use super::table::{Table, tables};
use super::{Shared, read, rows};
use crate::postgres::failure::{is_refusal, sentence};
use crate::rules::form::{DomainForm, LimitForm, OverrideForm, RuleForm, read_content, write_content};
use crate::rules::repository::record::Kind;
use crate::rules::repository::{
    Change, Commit, Committed, Content, Expected, Found, Head, MAX_CHANGES, RepositoryError, Revision, Subject,
};

/// Records in one statement.
const CHUNK: usize = 5_000;
/// From so many changes on a commit has the time of a bulk.
const BULK: usize = 1_000;
/// The longest name of a domain, in bytes.
const MAX_DOMAIN: usize = 500;

type Parameters = Vec<Box<dyn ToSql + Sync + Send>>;

/// Makes all changes, or none.
pub(super) async fn commit(shared: &Shared, commit: Commit) -> Result<Committed, RepositoryError> {
    let is_bulk = commit.changes.len() > BULK;
    let commit = if is_bulk {
        let checked = tokio::task::spawn_blocking(move || check(&commit).map(|()| commit)).await;
        checked.map_err(|error| super::failure::unavailable(error.to_string()))??
    } else {
        check(&commit)?;
        commit
    };
    let time = if is_bulk { shared.settings.bulk_timeout } else { shared.settings.statement_timeout };
    let mut client: Option<Client> = None;
    let work = async {
        let client = client.insert(shared.client().await?);
        match make(client, &commit, time.as_millis()).await {
            Ok(made) => Ok(Ok(made)),
            Err(Failure::Other(error)) => Err(error),
            Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
        }
    };
    let (transaction, committed) = match shared.within(time, work).await? {
        Ok(made) => made,
        Err(refusal) => return Err(refusal.explain(shared).await),
    };
    if committed.changed == 0 {
        return Ok(committed);
    }
    shared.decided(time, transaction.commit()).await??;
    announce(shared, committed.head.revision);
    Ok(committed)
}

/// Takes a new epoch.
pub(super) async fn accept(shared: &Shared, author: &str, reason: Option<&str>) -> Result<Head, RepositoryError> {
    let client = shared.within(shared.settings.statement_timeout, shared.client()).await?;
    let text = "SELECT epoch, revision, accepted_at FROM public.rule_set_accept($1, $2)";
    let (author, reason) = (clean(author), reason.map(clean));
    let row = shared.decided(shared.settings.statement_timeout, client.query_one(text, &[&author, &reason])).await??;
    let head = read::head_of(&row)?;
    announce(shared, head.revision);
    Ok(head)
}

/// Sooner than the database tells.
fn announce(shared: &Shared, made: Revision) {
    shared.announced.send_if_modified(|revision| {
        let news = made > *revision;
        if news {
            *revision = made;
        }
        news
    });
}

/// A text without the one character that Postgres cannot hold.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// That each change is one of its subject's, once, and will be readable.
fn check(commit: &Commit) -> Result<(), RepositoryError> {
    if commit.changes.len() > MAX_CHANGES {
        return Err(RepositoryError::TooManyChanges(commit.changes.len()));
    }
    let mut seen = HashSet::with_capacity(commit.changes.len());
    for Change { subject, content, .. } in &commit.changes {
        let refuse = |reason: String| Err(RepositoryError::Refused { subject: subject.clone(), reason });
        if !seen.insert(subject) {
            return refuse("it is changed twice in one commit; leave one of the changes out".to_owned());
        }
        let domain = subject.domain();
        if domain.is_empty() || domain.len() > MAX_DOMAIN || domain.contains('\0') {
            return refuse(format!("a domain's name has 1 to {MAX_DOMAIN} bytes, none of them zero"));
        }
        let Some(content) = content else { continue };
        if content.kind() != subject.kind() {
            return refuse(format!("a {} cannot say what a {} does", subject.kind().name(), content.kind().name()));
        }
        let written = write_content(content);
        if has_zero(&written) {
            return refuse("a text contains a character of code zero, which the database cannot hold".to_owned());
        }
        if let Err(unreadable) = read_content(subject, written) {
            return refuse(unreadable.to_string());
        }
    }
    Ok(())
}

fn has_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_zero),
        Value::Object(entries) => entries.iter().any(|(name, value)| name.contains('\0') || has_zero(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Why changes were not made.
enum Failure {
    /// The database does not take one of them.
    Refused(Box<Refusal>),
    /// Anything else.
    Other(RepositoryError),
}

/// What the database does not take.
struct Refusal {
    table: &'static Table,
    parameters: Parameters,
    /// The first of the records.
    subject: Subject,
    /// What the database said.
    reason: String,
}

impl Refusal {
    /// Which of the records it was, and why; if that cannot be found out, the first of them and what the database said.
    async fn explain(self: Box<Self>, shared: &Shared) -> RepositoryError {
        let Self { table, parameters, subject, reason } = *self;
        let work = async { Ok(shared.client().await?.query_opt(&table.refused, &references(&parameters)).await?) };
        if let Ok(Some(row)) = shared.within(shared.settings.statement_timeout, work).await
            && let (Ok(domain), Ok(path), Ok(reason)) = (row.try_get(0), row.try_get(1), row.try_get(2))
            && let Some(subject) = rows::subject(table.kind, domain, path)
        {
            return RepositoryError::Refused { subject, reason };
        }
        RepositoryError::Refused { subject, reason }
    }
}

impl<E: Into<RepositoryError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Makes the changes in a transaction, all but its COMMIT.
async fn make<'c>(
    client: &'c mut Client,
    commit: &Commit,
    milliseconds: u128,
) -> Result<(Transaction<'c>, Committed), Failure> {
    let transaction = client.transaction().await?;
    let settings = "SELECT set_config('statement_timeout', $1, true), set_config('tidegate.author', $2, true), \
                    set_config('tidegate.reason', $3, true), set_config('tidegate.has_reason', $4, true)";
    let settings = transaction.prepare_cached(settings).await?;
    let (author, reason) = (clean(&commit.author), clean(commit.reason.as_deref().unwrap_or_default()));
    transaction
        .execute(&settings, &[&milliseconds.to_string(), &author, &reason, &commit.reason.is_some().to_string()])
        .await?;
    let lock = transaction.prepare_cached("SELECT epoch, revision, accepted_at FROM public.rule_set_lock()").await?;
    let head = read::head_of(&transaction.query_one(&lock, &[]).await?)?;
    if let Some(expected) = commit.base.filter(|base| *base != head.revision) {
        return Err(RepositoryError::Moved { expected, found: head.revision }.into());
    }
    expect(&transaction, &commit.changes).await?;
    let mut changed = 0;
    for table in tables() {
        changed += put(&transaction, table, &commit.changes).await?;
        changed += delete(&transaction, table, &commit.changes).await?;
    }
    let revision = Revision(head.revision.0 + u64::from(changed > 0));
    let changed = usize::try_from(changed).unwrap_or(usize::MAX);
    Ok((transaction, Committed { head: Head { revision, ..head }, changed }))
}

/// That every record is as its change expects it; the first that is not is told.
async fn expect(transaction: &Transaction<'_>, changes: &[Change]) -> Result<(), RepositoryError> {
    let expecting: Vec<&Change> = changes.iter().filter(|change| change.expected != Expected::Anything).collect();
    for chunk in expecting.chunks(CHUNK) {
        let mut found = vec![Found::Absent; chunk.len()];
        for table in tables() {
            let asked: Vec<usize> =
                (0..chunk.len()).filter(|position| kind_at(chunk, *position) == Some(table.kind)).collect();
            if asked.is_empty() {
                continue;
            }
            let subjects = asked.iter().filter_map(|position| chunk.get(*position)).map(|change| &change.subject);
            let keys = keys(&subjects.collect::<Vec<_>>());
            let statement = transaction.prepare_cached(&table.find).await?;
            for row in transaction.query(&statement, &references(&keys)).await? {
                let position = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
                if let Some(found) = asked.get(position).and_then(|position| found.get_mut(*position)) {
                    *found = Found::At(rows::revision(row.try_get(1)?));
                }
            }
        }
        for (Change { subject, expected, .. }, found) in chunk.iter().zip(found) {
            let holds = match expected {
                Expected::Anything => true,
                Expected::Absent => found == Found::Absent,
                Expected::Present => found != Found::Absent,
                Expected::At(revision) => found == Found::At(*revision),
            };
            if !holds {
                return Err(RepositoryError::Conflict { subject: subject.clone(), expected: *expected, found });
            }
        }
    }
    Ok(())
}

fn kind_at(changes: &[&Change], position: usize) -> Option<Kind> {
    changes.get(position).map(|change| change.subject.kind())
}

async fn put(transaction: &Transaction<'_>, table: &'static Table, changes: &[Change]) -> Result<u64, Failure> {
    let puts: Vec<(&Subject, &Content)> = changes
        .iter()
        .filter(|change| change.subject.kind() == table.kind)
        .filter_map(|change| Some((&change.subject, change.content.as_ref()?)))
        .collect();
    if puts.is_empty() {
        return Ok(0);
    }
    let update = transaction.prepare_cached(&table.update).await?;
    let insert = transaction.prepare_cached(&table.insert).await?;
    let mut changed = 0;
    for chunk in puts.chunks(CHUNK) {
        let parameters = columns(table.kind, chunk);
        for statement in [&update, &insert] {
            match transaction.execute(statement, &references(&parameters)).await {
                Ok(rows) => changed += rows,
                Err(error) if is_refusal(&error) => {
                    let Some((subject, _)) = chunk.first() else { return Err(error.into()) };
                    let (subject, reason) = ((*subject).clone(), sentence(&error));
                    return Err(Failure::Refused(Box::new(Refusal { table, parameters, subject, reason })));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(changed)
}

async fn delete(transaction: &Transaction<'_>, table: &Table, changes: &[Change]) -> Result<u64, Failure> {
    let deletes = changes.iter().filter(|change| change.subject.kind() == table.kind && change.content.is_none());
    let deletes: Vec<&Subject> = deletes.map(|change| &change.subject).collect();
    let mut changed = 0;
    for chunk in deletes.chunks(CHUNK) {
        let statement = transaction.prepare_cached(&table.delete).await?;
        changed += transaction.execute(&statement, &references(&keys(chunk))).await?;
    }
    Ok(changed)
}

fn references(parameters: &Parameters) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync)).collect()
}

/// A column as an array.
fn column<T, C>(items: &[T], cell: impl Fn(&T) -> C) -> Box<dyn ToSql + Sync + Send>
where
    C: ToSql + Sync + Send + 'static,
{
    Box::new(items.iter().map(cell).collect::<Vec<_>>())
}

fn keys(subjects: &[&Subject]) -> Parameters {
    let mut keys = vec![column(subjects, |subject| subject.domain().to_owned())];
    if subjects.iter().any(|subject| subject.path().is_some()) {
        keys.push(column(subjects, |subject| subject.path().map(ToString::to_string)));
    }
    keys
}

/// Keys and contents as arrays, in the order of the table's columns.
fn columns(kind: Kind, records: &[(&Subject, &Content)]) -> Parameters {
    let subjects: Vec<&Subject> = records.iter().map(|(subject, _)| *subject).collect();
    let contents = records.iter().map(|(_, content)| *content);
    let mut all = keys(&subjects);
    all.extend(match kind {
        Kind::Domain => domains(&contents.filter_map(domain_form).collect::<Vec<_>>()),
        Kind::Rule => rules(&contents.filter_map(rule_form).collect::<Vec<_>>()),
        Kind::Override => overrides(&contents.filter_map(override_form).collect::<Vec<_>>()),
    });
    all
}

fn domain_form(content: &Content) -> Option<DomainForm> {
    if let Content::Domain(settings) = content { Some(settings.into()) } else { None }
}

fn rule_form(content: &Content) -> Option<RuleForm> {
    if let Content::Rule(rule) = content { Some(rule.into()) } else { None }
}

fn override_form(content: &Content) -> Option<OverrideForm> {
    if let Content::Override(over) = content { Some(over.into()) } else { None }
}

fn domains(forms: &[DomainForm]) -> Parameters {
    vec![
        column(forms, |form| form.charge.clone()),
        column(forms, |form| form.default_algorithm.clone()),
        column(forms, |form| form.response_headers.clone().map(Json)),
        column(forms, |form| form.accept_overrides),
        column(forms, |form| form.accept_refunds),
    ]
}

fn rules(forms: &[RuleForm]) -> Parameters {
    vec![
        column(forms, |form| limits(form.rate_limit.as_ref(), form.rate_limits.as_ref())),
        column(forms, |form| form.shadow_mode),
        column(forms, |form| form.quota_mode),
        column(forms, |form| form.detailed_metric),
        column(forms, |form| form.value_to_metric),
        column(forms, |form| form.share_threshold),
        column(forms, |form| form.protect),
        column(forms, |form| form.enabled),
        column(forms, |form| {
            form.failure_mode.and_then(|mode| Some(serde_json::to_value(mode).ok()?.as_str()?.to_owned()))
        }),
        column(forms, |form| i64::from(form.order)),
        column(forms, |form| form.metadata.clone().filter(|metadata| !metadata.is_empty()).map(Json)),
        column(forms, |form| Json(form.tags.clone())),
    ]
}

fn overrides(forms: &[OverrideForm]) -> Parameters {
    vec![
        column(forms, |form| limits(form.rate_limit.as_ref(), form.rate_limits.as_ref())),
        // Those that the system's clock has not, the database refuses.
        column(forms, |form| SystemTime::try_from(form.until).ok()),
    ]
}

fn limits(one: Option<&LimitForm>, several: Option<&Vec<LimitForm>>) -> Option<Json<Vec<LimitForm>>> {
    one.map(|one| vec![one.clone()]).or_else(|| several.cloned()).map(Json)
}
