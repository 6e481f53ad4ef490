//! Handlers say in their arguments what a caller must be allowed; the check runs before a body is read.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::problem::{Kind, Problem};
use crate::server::access::{Access, Caller, Denied, Need, Peer};

/// Who may ask for decisions.
pub struct Decider;
/// Who may read rules and history.
pub struct Reader;
/// Who may change rules.
pub struct Writer(pub Caller);
/// Who may see what was found of clients.
pub struct Watcher;
/// Who may say what it was.
pub struct Reviewer(pub Caller);
/// Who may run the service.
pub struct Operator(pub Caller);

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let kind = match denied {
            Denied::NoToken(_) | Denied::NotBearer | Denied::Unknown | Denied::Expired | Denied::Revoked => {
                Kind::Unauthorized
            }
            Denied::Scope { .. } | Denied::NoTokensYet | Denied::NoTokensHere => Kind::Forbidden,
            Denied::TooMany(_) => Kind::TooManyRequests,
            Denied::NotKnown => Kind::Unavailable,
        };
        let problem = Self::new(kind, denied.to_string());
        match denied {
            Denied::TooMany(wait) => problem.retry_after(wait),
            _ => problem,
        }
    }
}

fn check<S>(parts: &Parts, state: &S, need: Need) -> Result<Caller, Problem>
where
    Access: FromRef<S>,
{
    let peer = parts.extensions.get::<Peer>().copied().unwrap_or(Peer::Stranger);
    Ok(Access::from_ref(state).allow(parts.headers.get(AUTHORIZATION), &peer, need)?)
}

impl<S: Send + Sync> FromRequestParts<S> for Decider
where
    Access: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check(parts, state, Need::Decide).map(|_| Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reader
where
    Access: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check(parts, state, Need::Read).map(|_| Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Writer
where
    Access: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check(parts, state, Need::WriteRules).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator
where
    Access: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check(parts, state, Need::Operate).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Watcher
where
    Access: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check(parts, state, Need::ReadAnomalies).map(|_| Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reviewer
where
    Access: FromRef<S>,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check(parts, state, Need::ReviewAnomalies).map(Self)
    }
}
