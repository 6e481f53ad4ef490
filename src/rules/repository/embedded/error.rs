//! What redb's failures mean to who asked.

use std::time::Duration;

use redb::{CommitError, StorageError, TableError, TransactionError};
use tokio::task::JoinError;

use crate::rules::repository::RepositoryError;

/// When it makes sense to ask again: a disk is seldom back sooner.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

fn damaged(reason: impl std::fmt::Display) -> RepositoryError {
    RepositoryError::Unusable(format!("the rule store is damaged ({reason}); put a copy of its file in its place"))
}

impl From<StorageError> for RepositoryError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(reason) => damaged(reason),
            StorageError::ValueTooLarge(_) => Self::Unusable(error.to_string()),
            _ => Self::Unavailable { reason: error.to_string(), retry_after: RETRY_AFTER },
        }
    }
}

impl From<TableError> for RepositoryError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            _ => damaged(error),
        }
    }
}

impl From<TransactionError> for RepositoryError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            _ => Self::Unavailable { reason: error.to_string(), retry_after: RETRY_AFTER },
        }
    }
}

impl From<CommitError> for RepositoryError {
    fn from(error: CommitError) -> Self {
        Self::OutcomeUnknown { reason: error.to_string() }
    }
}

/// A key or value that this version writes otherwise.
pub(super) fn strange(what: &str, text: impl std::fmt::Display) -> RepositoryError {
    damaged(format_args!("'{text}' is no {what}"))
}

/// Work that did not end of its own: redb panics over some damage, and a runtime that shuts down begins nothing.
pub(super) fn join_error(error: &JoinError) -> RepositoryError {
    if error.is_panic() {
        damaged("reading it failed")
    } else {
        RepositoryError::Unavailable { reason: "the server is shutting down".to_owned(), retry_after: RETRY_AFTER }
    }
}
