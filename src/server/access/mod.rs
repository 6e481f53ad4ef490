//! Who may do what.
//!
//! Three things let a caller in: a bearer token with the scope that the call needs; the Unix socket of mode 0600, where
//! the caller is this process's own user; or the setting that lets in everybody. Without any of them it depends on
//! whether there has ever been a token:
//!
//! | a call that | before the first token | from then on | while it is not known |
//! |---|---|---|---|
//! | decides | open | needs `read` | open |
//! | reads | open | needs `read`, or `read-anomalies` | refused for now |
//! | changes | refused | needs its scope | refused for now |
//!
//! It is not known when the repository has been away ever since this process started. Decisions are then still made, as
//! they do not wait for the repository anywhere. A token that expires or is revoked does not make anything open again.
//!
//! A wrong token is refused even where none is needed, so that nobody works with one by mistake; only decisions before
//! the first token do not look at it, as a proxy may hand on its client's header. Wrong tokens are limited
//! per client ([`attempts`]), but a right one is never refused for the wrong ones of its neighbours: 256 random bits
//! need no such help.

pub mod attempts;
mod known;
pub mod peer;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use jiff::Timestamp;

use self::attempts::Attempts;
use self::known::{Known, Worthless};
pub use self::peer::Peer;
use crate::rules::repository::RepositoryError;
use crate::rules::repository::choice::Repository;
use crate::rules::repository::token::{Scope, TokenRepository as _};

/// How often tokens are read anew: a token revoked through another replica is honoured so much longer at most, and a
/// while longer when the repository is slow. When it is away, until it is back.
const REFRESH: Duration = Duration::from_secs(5);

/// The author of what somebody without a name does.
const UNAUTHENTICATED: &str = "(unauthenticated)";

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It decides.
    Decide,
    /// It reads rules, history or counters.
    Read,
    /// It changes rules.
    WriteRules,
    /// It shows what was found of clients.
    ReadAnomalies,
    /// It says what a finding was.
    ReviewAnomalies,
    /// It runs the service.
    Operate,
}

impl Need {
    /// The scope that allows it.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Decide | Self::Read => Scope::Read,
            Self::WriteRules => Scope::WriteRules,
            Self::ReadAnomalies => Scope::ReadAnomalies,
            Self::ReviewAnomalies => Scope::ReviewAnomalies,
            Self::Operate => Scope::Operate,
        }
    }
}

/// A scope's name, as in tokens.
#[must_use]
pub const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::WriteRules => "write-rules",
        Scope::ReadAnomalies => "read-anomalies",
        Scope::ReviewAnomalies => "review-anomalies",
        Scope::Operate => "operate",
    }
}

/// Who was let in. Its name is the author of what it changes; those in parentheses are of no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub Box<str>);

/// Why a caller is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No token, where one is needed.
    #[error("this needs a token with the scope '{}': Authorization: Bearer tg_...", scope_name(*.0))]
    NoToken(Scope),
    /// Something else than a bearer token.
    #[error("the header Authorization must be: Bearer tg_...")]
    NotBearer,
    /// A token that nobody knows.
    #[error("the token is not known here; a new one is known to every replica within {} seconds", REFRESH.as_secs())]
    Unknown,
    /// One that was known.
    #[error("the token has expired; make a new one")]
    Expired,
    /// One that somebody took back.
    #[error("the token was revoked")]
    Revoked,
    /// Too many wrong tokens.
    #[error("too many wrong tokens from this address; try again in {} seconds", .0.as_secs())]
    TooMany(Duration),
    /// A token that does not allow this.
    #[error("the token '{name}' lacks the scope '{}'", scope_name(*.scope))]
    Scope {
        /// The token's name.
        name: Box<str>,
        /// What it lacks.
        scope: Scope,
    },
    /// There has never been a token.
    #[error(
        "there is no token yet, so nothing can be changed from here; make one with `tidegate token create`, call through \
         the Unix socket (http.unix_socket), or, to try things out, start with --allow-unauthenticated"
    )]
    NoTokensYet,
    /// There can be no token.
    #[error(
        "tokens are kept with the rules in a repository, and the rules come from elsewhere (files, or an xDS server); call \
         through the Unix socket (http.unix_socket), or start with --allow-unauthenticated"
    )]
    NoTokensHere,
    /// The repository has not answered since the start.
    #[error("tokens cannot be checked, as the rule repository has been away since the start; try again")]
    NotKnown,
}

/// Lets callers in. Clones share what is known.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    known: ArcSwap<Known>,
    repository: Option<Arc<Repository>>,
    allow_unauthenticated: bool,
    attempts: Attempts,
    refused: [AtomicU64; 3],
}

/// Reasons of refusals, as metrics name them.
const REASONS: [&str; 3] = ["no_token", "wrong_token", "missing_scope"];

impl Access {
    /// Access by the tokens of a repository; without one there are none.
    #[must_use]
    pub fn new(repository: Option<Arc<Repository>>, allow_unauthenticated: bool) -> Self {
        let known = if repository.is_some() { Known::Nothing } else { Known::NoTokens };
        Self(Arc::new(Inner {
            known: ArcSwap::from_pointee(known),
            repository,
            allow_unauthenticated,
            attempts: Attempts::default(),
            refused: Default::default(),
        }))
    }

    /// Whether this caller may do that.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn allow(&self, authorization: Option<&HeaderValue>, peer: &Peer, need: Need) -> Result<Caller, Denied> {
        let allowed = match authorization {
            Some(header) => self.by_token(header, peer, need),
            None => self.without_token(peer, need),
        };
        allowed.inspect_err(|denied| {
            let reason = match denied {
                Denied::NoToken(_) | Denied::NoTokensYet | Denied::NoTokensHere => 0,
                Denied::Scope { .. } => 2,
                Denied::NotKnown => return,
                _ => 1,
            };
            self.0.refused[reason].fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, reason = REASONS[reason], "refused: {denied}");
        })
    }

    fn by_token(&self, header: &HeaderValue, peer: &Peer, need: Need) -> Result<Caller, Denied> {
        let known = self.0.known.load();
        match (&**known, need) {
            // The header may be a client's own, that a proxy hands on.
            (Known::Nothing | Known::NoTokens, Need::Decide) => return Ok(Caller(UNAUTHENTICATED.into())),
            (Known::Nothing, _) => return Err(Denied::NotKnown),
            _ => {}
        }
        let bearer = header.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let found = bearer.ok_or(Denied::NotBearer).and_then(|token| {
            known.find(token, Timestamp::now()).map_err(|worthless| match worthless {
                Worthless::Unknown => Denied::Unknown,
                Worthless::Expired => Denied::Expired,
                Worthless::Revoked => Denied::Revoked,
            })
        });
        let (name, scopes) = match found {
            Ok(found) => found,
            Err(denied) => {
                self.0.attempts.count(peer).map_err(Denied::TooMany)?;
                return Err(denied);
            }
        };
        let scope = need.scope();
        if scopes.contains(&scope) {
            return Ok(Caller(name.into()));
        }
        Err(Denied::Scope { name: name.into(), scope })
    }

    fn without_token(&self, peer: &Peer, need: Need) -> Result<Caller, Denied> {
        if let Peer::Owner { uid } = peer {
            return Ok(Caller(format!("(uid {uid})").into()));
        }
        let anybody = Ok(Caller(UNAUTHENTICATED.into()));
        if self.0.allow_unauthenticated {
            return anybody;
        }
        match (&**self.0.known.load(), need) {
            (Known::Nothing | Known::NoTokens, Need::Decide) | (Known::NoTokens, Need::Read | Need::ReadAnomalies) => {
                anybody
            }
            (Known::Nothing, _) => Err(Denied::NotKnown),
            (Known::NoTokens, _) if self.0.repository.is_none() => Err(Denied::NoTokensHere),
            (Known::NoTokens, _) => Err(Denied::NoTokensYet),
            (Known::Tokens(_), _) => Err(Denied::NoToken(need.scope())),
        }
    }

    /// Reads the tokens anew.
    ///
    /// # Errors
    /// When the repository does not tell; what was known still holds.
    pub async fn refresh(&self) -> Result<(), RepositoryError> {
        if let Some(repository) = &self.0.repository {
            let known = Known::new(repository.tokens().await?);
            if self.0.allow_unauthenticated && matches!(known, Known::Tokens(_)) && !self.has_tokens() {
                tracing::warn!(
                    "there are tokens, but everybody may change rules without one: http.allow_unauthenticated is set"
                );
            }
            self.0.known.store(Arc::new(known));
        }
        Ok(())
    }

    fn has_tokens(&self) -> bool {
        matches!(**self.0.known.load(), Known::Tokens(_))
    }

    /// Knows new tokens and revocations within seconds, for ever.
    pub async fn keep_fresh(self) {
        let mut away = false;
        let reading = async {
            loop {
                match self.refresh().await {
                    Ok(()) => away = false,
                    Err(error) => {
                        if !std::mem::replace(&mut away, true) {
                            tracing::warn!(%error, "tokens cannot be read; the ones known still hold");
                        }
                    }
                }
                tokio::time::sleep(REFRESH).await;
            }
        };
        tokio::join!(reading, self.0.attempts.keep_house());
    }

    /// How many calls were refused, by reason.
    #[must_use]
    pub fn refused(&self) -> Vec<(String, u64)> {
        let counts = REASONS.iter().zip(&self.0.refused);
        let mut refused: Vec<_> =
            counts.map(|(reason, count)| ((*reason).to_owned(), count.load(Ordering::Relaxed))).collect();
        refused.push(("limited".to_owned(), self.0.attempts.limited()));
        refused
    }
}
