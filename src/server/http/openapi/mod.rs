//! The API's document, made of the code: what each route takes and answers stands at its handler, and what records look
//! like in [`records`]. `docs/openapi.json` is a copy, held against it by a test; `/docs` shows it, from this server
//! alone.

pub mod decisions;
pub mod records;
pub mod refusals;

use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::anomaly;
use super::problem::ProblemDocument;
use super::rules::{
    accept, apply, delete, domains, export, history, list, overrides, replace, rollback, rollback_all, set, show,
};
use super::{health, json, rate_limit, tokens};

/// The page needs nothing but itself and the document.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The whole document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        description = "Rate limits: decisions for anything that is not Envoy, the rules they follow, and what the anomaly worker found.\n\nEvery answer \
                       has the header `x-request-id`, the caller's own if it sent a sane one. Every refusal is a problem \
                       document (RFC 9457), except those of `/json`, which are text.",
    ),
    paths(
        rate_limit::decide, json::decide,
        list::list, set::set, show::show, replace::replace, delete::delete,
        history::of_rule, rollback::rule, history::all, rollback_all::all,
        overrides::all, overrides::get, overrides::put, overrides::end,
        domains::get, domains::put,
        anomaly::list::list, anomaly::show::show, anomaly::confirm::confirm, anomaly::dismiss::dismiss,
        tokens::list, tokens::create, tokens::revoke,
        apply::apply, export::export, accept::accept,
        health::healthcheck, health::livez, health::readyz,
        document, page,
    ),
    components(schemas(ProblemDocument)),
    modifiers(&Tokens),
    security((), ("token" = [])),
    tags(
        (name = "decisions", description = "May this request pass? Scope `read`, once there is a token."),
        (name = "rules", description = "Scopes `read` and `write-rules`."),
        (name = "history", description = "Who changed what, and the way back. Scopes `read` and `write-rules`."),
        (name = "overrides", description = "What holds for a time instead of a rule. Scopes `read` and `write-rules`."),
        (name = "domains", description = "What holds for all rules of a domain. Scopes `read` and `write-rules`."),
        (name = "anomalies", description = "What the anomaly worker found, and what people say of it. Scopes `read-anomalies` and `review-anomalies`."),
        (name = "tokens", description = "Who may use this API. Scope `operate`."),
        (name = "operation", description = "Scope `operate`."),
        (name = "health", description = "Open to everybody."),
    ),
)]
struct Document;

/// How tokens are sent.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of this API, `tg_...`; `tidegate token create` makes one."))
            .build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

/// The document's text, as `docs/openapi.json` has it.
#[must_use]
pub fn text() -> &'static str {
    &TEXT
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "health", operation_id = "getDocument",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")),
)]
pub async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], text())
}

/// This document as a page to read
#[utoipa::path(
    get, path = "/docs", tag = "health", operation_id = "getPage",
    responses((status = 200, description = "A page that needs nothing from elsewhere", body = String, content_type = "text/html")),
)]
pub async fn page() -> impl IntoResponse {
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(include_str!("page.html")))
}
