//! `GET /rate-limit/rules`: rules, page by page.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::gate::Reader;
use super::super::openapi::records::{KindChoice, RecordPage};
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::super::query::{Query, refused};
use super::{Store, record, target};
use crate::rules::repository::record::{Kind, Subject};
use crate::rules::repository::{Filter, Page, RuleRepository as _};
use crate::server::rule_store::RuleStore;

const PARAMETERS: &str = "domain, path, tag, enabled, kind, limit, cursor";

/// List rules
///
/// Sorted by domain, then kind, then path.
#[utoipa::path(
    get, path = "/rate-limit/rules", tag = "rules", operation_id = "listRules",
    params(
        ("domain" = Option<String>, Query, description = "Only this domain"),
        ("path" = Option<String>, Query, description = "Only paths that begin with this text"),
        ("tag" = Option<String>, Query, description = "Only rules with this tag"),
        ("enabled" = Option<bool>, Query, description = "Only rules that are enabled, or that are not"),
        ("kind" = inline(Option<KindChoice>), Query, description = "What to list; `rule` unless said otherwise"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Records on a page, 1 to 1000; 100 unless said otherwise"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = RecordPage, headers(("Link" = String, description = "The next page: rel=\"next\""))),
        refusals::Reading,
    ),
)]
pub async fn list(store: Store, _: Reader, mut query: Query) -> Result<Response, Problem> {
    let kind = match query.take("kind").as_deref() {
        None | Some("rule") => Some(Kind::Rule),
        Some("domain") => Some(Kind::Domain),
        Some("override") => Some(Kind::Override),
        Some("any") => None,
        Some(_) => return Err(refused("kind", "must be rule, override, domain or any")),
    };
    page(&store, kind, query, PARAMETERS).await
}

/// A page of the records of a kind that the other parameters choose.
///
/// # Errors
/// A parameter without meaning, and the repository's.
pub async fn page(
    store: &RuleStore,
    kind: Option<Kind>,
    mut query: Query,
    parameters: &str,
) -> Result<Response, Problem> {
    let text = |name: &str, text: Option<String>| match text {
        Some(text) if text.contains('\0') => Err(refused(name, "must not have a NUL character")),
        text => Ok(text),
    };
    let filter = Filter {
        kind,
        domain: text("domain", query.take("domain"))?,
        path_prefix: text("path", query.take("path"))?,
        tag: text("tag", query.take("tag"))?,
        enabled: query.flag("enabled")?,
    };
    let page = Page { size: query.page_size()?, after: query.cursor(read_cursor)? };
    query.finish(parameters)?;
    let size = page.size;
    let records = store.repository.list(&filter, page).await?;
    let next =
        records.last().filter(|_| records.len() >= size).map(|record| query.next(&write_cursor(&record.subject)));
    let records: Vec<_> = records.iter().map(record::document).collect();
    Ok(paged("records", json!(records), next))
}

/// A page with the address of the next.
pub fn paged(name: &str, items: serde_json::Value, next: Option<(String, String)>) -> Response {
    let (cursor, address) = next.unzip();
    let mut response = Json(json!({ name: items, "next": cursor })).into_response();
    if let Some(link) = address.and_then(|address| HeaderValue::from_str(&format!("<{address}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

fn write_cursor(subject: &Subject) -> String {
    let path = subject.path().map_or("", |path| path.as_str());
    format!("{}\n{path}\n{}", subject.kind().name(), subject.domain())
}

fn read_cursor(text: &str) -> Option<Subject> {
    let mut parts = text.splitn(3, '\n');
    let (kind, path, domain) = (parts.next()?, parts.next()?, target::domain(parts.next()?).ok()?);
    match kind {
        "domain" => Some(Subject::Domain(domain)),
        "rule" => Some(Subject::Rule(domain, path.parse().ok()?)),
        "override" => Some(Subject::Override(domain, path.parse().ok()?)),
        _ => None,
    }
}
