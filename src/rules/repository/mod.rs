//! Where rules are kept when they change while the server runs: one interface, over Postgres and over an embedded
//! store, held to it by one test suite.
//!
//! A repository holds **records**: the rules of descriptor paths, temporary overrides of such rules, and settings of
//! domains. A record is known by its [`Subject`]; it has a current content, or is deleted.
//!
//! Every change is part of a **commit**: some records, changed all together or not at all, by one author. Commits are
//! numbered: each takes the next **revision**, and revisions become visible in their order. Whoever has seen revision n
//! asks for [`RuleRepository::changed_since`] n and misses nothing, as deleted records stay as tombstones. A commit that
//! changes nothing takes no revision.
//!
//! The **epoch** names one history of revisions. A database that was created anew has another, so that nobody takes its
//! revision 7 for the one that he knows. By [`RuleRepository::accept`] an operator declares a history to hold.
//!
//! Every version of every record is kept: who wrote it, when and why, and what was there before.
//!
//! What is read may have been written by somebody else (SQL, a newer version): such a content is [`Unreadable`], one by
//! one, and says why; everything else stands.

pub mod choice;
pub mod commit;
pub mod embedded;
pub mod postgres;
pub mod record;
pub mod secret;
pub mod token;

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

pub use commit::{Change, Commit, Committed, Expected};
pub use embedded::Embedded;
pub use postgres::Postgres;
pub use record::{Content, Epoch, Head, Override, Record, Revision, Stamp, Subject, Unreadable, Version};
pub use token::{Scope, Token, TokenRepository};

/// The most records or versions on a page.
pub const MAX_PAGE: usize = 1_000;
/// The most changes in a commit.
pub const MAX_CHANGES: usize = 1_000_000;

/// Why a repository did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// A record is not as the commit expects it; nothing was changed.
    #[error("{subject}: {found}, not {expected}")]
    Conflict {
        /// Which record.
        subject: Subject,
        /// What was expected.
        expected: Expected,
        /// What is there.
        found: Found,
    },
    /// The whole is at another revision than the commit is based on; nothing was changed.
    #[error("the rules are at revision {found}, not {expected}")]
    Moved {
        /// The revision that was expected.
        expected: Revision,
        /// The revision that is there.
        found: Revision,
    },
    /// A content that the repository cannot hold; nothing was changed.
    #[error("{subject}: {reason}")]
    Refused {
        /// Which record.
        subject: Subject,
        /// Why.
        reason: String,
    },
    /// A new token has the name of another.
    #[error("there is a token named '{0}' already; take another name, or revoke it first")]
    TokenExists(Box<str>),
    /// More changes than a commit can have.
    #[error("{0} changes in one commit, at most {MAX_CHANGES} are possible")]
    TooManyChanges(usize),
    /// It cannot be reached, or does not answer in time. What was asked has not been done, and may be asked again
    /// after `retry_after`.
    #[error("the rule repository is away: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
        /// When it makes sense to try again.
        retry_after: Duration,
    },
    /// The answer to a commit got lost. It may have been made or not, but not by half; the head tells.
    #[error("the rule repository went away during the commit, which may have been made or not: {reason}")]
    OutcomeUnknown {
        /// What happened.
        reason: String,
    },
    /// It is not what this version works with: not migrated, or a newer one.
    #[error("{0}")]
    Unusable(String),
}

/// What a record turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No such record, or a deleted one.
    Absent,
    /// A record, last changed by this revision.
    At(Revision),
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("there is none"),
            Self::At(revision) => write!(f, "is at revision {revision}"),
        }
    }
}

/// Which records a list has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this kind; `None` is every kind.
    pub kind: Option<record::Kind>,
    /// Only this domain.
    pub domain: Option<String>,
    /// Only paths that begin with this text.
    pub path_prefix: Option<String>,
    /// Only rules with this tag.
    pub tag: Option<String>,
    /// Only rules that are enabled, or that are not.
    pub enabled: Option<bool>,
}

/// Which page. Records are sorted by domain, then kind, then path; a page starts behind a subject that need not exist
/// any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<Cursor> {
    /// Behind which one; `None` from the start.
    pub after: Option<Cursor>,
    /// How many, 1 to [`MAX_PAGE`].
    pub size: usize,
}

/// What changed.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The head that these changes lead to, from the revision that was asked for.
    pub head: Head,
    /// The newest version of every record that changed, deleted ones too, by revision. A record that was created and
    /// deleted meanwhile may be there.
    pub records: Vec<Record>,
}

/// Keeps rules. All methods end within the repository's own deadline.
pub trait RuleRepository: Send + Sync {
    /// The newest revision.
    fn head(&self) -> impl Future<Output = Result<Head, RepositoryError>> + Send;

    /// Makes all of a commit's changes, or none. Idle changes, to what is there already, are left out.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, RepositoryError>> + Send;

    /// One record, if it exists and is not deleted.
    fn get(&self, subject: &Subject) -> impl Future<Output = Result<Option<Record>, RepositoryError>> + Send;

    /// A page of the records that exist.
    fn list(
        &self,
        filter: &Filter,
        page: Page<Subject>,
    ) -> impl Future<Output = Result<Vec<Record>, RepositoryError>> + Send;

    /// Versions from the newest to the oldest, of one record or of all; `after` is a revision, and those of a lower one
    /// follow. All versions of one revision are on one page, which may so be longer than asked.
    fn history(
        &self,
        subject: Option<&Subject>,
        page: Page<Revision>,
    ) -> impl Future<Output = Result<Vec<Version>, RepositoryError>> + Send;

    /// What a record was at a revision; `None` if it was not there.
    fn content_at(
        &self,
        subject: &Subject,
        revision: Revision,
    ) -> impl Future<Output = Result<Option<Result<Content, Unreadable>>, RepositoryError>> + Send;

    /// What changed behind a revision, consistently; `None` when it is more than `most` records, and everything had
    /// better be read.
    fn changed_since(
        &self,
        revision: Revision,
        most: usize,
    ) -> impl Future<Output = Result<Option<Changes>, RepositoryError>> + Send;

    /// Every record that exists, at one revision, in any order, without holding them all at once.
    fn read_all(&self, each: impl FnMut(Record) + Send) -> impl Future<Output = Result<Head, RepositoryError>> + Send;

    /// Says that what is here holds, whatever replicas had before: gives the repository a new epoch, accepted now, and
    /// takes a revision.
    fn accept(&self, author: &str, reason: Option<&str>) -> impl Future<Output = Result<Head, RepositoryError>> + Send;

    /// Changes whenever the repository is told of a new revision: a hint, that may come late or not at all.
    fn announced(&self) -> watch::Receiver<Revision>;
}
