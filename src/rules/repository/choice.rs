//! The repository that the settings choose.

use jiff::Timestamp;
use tokio::sync::watch;

use super::commit::{Commit, Committed};
use super::embedded::Embedded;
use super::postgres::Postgres;
use super::record::{Content, Head, Record, Revision, Subject, Unreadable, Version};
use super::token::{Token, TokenRepository};
use super::{Changes, Filter, Page, RepositoryError, RuleRepository};

/// One of the repositories.
#[derive(Debug)]
pub enum Repository {
    /// In a file, or in this process's memory.
    Embedded(Embedded),
    /// In a PostgreSQL.
    Postgres(Postgres),
}

/// The same call on whichever it is.
macro_rules! each {
    ($self:ident, $one:ident => $call:expr) => {
        match $self {
            Self::Embedded($one) => $call,
            Self::Postgres($one) => $call,
        }
    };
}

impl RuleRepository for Repository {
    async fn head(&self) -> Result<Head, RepositoryError> {
        each!(self, one => one.head().await)
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, RepositoryError> {
        each!(self, one => one.commit(commit).await)
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, RepositoryError> {
        each!(self, one => one.get(subject).await)
    }

    async fn list(&self, filter: &Filter, page: Page<Subject>) -> Result<Vec<Record>, RepositoryError> {
        each!(self, one => one.list(filter, page).await)
    }

    async fn history(&self, subject: Option<&Subject>, page: Page<Revision>) -> Result<Vec<Version>, RepositoryError> {
        each!(self, one => one.history(subject, page).await)
    }

    async fn content_at(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> Result<Option<Result<Content, Unreadable>>, RepositoryError> {
        each!(self, one => one.content_at(subject, revision).await)
    }

    async fn changed_since(&self, revision: Revision, most: usize) -> Result<Option<Changes>, RepositoryError> {
        each!(self, one => one.changed_since(revision, most).await)
    }

    async fn read_all(&self, each: impl FnMut(Record) + Send) -> Result<Head, RepositoryError> {
        each!(self, one => one.read_all(each).await)
    }

    async fn accept(&self, author: &str, reason: Option<&str>) -> Result<Head, RepositoryError> {
        each!(self, one => one.accept(author, reason).await)
    }

    fn announced(&self) -> watch::Receiver<Revision> {
        each!(self, one => one.announced())
    }
}

impl TokenRepository for Repository {
    async fn create_token(&self, token: Token) -> Result<(), RepositoryError> {
        each!(self, one => one.create_token(token).await)
    }

    async fn tokens(&self) -> Result<Vec<Token>, RepositoryError> {
        each!(self, one => one.tokens().await)
    }

    async fn revoke_token(&self, name: &str, now: Timestamp) -> Result<bool, RepositoryError> {
        each!(self, one => one.revoke_token(name, now).await)
    }
}
