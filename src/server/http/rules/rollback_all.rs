//! `POST /rate-limit/rules:rollback`: everything as it was at a revision.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::super::Api;
use super::super::gate::Writer;
use super::super::openapi::records::{HeadDocument, Rollback};
use super::super::openapi::refusals;
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::body::Body;
use super::change::{Audit, commit_and_log, to_the_end};
use super::rollback::take_revision;
use super::{Store, preconditions, whole};
use crate::rules::form::FieldProblem;
use crate::rules::manage::{self, Diff};
use crate::rules::repository::record::Revision;
use crate::rules::repository::{Commit, RuleRepository as _};
use crate::server::rule_store::RuleStore;

/// The most records that may have changed since.
const MOST: usize = 10_000;

/// Take everything back to a revision
///
/// Every rule, override and domain is then as that revision left it; what has been made since is deleted. All or
/// nothing, and a change like any other, with a revision of its own.
#[utoipa::path(
    post, path = "/rate-limit/rules:rollback", tag = "history", operation_id = "rollBackAll",
    request_body = Rollback,
    params(
        ("accept_loss" = Option<bool>, Query, description = "Also when most rules would be gone"),
        ("If-Match" = Option<String>, Header, description = "The newest revision in quotes: only if nothing has changed since"),
        ("X-Change-Reason" = Option<String>, Header, description = "Why, for the history"),
    ),
    responses((status = 200, description = "As it was then", body = HeadDocument), refusals::Writing),
)]
pub async fn all(
    State(api): State<Arc<Api>>,
    store: Store,
    Writer(caller): Writer,
    mut query: Query,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let accept_loss = query.flag("accept_loss")?.unwrap_or(false);
    query.finish("accept_loss")?;
    let base = preconditions::base(&headers)?;
    let mut body = Body::read(&headers, body)?;
    let reason = body.reason(&headers)?;
    let revision = take_revision(&store, body).await?;
    let (head, diff) = way_back(&store, revision).await?;
    let lost = whole::loss(&diff, api.context.limiter.active().rules.rule_count(), head);
    if let Some(lost) = lost.filter(|_| !accept_loss) {
        return Err(lost.into());
    }
    let reason: Box<str> = reason.unwrap_or_else(|| format!("back to revision {revision}").into());
    // What is written is what was read, whoever else is at it.
    let (author, changes) = (caller.0, diff.into_changes());
    let commit = Commit { author: author.clone(), reason: Some(reason.clone()), base: base.or(Some(head)), changes };
    let audit = Audit { action: "roll back", subject: format!("everything to revision {revision}") };
    let store = store.clone();
    let answer = to_the_end(async move {
        let mut committed = commit_and_log(&store, commit, audit).await?;
        if lost.is_some() {
            // Replicas do not follow a loss without being told that it is meant.
            committed.head = store.repository.accept(&author, Some(&reason)).await?;
        }
        Ok(whole::document(&store, &committed).await)
    });
    Ok(Json(answer.await?).into_response())
}

/// What has to change to be back at a revision, and from which one.
async fn way_back(store: &RuleStore, revision: Revision) -> Result<(Revision, Diff), Problem> {
    let Some(since) = store.repository.changed_since(revision, MOST).await? else {
        let detail = format!(
            "more than {MOST} records have changed since revision {revision}; take single rules back, or apply the rules \
             as they are to be"
        );
        return Err(Problem::new(Kind::Invalid, detail));
    };
    let mut changed = Vec::with_capacity(since.records.len());
    for record in since.records {
        let then = store.repository.content_at(&record.subject, revision).await?;
        changed.push((record, then));
    }
    let diff = manage::rollback(changed, Timestamp::now()).map_err(|errors| {
        let told = errors.iter().map(|error| FieldProblem::new("revision", error.to_string()));
        Problem::fields(Kind::Invalid, told.collect())
    })?;
    Ok((since.head.revision, diff))
}
