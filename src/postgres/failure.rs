//! What failures mean to whoever asked.

use std::error::Error as _;
use std::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot be reached, or does not answer in time; it can be tried again.
    #[error("{0}")]
    Away(String),
    /// It is not what this version works with, or does not let us.
    #[error("{0}")]
    Unusable(String),
}

impl Failure {
    /// It did not answer in time.
    #[must_use]
    pub fn late(what: &str, time: Duration) -> Self {
        Self::Away(format!("{what} took longer than {}", humantime::format_duration(time)))
    }
}

impl From<Error> for Failure {
    /// A statement failed, or the connection: nothing was done. Not for COMMIT.
    fn from(error: Error) -> Self {
        let text = sentence(&error);
        match error.code().map(SqlState::code) {
            // Tables, functions, columns or types that are not there.
            Some("42P01" | "42883" | "42703" | "42704" | "3F000") => Self::Unusable(format!(
                "the database lacks what this version needs ({text}); run `tidegate db migrate`"
            )),
            Some("42501") => Self::Unusable(format!("the database's role may not do this ({text})")),
            Some("25006") => {
                Self::Away(format!("the database takes no changes, it is a standby or read-only ({text})"))
            }
            _ => Self::Away(text),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(TimeoutType::Wait) => Self::Away("all connections to the database are in use".into()),
            PoolError::Timeout(_) => Self::Away("the database does not answer".into()),
            other => Self::Away(other.to_string()),
        }
    }
}

/// Whether the server refused what was to be written, by a constraint or because it is no value.
#[must_use]
pub fn is_refusal(error: &Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("23") || code.code().starts_with("22"))
}

/// Whether what failed certainly committed nothing: the server said so, and not while it was going away.
#[must_use]
pub fn is_certain(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        *code == SqlState::QUERY_CANCELED
            || !["08", "57", "58", "XX"].iter().any(|class| code.code().starts_with(class))
    })
}

/// An error with its causes.
#[must_use]
pub fn sentence(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return match error.hint() {
            Some(hint) => format!("{}; {hint}", error.message()),
            None => error.message().to_owned(),
        };
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
