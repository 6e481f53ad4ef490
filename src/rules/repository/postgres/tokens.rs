//! Tokens.

use std::time::SystemTime;

use deadpool_postgres::Client;
use jiff::Timestamp;
use tokio_postgres::error::SqlState;

use super::{Shared, failure, rows};
use crate::rules::repository::RepositoryError;
use crate::rules::repository::token::{Scope, Token};

fn system(time: Timestamp) -> Result<SystemTime, RepositoryError> {
    SystemTime::try_from(time).map_err(|error| failure::unavailable(format!("{time}: {error}")))
}

/// Keeps a token.
pub(super) async fn create(shared: &Shared, token: &Token) -> Result<(), RepositoryError> {
    let client = shared.within(shared.settings.statement_timeout, shared.client()).await?;
    let text = "INSERT INTO public.api_tokens (name, hash, scopes, created_at, created_by, expires_at, revoked_at) \
                VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let scopes: Vec<String> = token.scopes.iter().map(|scope| scope_name(*scope)).collect();
    let (expires, revoked) = (token.expires.map(system).transpose()?, token.revoked.map(system).transpose()?);
    let created = system(token.created.at)?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [&&*token.name, &&token.hash[..], &scopes, &created, &&*token.created.by, &expires, &revoked];
    match shared.decided(shared.settings.statement_timeout, client.execute(text, &parameters)).await? {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            Err(RepositoryError::TokenExists(token.name.clone()))
        }
        Err(error) => Err(error.into()),
    }
}

/// All tokens, in their order.
pub(super) async fn list(client: &Client) -> Result<Vec<Token>, RepositoryError> {
    let text = "SELECT name, hash, scopes, created_at, created_by, expires_at, revoked_at FROM public.api_tokens \
                ORDER BY name, created_at, id";
    let mut tokens = Vec::new();
    for row in client.query(text, &[]).await? {
        let scopes: Vec<&str> = row.try_get(2)?;
        let mut scopes: Vec<Scope> = scopes.into_iter().filter_map(scope).collect();
        scopes.sort_unstable();
        let time = |column: usize| {
            Ok::<_, RepositoryError>(row.try_get::<_, Option<SystemTime>>(column)?.map(rows::timestamp))
        };
        tokens.push(Token {
            name: row.try_get::<_, &str>(0)?.into(),
            hash: row.try_get::<_, &[u8]>(1)?.try_into().unwrap_or_default(),
            scopes,
            created: rows::stamp(row.try_get(3)?, row.try_get(4)?),
            expires: time(5)?,
            revoked: time(6)?,
        });
    }
    Ok(tokens)
}

/// Revokes a token.
pub(super) async fn revoke(shared: &Shared, name: &str, now: Timestamp) -> Result<bool, RepositoryError> {
    let client = shared.within(shared.settings.statement_timeout, shared.client()).await?;
    let text = "UPDATE public.api_tokens SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL";
    let revoked =
        shared.decided(shared.settings.statement_timeout, client.execute(text, &[&name, &system(now)?])).await??;
    Ok(revoked > 0)
}

fn scope_name(scope: Scope) -> String {
    serde_json::to_value(scope).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

/// A scope that this version does not know allows nothing here.
fn scope(name: &str) -> Option<Scope> {
    serde_json::from_value(serde_json::Value::from(name)).ok()
}
