//! `GET /rate-limit/history` and `GET /rate-limit/rules/{domain}/{path}/history`: who changed what, when and why.

use axum::response::Response;
use serde_json::json;

use super::super::gate::Reader;
use super::super::openapi::records::VersionPage;
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::super::query::Query;
use super::list::paged;
use super::target::Target;
use super::{Store, record};
use crate::rules::repository::record::{Revision, Subject};
use crate::rules::repository::{Page, RuleRepository as _};
use crate::server::rule_store::RuleStore;

/// Show who changed what
///
/// From the newest to the oldest.
#[utoipa::path(
    get, path = "/rate-limit/history", tag = "history", operation_id = "listHistory",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Versions on a page, 1 to 1000; 100 unless said otherwise"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page. All versions of one revision are on one page.", body = VersionPage),
        refusals::Reading,
    ),
)]
pub async fn all(store: Store, _: Reader, query: Query) -> Result<Response, Problem> {
    page(&store, None, query).await
}

/// Show who changed the rule at a path
///
/// From the newest to the oldest, also of a rule that is deleted; empty if there never was one.
#[utoipa::path(
    get, path = "/rate-limit/rules/{domain}/{path}/history", tag = "history", operation_id = "getRuleHistory",
    params(
        ("domain" = String, Path, description = "The domain"),
        ("path" = String, Path, description = "The canonical descriptor path, percent-encoded"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Versions on a page, 1 to 1000; 100 unless said otherwise"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page", body = VersionPage), refusals::Reading),
)]
pub async fn of_rule(
    store: Store,
    _: Reader,
    Target { domain, path }: Target,
    query: Query,
) -> Result<Response, Problem> {
    page(&store, Some(&Subject::Rule(domain, path)), query).await
}

async fn page(store: &RuleStore, subject: Option<&Subject>, mut query: Query) -> Result<Response, Problem> {
    let page = Page { size: query.page_size()?, after: query.cursor(|text| text.parse().ok().map(Revision))? };
    query.finish("limit, cursor")?;
    let size = page.size;
    let versions = store.repository.history(subject, page).await?;
    let next =
        versions.last().filter(|_| versions.len() >= size).map(|version| query.next(&version.revision.to_string()));
    let versions: Vec<_> = versions.iter().map(record::version).collect();
    Ok(paged("versions", json!(versions), next))
}
