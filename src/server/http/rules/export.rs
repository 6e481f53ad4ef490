//! `GET /rate-limit/rules:export`: rules as YAML.

use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};

use super::super::gate::Reader;
use super::super::openapi::refusals;
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::whole::{everything, of_domains};
use super::{Store, preconditions, target};
use crate::rules::manage::specs;
use crate::rules::repository::RuleRepository as _;
use crate::rules::yaml;

/// Rules as YAML
///
/// One document a domain, which `rules:apply` and `tidegate serve --rules` read. Applying it unchanged changes nothing.
/// Overrides are no part of it. `ETag` is the newest revision.
#[utoipa::path(
    get, path = "/rate-limit/rules:export", tag = "rules", operation_id = "exportRules",
    params(("domain" = Option<String>, Query, description = "Only this domain")),
    responses(
        (status = 200, description = "Rule files as one stream of documents", body = String, content_type = "application/yaml"),
        refusals::Reading,
    ),
)]
pub async fn export(store: Store, _: Reader, mut query: Query) -> Result<Response, Problem> {
    let domain = query.take("domain").map(|name| target::domain(&name)).transpose();
    let domain = domain.map_err(|problem| Problem::fields(Kind::Malformed, vec![problem]))?;
    query.finish("domain")?;
    let revision = store.repository.head().await?.revision;
    let records = match domain {
        Some(domain) => of_domains(&store, vec![domain.into()]).await?,
        None => everything(&store).await?,
    };
    let unreadable = records.iter().find_map(|record| match &record.content {
        Some(Err(reason)) => Some(format!("{} cannot be read, so it cannot be written: {reason}", record.subject)),
        _ => None,
    });
    if let Some(detail) = unreadable {
        return Err(Problem::new(Kind::Conflict, detail));
    }
    let text = tokio::task::spawn_blocking(move || {
        let contents =
            records.iter().filter_map(|record| Some((&record.subject, record.content.as_ref()?.as_ref().ok()?)));
        let text = yaml::write_all(&specs(contents));
        if text.is_empty() { "# There are no rules.\n".to_owned() } else { text }
    });
    let text = text.await.map_err(|_| Problem::new(Kind::Internal, "the rules could not be written"))?;
    Ok((
        [(CONTENT_TYPE, "application/yaml".parse()), (ETAG, Ok(preconditions::etag(revision)))]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.ok()?)))
            .collect::<axum::http::HeaderMap>(),
        text,
    )
        .into_response())
}
