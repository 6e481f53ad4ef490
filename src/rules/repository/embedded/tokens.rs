//! Tokens.

use jiff::Timestamp;
use redb::{Database, ReadableTable};

use super::error::strange;
use super::read::View;
use super::tables::{TOKENS, TokenKey, TokenValue, time};
use crate::rules::repository::{RepositoryError, Stamp, Token};

/// Keeps a token.
pub(super) fn create(database: &Database, token: &Token) -> Result<(), RepositoryError> {
    let transaction = database.begin_write()?;
    {
        let mut tokens = transaction.open_table(TOKENS)?;
        if valid(&tokens, &token.name)?.is_some() {
            return Err(RepositoryError::TokenExists(token.name.clone()));
        }
        let scopes = serde_json::to_string(&token.scopes).map_err(|error| strange("list of scopes", error))?;
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
        let value = (&*token.created.by, &*scopes, micros(token.expires), micros(token.revoked));
        tokens.insert((&*token.name, token.created.at.as_microsecond(), &token.hash), value)?;
    }
    Ok(transaction.commit()?)
}

/// All tokens, in their order.
pub(super) fn list(view: &View) -> Result<Vec<Token>, RepositoryError> {
    let mut tokens = Vec::new();
    for there in view.tokens.iter()? {
        let (key, value) = there?;
        let ((name, at, hash), (by, scopes, expires, revoked)) = (key.value(), value.value());
        tokens.push(Token {
            name: name.into(),
            hash: *hash,
            scopes: serde_json::from_str(scopes).map_err(|_| strange("list of scopes", scopes))?,
            created: Stamp { at: time(at)?, by: by.into() },
            expires: expires.map(time).transpose()?,
            revoked: revoked.map(time).transpose()?,
        });
    }
    Ok(tokens)
}

/// Revokes a token; `false` when there is none.
pub(super) fn revoke(database: &Database, name: &str, now: Timestamp) -> Result<bool, RepositoryError> {
    let transaction = database.begin_write()?;
    {
        let mut tokens = transaction.open_table(TOKENS)?;
        let Some((at, hash)) = valid(&tokens, name)? else { return Ok(false) };
        let Some(there) = tokens.get((name, at, &hash))? else { return Ok(false) };
        let (by, scopes, expires, _) = there.value();
        let (by, scopes) = (by.to_owned(), scopes.to_owned());
        drop(there);
        tokens.insert((name, at, &hash), (&*by, &*scopes, expires, Some(now.as_microsecond())))?;
    }
    transaction.commit()?;
    Ok(true)
}

/// What else tells the token of a name from others: the one that is not revoked.
fn valid(
    tokens: &impl ReadableTable<TokenKey<'static>, TokenValue<'static>>,
    name: &str,
) -> Result<Option<(i64, [u8; 32])>, RepositoryError> {
    for there in tokens.range((name, i64::MIN, &[0; 32])..=(name, i64::MAX, &[u8::MAX; 32]))? {
        let (key, value) = there?;
        let (_, at, hash) = key.value();
        if value.value().3.is_none() {
            return Ok(Some((at, *hash)));
        }
    }
    Ok(None)
}
