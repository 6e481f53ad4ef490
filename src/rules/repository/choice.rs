//! The repository that the settings choose.

use jiff::Timestamp;
use tokio::sync::watch;

use super::commit::{Commit, Committed};
use super::memory::MemoryRepository;
use super::record::{Content, Head, Record, Revision, Subject, Unreadable, Version};
use super::token::{Token, TokenRepository};
use super::{Changes, Filter, Page, RepositoryError, RuleRepository};

/// One of the repositories.
#[derive(Debug)]
pub enum Repository {
    /// In this process's memory.
    Memory(MemoryRepository),
}

impl RuleRepository for Repository {
    async fn head(&self) -> Result<Head, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.head().await,
        }
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.commit(commit).await,
        }
    }

    async fn get(&self, subject: &Subject) -> Result<Option<Record>, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.get(subject).await,
        }
    }

    async fn list(&self, filter: &Filter, page: Page<Subject>) -> Result<Vec<Record>, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.list(filter, page).await,
        }
    }

    async fn history(
        &self,
        subject: Option<&Subject>,
        page: Page<Revision>,
    ) -> Result<Vec<Version>, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.history(subject, page).await,
        }
    }

    async fn content_at(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> Result<Option<Result<Content, Unreadable>>, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.content_at(subject, revision).await,
        }
    }

    async fn changed_since(&self, revision: Revision, most: usize) -> Result<Option<Changes>, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.changed_since(revision, most).await,
        }
    }

    async fn read_all(&self, each: impl FnMut(Record) + Send) -> Result<Head, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.read_all(each).await,
        }
    }

    async fn accept(&self, author: &str, reason: Option<&str>) -> Result<Head, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.accept(author, reason).await,
        }
    }

    fn announced(&self) -> watch::Receiver<Revision> {
        match self {
            Self::Memory(memory) => memory.announced(),
        }
    }
}

impl TokenRepository for Repository {
    async fn create_token(&self, token: Token) -> Result<(), RepositoryError> {
        match self {
            Self::Memory(memory) => memory.create_token(token).await,
        }
    }

    async fn tokens(&self) -> Result<Vec<Token>, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.tokens().await,
        }
    }

    async fn revoke_token(&self, name: &str, now: Timestamp) -> Result<bool, RepositoryError> {
        match self {
            Self::Memory(memory) => memory.revoke_token(name, now).await,
        }
    }
}
