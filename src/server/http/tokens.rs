//! `/tokens`: who may use this API. All of it needs the scope `operate`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Api;
use super::gate::Operator;
use super::openapi::refusals;
use super::problem::{Kind, Problem};
use super::request_id;
use super::rules::Store;
use super::rules::body::{Body, invalid};
use super::rules::change::{Audit, to_the_end};
use crate::config::scalar::parse_duration;
use crate::rules::repository::RepositoryError;
use crate::rules::repository::record::Stamp;
use crate::rules::repository::secret::Secret;
use crate::rules::repository::token::{Scope, Token, TokenRepository as _};
use crate::server::access::scope_name;

/// The longest name of a token.
const MAX_NAME: usize = 64;

/// A token to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name, and the author of what is done with it: letters, digits and `-_.`, at most 64.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    name: String,
    /// What it allows; at least one.
    #[schema(min_items = 1, value_type = Vec<ScopeName>)]
    scopes: Vec<Scope>,
    /// From when on it is worth nothing, as RFC 3339 has it; missing is never.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
    /// For how long it is worth something, `90d`, instead of `expires`.
    #[serde(default, rename = "for")]
    length: Option<String>,
}

/// What a token allows.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[allow(dead_code, reason = "documents Scope")]
pub enum ScopeName {
    /// See rules and history, and decide over HTTP.
    Read,
    /// Change rules and overrides.
    WriteRules,
    /// See anomalies.
    ReadAnomalies,
    /// Confirm and dismiss anomalies.
    ReviewAnomalies,
    /// Make tokens, reset counters, and whatever else runs the service.
    Operate,
}

/// A token.
#[derive(Serialize, ToSchema)]
pub struct TokenDocument {
    /// Its name.
    name: String,
    /// What it allows.
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<Scope>,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// By whom.
    created_by: String,
    /// From when on it is worth nothing; `null` is never.
    expires: Option<String>,
    /// Since when it is worth nothing.
    revoked: Option<String>,
    /// Its text, when it is made and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// All tokens.
#[derive(ToSchema)]
#[allow(dead_code, reason = "documents the list")]
pub struct TokenList {
    /// By name and time of making.
    tokens: Vec<TokenDocument>,
}

fn document(token: &Token, secret: Option<&Secret>) -> TokenDocument {
    TokenDocument {
        name: token.name.to_string(),
        scopes: token.scopes.clone(),
        created_at: token.created.at.to_string(),
        created_by: token.created.by.to_string(),
        expires: token.expires.map(|time| time.to_string()),
        revoked: token.revoked.map(|time| time.to_string()),
        token: secret.map(|secret| secret.reveal().to_owned()),
    }
}

/// List tokens
///
/// Revoked ones, too. Their texts are kept nowhere.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", operation_id = "listTokens",
    responses((status = 200, description = "All of them", body = TokenList), refusals::Reading),
)]
pub async fn list(store: Store, _: Operator) -> Result<Json<Value>, Problem> {
    let tokens = store.repository.tokens().await?;
    let tokens: Vec<_> = tokens.iter().map(|token| document(token, None)).collect();
    Ok(Json(json!({ "tokens": tokens })))
}

/// Make a token
///
/// The answer is the only place where its text is ever shown.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", operation_id = "createToken",
    request_body = NewToken,
    responses((status = 201, description = "Made", body = TokenDocument), refusals::Writing),
)]
pub async fn create(
    State(api): State<Arc<Api>>,
    store: Store,
    Operator(caller): Operator,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let new: NewToken = Body::read(&headers, body)?.form()?;
    let now = Timestamp::now();
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=MAX_NAME).contains(&new.name.len()) || !new.name.bytes().all(sane) {
        return Err(invalid("name", format!("must be 1 to {MAX_NAME} letters, digits and -_.")));
    }
    let mut scopes = new.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(invalid(
            "scopes",
            "is empty; write one or more of read, write-rules, read-anomalies, review-anomalies, operate",
        ));
    }
    let expires = match (new.expires, new.length) {
        (Some(_), Some(_)) => return Err(invalid("for", "expires and for exclude each other; leave one of them out")),
        (None, Some(text)) => {
            let length = parse_duration(&text).map_err(|reason| invalid("for", reason))?;
            let end = SignedDuration::try_from(length).ok().and_then(|length| now.checked_add(length).ok());
            Some(end.ok_or_else(|| invalid("for", "is longer than time goes; leave it out for a token without end"))?)
        }
        (expires, None) => expires,
    };
    if expires.is_some_and(|expires| expires <= now) {
        return Err(invalid("expires", "is over already; write a time to come"));
    }
    let secret = Secret::generate().map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let created = Stamp { at: now, by: caller.0 };
    let token = Token { name: new.name.into(), hash: secret.hash(), scopes, created, expires, revoked: None };
    let shown = document(&token, Some(&secret));
    let store = store.clone();
    to_the_end(async move {
        let (author, name) = (token.created.by.clone(), token.name.clone());
        let scopes = token.scopes.iter().map(|scope| scope_name(*scope)).collect::<Vec<_>>().join(", ");
        store.repository.create_token(token).await.map_err(|error| match error {
            RepositoryError::TokenExists(_) => Problem::new(
                Kind::Conflict,
                format!("there is a token '{name}' already; revoke it, or use another name"),
            ),
            other => other.into(),
        })?;
        let audit = Audit { action: "create token", subject: format!("{name} ({scopes})") };
        audit.log(&author, None, request_id::current().as_deref());
        refresh(&api).await;
        Ok(())
    })
    .await?;
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(shown)).into_response())
}

/// Revoke a token
///
/// This replica stops honouring it at once, others within 5 seconds, or, while they cannot reach the repository, as soon
/// as they can again.
#[utoipa::path(
    delete, path = "/tokens/{name}", tag = "tokens", operation_id = "revokeToken",
    params(("name" = String, Path, description = "The token's name")),
    responses((status = 204, description = "Revoked"), refusals::Deleting),
)]
pub async fn revoke(
    State(api): State<Arc<Api>>,
    store: Store,
    Operator(caller): Operator,
    name: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(name) = name.map_err(|_| Problem::new(Kind::Malformed, "name: must be UTF-8, percent-encoded"))?;
    let store = store.clone();
    to_the_end(async move {
        if !store.repository.revoke_token(&name, Timestamp::now()).await? {
            return Err(Problem::new(Kind::NotFound, "there is no token of that name that is not revoked"));
        }
        let audit = Audit { action: "revoke token", subject: name };
        audit.log(&caller.0, None, request_id::current().as_deref());
        refresh(&api).await;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// At once, not after seconds, on the replica that was asked.
async fn refresh(api: &Api) {
    if let Err(error) = api.context.access.refresh().await {
        tracing::warn!(%error, "tokens changed and cannot be read now; they will be within seconds");
    }
}
