//! Findings in the table `ai_ddos_detection`, whose columns are the members of [`Document`]. The schema is migrated by
//! whoever keeps the rules there.
//!
//! A call waits `acquire_timeout` for a connection and `statement_timeout` for all that it asks. What did not answer in
//! time may be asked again: an event that was noted, and a verdict that was recorded, changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Client, Pool, Transaction};
use serde_json::Value;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use super::document::Document;
use super::finding::fold;
use super::{Filter, Finding, Findings, FindingsError, Listed, MAX_REVIEWED, Page, Review, timestamp};
use crate::anomaly::event::Event;
use crate::config::database::Database;
use crate::core::clock::Micros;
use crate::postgres::Failure;

/// Events in one transaction.
const CHUNK: usize = 1_000;
/// Names the advisory lock of those who write: "findings" in ASCII. Two that open the same incident would overwrite each
/// other's history.
const LOCK: i64 = 0x6669_6e64_696e_6773;
/// What lists leave out.
const BARE: &str = "(to_jsonb(d) - '{scores,features,history}'::text[])::text";
const WHOLE: &str = "(to_jsonb(d) - '{scores,features}'::text[])::text";
/// Writes findings. Whom they are about stays.
const WRITE: &str = "\
    INSERT INTO public.ai_ddos_detection (id, user_id, ip_address, subject, domain, request_count, anomaly_score, \
        \"timestamp\", first_seen, last_seen, ended_at, state, action, effect, expires_at, shadow, held, reasons, \
        reviewed_at, reviewed_by, review_note, history) \
    OVERRIDING SYSTEM VALUE \
    SELECT id, user_id, ip_address, subject, domain, request_count, anomaly_score, \
        \"timestamp\", first_seen, last_seen, ended_at, state, action, effect, expires_at, shadow, held, reasons, \
        reviewed_at, reviewed_by, review_note, history \
    FROM jsonb_populate_recordset(NULL::public.ai_ddos_detection, $1) \
    ON CONFLICT (id) DO UPDATE SET request_count = EXCLUDED.request_count, anomaly_score = EXCLUDED.anomaly_score, \
        last_seen = EXCLUDED.last_seen, ended_at = EXCLUDED.ended_at, state = EXCLUDED.state, \
        action = EXCLUDED.action, effect = EXCLUDED.effect, expires_at = EXCLUDED.expires_at, \
        shadow = EXCLUDED.shadow, held = EXCLUDED.held, reasons = EXCLUDED.reasons, \
        reviewed_at = EXCLUDED.reviewed_at, reviewed_by = EXCLUDED.reviewed_by, \
        review_note = EXCLUDED.review_note, history = EXCLUDED.history";

/// Findings in a PostgreSQL.
pub struct Postgres {
    pool: Pool,
    acquire: Duration,
    answer: Duration,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl Postgres {
    /// Findings in the database of these connections, which the settings tell the deadlines of. Nothing is asked of it yet.
    #[must_use]
    pub const fn new(pool: Pool, settings: &Database) -> Self {
        Self { pool, acquire: settings.acquire_timeout, answer: settings.statement_timeout }
    }

    async fn within<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, FindingsError>,
    ) -> Result<T, FindingsError> {
        let late = |what, time| FindingsError::from(Failure::late(what, time));
        let client = timeout(self.acquire, self.pool.get()).await;
        let mut client = client.map_err(|_| late("getting a connection", self.acquire))?.map_err(Failure::from)?;
        timeout(self.answer, work(&mut client)).await.map_err(|_| late("the database", self.answer))?
    }

    async fn note_some(&self, events: &[Event]) -> Result<(), FindingsError> {
        self.within(async |client| {
            let transaction = begin(client).await?;
            let ids: Vec<i64> = events.iter().filter_map(|event| i64::try_from(event.incident).ok()).collect();
            let text = format!("SELECT id, {WHOLE} FROM public.ai_ddos_detection d WHERE id = ANY($1) FOR UPDATE");
            let rows = transaction.query(&text, &[&ids]).await?;
            let findings = rows.iter().filter_map(|row| read(row).transpose());
            let findings = findings.map(|finding| finding.map(|finding| (finding.id, finding)));
            let mut known = findings.collect::<Result<BTreeMap<_, _>, _>>()?;
            let changed = fold(&mut known, events);
            write(&transaction, changed.iter().filter_map(|id| known.get(id))).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }
}

/// A transaction that no other of ours runs beside.
async fn begin(client: &mut Client) -> Result<Transaction<'_>, FindingsError> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    Ok(transaction)
}

async fn write(transaction: &Transaction<'_>, findings: impl Iterator<Item = &Finding>) -> Result<(), FindingsError> {
    let documents: Result<Vec<Value>, _> =
        findings.map(|finding| serde_json::to_value(Document::from(finding))).collect();
    let documents =
        documents.map_err(|error| FindingsError::Unusable(format!("a finding cannot be written: {error}")))?;
    if !documents.is_empty() {
        transaction.execute(WRITE, &[&Json(documents)]).await?;
    }
    Ok(())
}

/// The finding of a row; `None`, which is told in the log, when it cannot be read.
fn read(row: &Row) -> Result<Option<Finding>, FindingsError> {
    let (id, text): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
    let document = serde_json::from_str::<Document>(text);
    let told = document.inspect_err(|error| tracing::warn!(id, %error, "a finding cannot be read, and is left out"));
    Ok(told.ok().map(Finding::from))
}

/// The one that is asked for.
fn read_one(row: Option<Row>) -> Result<Option<Finding>, FindingsError> {
    let Some(row) = row else { return Ok(None) };
    let id: i64 = row.try_get(0)?;
    read(&row)?.map(Some).ok_or_else(|| FindingsError::Damaged(format!("{id} cannot be read")))
}

/// What has to hold, and with what.
#[derive(Default)]
struct Conditions {
    text: String,
    parameters: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Conditions {
    /// Adds one; `?` stands for its parameter.
    fn add(&mut self, condition: &str, parameter: Option<impl ToSql + Sync + Send + 'static>) {
        if let Some(parameter) = parameter {
            self.parameters.push(Box::new(parameter));
            self.text.push_str(if self.parameters.len() == 1 { " WHERE " } else { " AND " });
            self.text.push_str(&condition.replace('?', &format!("${}", self.parameters.len())));
        }
    }

    fn of(filter: &Filter, page: Page) -> Self {
        let mut all = Self::default();
        let name = |value: Result<Value, _>| value.ok().and_then(|name: Value| Some(name.as_str()?.to_owned()));
        let time = |at: Micros| timestamp(at).to_string();
        all.add("id < ?", page.after.map(|id| i64::try_from(id).unwrap_or(i64::MAX)));
        all.add("user_id = ?", filter.user.clone());
        all.add("ip_address = ?::text::inet", filter.network().map(|address| address.to_string()));
        all.add("domain = ?", filter.domain.clone());
        all.add("state = ?", filter.state.and_then(|state| name(serde_json::to_value(state))));
        all.add("action = ?", filter.action.and_then(|action| name(serde_json::to_value(action))));
        all.add("anomaly_score >= ?", filter.min_score);
        all.add("\"timestamp\" >= ?::text::timestamptz", filter.since.map(time));
        all.add("\"timestamp\" < ?::text::timestamptz", filter.until.map(time));
        all
    }
}

impl Findings for Postgres {
    async fn note(&self, events: &[Event]) -> Result<(), FindingsError> {
        for chunk in events.chunks(CHUNK) {
            self.note_some(chunk).await?;
        }
        Ok(())
    }

    async fn list(&self, filter: &Filter, page: Page) -> Result<Listed, FindingsError> {
        let Conditions { text, parameters } = Conditions::of(filter, page);
        let more = page.size.saturating_add(1);
        let text = format!("SELECT id, {BARE} FROM public.ai_ddos_detection d{text} ORDER BY id DESC LIMIT {more}");
        let parameters: Vec<_> = parameters.iter().map(|one| &**one as &(dyn ToSql + Sync)).collect();
        let rows = self.within(async |client| Ok(client.query(&text, &parameters).await?)).await?;
        let mut listed = Listed::default();
        for row in rows.iter().take(page.size) {
            listed.findings.extend(read(row)?);
        }
        if let (true, Some(last)) = (rows.len() > page.size, rows.get(page.size.saturating_sub(1))) {
            listed.next = u64::try_from(last.try_get::<_, i64>(0)?).ok();
        }
        Ok(listed)
    }

    async fn get(&self, id: u64) -> Result<Option<Finding>, FindingsError> {
        let Ok(id) = i64::try_from(id) else { return Ok(None) };
        let text = format!("SELECT id, {WHOLE} FROM public.ai_ddos_detection d WHERE id = $1");
        self.within(async |client| read_one(client.query_opt(&text, &[&id]).await?)).await
    }

    async fn review(&self, id: u64, review: &Review) -> Result<Option<Finding>, FindingsError> {
        let Ok(id) = i64::try_from(id) else { return Ok(None) };
        let text = format!("SELECT id, {WHOLE} FROM public.ai_ddos_detection d WHERE id = $1 FOR UPDATE");
        self.within(async |client| {
            let transaction = begin(client).await?;
            let Some(mut finding) = read_one(transaction.query_opt(&text, &[&id]).await?)? else { return Ok(None) };
            if finding.review(review) {
                write(&transaction, std::iter::once(&finding)).await?;
                transaction.commit().await?;
            }
            Ok(Some(finding))
        })
        .await
    }

    async fn reviewed(&self, since: Micros) -> Result<Vec<Finding>, FindingsError> {
        let text = format!(
            "SELECT id, {BARE} FROM public.ai_ddos_detection d WHERE reviewed_at >= $1::text::timestamptz \
             AND state IN ('confirmed', 'dismissed') ORDER BY reviewed_at DESC, id DESC LIMIT {MAX_REVIEWED}"
        );
        let since = timestamp(since).to_string();
        let rows = self.within(async |client| Ok(client.query(&text, &[&since]).await?)).await?;
        rows.iter().filter_map(|row| read(row).transpose()).collect()
    }

    async fn prune(&self, before: Micros, most: usize) -> Result<usize, FindingsError> {
        let text = format!(
            "DELETE FROM public.ai_ddos_detection WHERE id IN (SELECT id FROM public.ai_ddos_detection \
             WHERE last_seen < $1::text::timestamptz LIMIT {most} FOR UPDATE SKIP LOCKED)"
        );
        let before = timestamp(before).to_string();
        let pruned = self.within(async |client| Ok(client.execute(&text, &[&before]).await?)).await?;
        Ok(usize::try_from(pruned).unwrap_or(most))
    }
}

impl From<Failure> for FindingsError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(reason) => Self::Away(reason),
            Failure::Unusable(reason) => Self::Unusable(reason),
        }
    }
}

impl From<tokio_postgres::Error> for FindingsError {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::from(error).into()
    }
}
