//! Tokens of the API: kept as hashes, never in the clear.

use std::future::Future;

use jiff::Timestamp;

use super::RepositoryError;
use super::record::Stamp;

/// What a token allows. Ordered by nothing: each is granted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// See rules and history, and decide over HTTP.
    Read,
    /// Change rules and overrides.
    WriteRules,
    /// See what the anomaly worker found, which is about people.
    ReadAnomalies,
    /// Confirm and dismiss what it found.
    ReviewAnomalies,
    /// Reset counters, accept a replaced database, and whatever else runs the service.
    Operate,
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Names it, in lists and as the author of what is done with it. Unique among those not revoked.
    pub name: Box<str>,
    /// SHA-256 of the token's text.
    pub hash: [u8; 32],
    /// What it allows; not empty, sorted.
    pub scopes: Vec<Scope>,
    /// By whom it was made.
    pub created: Stamp,
    /// From when on it is worth nothing; `None` is never.
    pub expires: Option<Timestamp>,
    /// Since when it is worth nothing.
    pub revoked: Option<Timestamp>,
}

/// Keeps tokens.
pub trait TokenRepository: Send + Sync {
    /// Keeps a new token.
    ///
    /// Fails with [`RepositoryError::TokenExists`] when there is one of that name that is not revoked.
    fn create_token(&self, token: Token) -> impl Future<Output = Result<(), RepositoryError>> + Send;

    /// All of them, revoked ones too, by name and time of making.
    fn tokens(&self) -> impl Future<Output = Result<Vec<Token>, RepositoryError>> + Send;

    /// Revokes the token of that name; `false` when there is none that is not revoked.
    fn revoke_token(&self, name: &str, now: Timestamp) -> impl Future<Output = Result<bool, RepositoryError>> + Send;
}
