//! The tokens that this replica knows of: read every few seconds, and at once after a change through this replica. When
//! the repository is away, what was known last still holds.

use std::collections::HashMap;

use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use crate::rules::repository::secret;
use crate::rules::repository::token::{Scope, Token};

/// The most tokens that are remembered; more are told, and not honoured.
const MAX_TOKENS: usize = 10_000;

/// What is known of tokens.
#[derive(Debug)]
pub enum Known {
    /// Nothing yet: the repository has not answered since the start.
    Nothing,
    /// There has never been a token.
    NoTokens,
    /// The tokens that there were, the worthless ones too, by their hash.
    Tokens(HashMap<[u8; 32], Held>),
}

/// What a token is worth.
#[derive(Clone, Debug)]
pub struct Held {
    hash: [u8; 32],
    name: Box<str>,
    scopes: Vec<Scope>,
    expires: Option<Timestamp>,
    revoked: bool,
}

/// Why a token is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worthless {
    /// There is none of that text.
    Unknown,
    /// It was once.
    Expired,
    /// Somebody took it back.
    Revoked,
}

impl Known {
    /// What the repository says.
    pub fn new(tokens: Vec<Token>) -> Self {
        if tokens.is_empty() {
            return Self::NoTokens;
        }
        if tokens.len() > MAX_TOKENS {
            tracing::error!(
                tokens = tokens.len(),
                "there are more tokens than the {MAX_TOKENS} that are honoured; the oldest of the revoked ones are left out \
                 first"
            );
        }
        let mut tokens = tokens;
        tokens.sort_by_key(|token| (token.revoked.is_some(), std::cmp::Reverse(token.created.at)));
        let held = tokens.into_iter().take(MAX_TOKENS).map(|token| {
            let Token { name, hash, scopes, expires, revoked, .. } = token;
            (hash, Held { hash, name, scopes, expires, revoked: revoked.is_some() })
        });
        Self::Tokens(held.collect())
    }

    /// What the token of this text is called and allows.
    ///
    /// # Errors
    /// When it is worth nothing.
    pub fn find(&self, text: &str, now: Timestamp) -> Result<(&str, &[Scope]), Worthless> {
        let hash = secret::hash(text);
        let Self::Tokens(tokens) = self else { return Err(Worthless::Unknown) };
        // Whoever could choose hashes byte by byte could find one by time; nobody can, and the last step tells nothing.
        let held = tokens.get(&hash).filter(|held| held.hash.ct_eq(&hash).into()).ok_or(Worthless::Unknown)?;
        if held.revoked {
            return Err(Worthless::Revoked);
        }
        if held.expires.is_some_and(|expires| expires <= now) {
            return Err(Worthless::Expired);
        }
        Ok((&held.name, &held.scopes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::repository::record::Stamp;

    #[test]
    fn a_token_is_worth_its_scopes_until_it_ends() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let token = |name: &str, expires, revoked| Token {
            name: name.into(),
            hash: secret::hash(name),
            scopes: vec![Scope::Read],
            created: Stamp { at: second(0), by: "a".into() },
            expires,
            revoked,
        };
        let known = Known::new(vec![
            token("plain", None, None),
            token("short", Some(second(10)), None),
            token("gone", None, Some(second(1))),
        ]);
        assert_eq!(known.find("plain", second(99)), Ok(("plain", &[Scope::Read][..])));
        assert_eq!(known.find("short", second(9)), Ok(("short", &[Scope::Read][..])));
        assert_eq!(known.find("short", second(10)), Err(Worthless::Expired));
        assert_eq!(known.find("gone", second(2)), Err(Worthless::Revoked));
        assert_eq!(known.find("other", second(2)), Err(Worthless::Unknown));
        assert!(matches!(Known::new(Vec::new()), Known::NoTokens));
    }
}
