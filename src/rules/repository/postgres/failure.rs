//! What failures of Postgres mean to whoever asked for rules.

use std::time::Duration;

use deadpool_postgres::PoolError;
use tokio_postgres::Error;

use crate::postgres::Failure;
use crate::rules::repository::RepositoryError;

/// When to try again what was not done.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// It was not done, and can be tried again.
pub(super) fn unavailable(reason: impl Into<String>) -> RepositoryError {
    RepositoryError::Unavailable { reason: reason.into(), retry_after: RETRY_AFTER }
}

/// It did not answer in time.
pub(super) fn late(what: &str, time: Duration) -> RepositoryError {
    Failure::late(what, time).into()
}

impl From<Failure> for RepositoryError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away(reason) => unavailable(reason),
            Failure::Unusable(reason) => Self::Unusable(reason),
        }
    }
}

impl From<Error> for RepositoryError {
    /// A statement failed, or the connection: nothing was done. Not for COMMIT.
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<PoolError> for RepositoryError {
    fn from(error: PoolError) -> Self {
        Failure::from(error).into()
    }
}
