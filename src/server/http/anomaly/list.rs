//! `GET /ddos/anomaly`: what was found, page by page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::Api;
use super::super::gate::Watcher;
use super::super::openapi::refusals;
use super::super::problem::Problem;
use super::super::query::{Query, refused};
use super::super::rules::list::paged;
use super::document::{ActionName, AnomalyPage, StateName, anomaly};
use crate::anomaly::findings::{Filter, Findings as _, Listed, Page, timestamp};
use crate::config::scalar::parse_duration;
use crate::core::clock::Micros;

const PARAMETERS: &str = "user_id, ip_address, domain, state, action, min_score, since, until, limit, after";

/// List anomalies
///
/// What the anomaly worker found: who behaved unusually, why, and what was done about it. The newest first.
#[utoipa::path(
    get, path = "/ddos/anomaly", tag = "anomalies", operation_id = "listAnomalies",
    params(
        ("user_id" = Option<String>, Query, description = "Only of this user"),
        ("ip_address" = Option<String>, Query, description = "Only of this address; of IPv6, of its /64"),
        ("domain" = Option<String>, Query, description = "Only in this domain"),
        ("state" = inline(Option<StateName>), Query, description = "Only in this state"),
        ("action" = inline(Option<ActionName>), Query, description = "Only with this action"),
        ("min_score" = Option<f64>, Query, minimum = 0, maximum = 1, description = "Only with at least this score, 0 to 1"),
        ("since" = Option<String>, Query, description = "Only flagged then or later: as RFC 3339 has it, or so long ago, `1h`"),
        ("until" = Option<String>, Query, description = "Only flagged before then: as RFC 3339 has it, or so long ago, `1h`"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Anomalies on a page, 1 to 1000; 100 unless said otherwise"),
        ("after" = Option<String>, Query, description = "`next` of the page before: only those with lower numbers"),
    ),
    responses(
        (status = 200, description = "A page", body = AnomalyPage, headers(("Link" = String, description = "The next page: rel=\"next\""))),
        refusals::Seeing,
    ),
)]
pub async fn list(Shared(api): Shared<Arc<Api>>, _: Watcher, mut query: Query) -> Result<Response, Problem> {
    let now = api.context.limiter.wall();
    let filter = filter(&mut query, now)?;
    let after = query.take("after").map(|text| {
        text.parse().map_err(|_| refused("after", "must be the number of an anomaly: `next` of the page before"))
    });
    let page = Page { size: query.page_size()?, after: after.transpose()? };
    query.finish(PARAMETERS)?;
    let Listed { findings, next } = api.context.findings.list(&filter, page).await?;
    let next = next.map(|id| query.behind("after", id.to_string()));
    let anomalies: Vec<_> = findings.iter().map(anomaly).collect();
    Ok(paged("anomalies", json!(anomalies), next))
}

fn filter(query: &mut Query, now: Micros) -> Result<Filter, Problem> {
    let text = |name: &str, text: Option<String>| match text {
        Some(text) if text.contains('\0') => Err(refused(name, "must not have a NUL character")),
        text => Ok(text),
    };
    let address = |text: String| {
        text.parse::<IpAddr>().map_err(|_| refused("ip_address", "must be an IPv4 or IPv6 address, 203.0.113.7"))
    };
    let score = |text: String| {
        let score = text.parse().ok().filter(|score| (0.0..=1.0).contains(score));
        score.ok_or_else(|| refused("min_score", "must be a number from 0 to 1"))
    };
    Ok(Filter {
        user: text("user_id", query.take("user_id"))?,
        address: query.take("ip_address").map(address).transpose()?,
        domain: text("domain", query.take("domain"))?,
        state: named("state", query.take("state"), "open, ended, confirmed or dismissed")?,
        action: named("action", query.take("action"), "none, flag, tighten or block")?,
        min_score: query.take("min_score").map(score).transpose()?,
        since: query.take("since").map(|text| time("since", &text, now)).transpose()?,
        until: query.take("until").map(|text| time("until", &text, now)).transpose()?,
    })
}

fn named<T: DeserializeOwned>(name: &str, text: Option<String>, known: &str) -> Result<Option<T>, Problem> {
    let read =
        |text| serde_json::from_value(Value::String(text)).map_err(|_| refused(name, format!("must be {known}")));
    text.map(read).transpose()
}

/// A point of time, or how long ago it was.
fn time(name: &str, text: &str, now: Micros) -> Result<Micros, Problem> {
    let ago = || {
        let length = SignedDuration::try_from(parse_duration(text).ok()?).ok()?;
        timestamp(now).checked_sub(length).ok()
    };
    let time = text.parse::<Timestamp>().ok().or_else(ago);
    let time = time.ok_or_else(|| {
        refused(name, "must be a time as RFC 3339 has it, 2030-01-31T03:00:00Z, or how long ago it was, 1h")
    })?;
    Ok(Micros(u64::try_from(time.as_microsecond()).unwrap_or_default()))
}
