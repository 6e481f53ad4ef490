//! What was found, for people: one record an incident, from its first flag to its end and what a person says of it.
//!
//! What an event makes of a record is said once, in [`finding`], and done by each store: [`postgres`], where the settings
//! name one, else [`embedded`]. Both are held to [`Findings`] by one test suite.

pub mod choice;
mod document;
pub mod embedded;
pub mod filter;
pub mod finding;
pub mod postgres;
mod time;

use std::fmt;

use futures_util::future::BoxFuture;

pub use choice::FindingStore;
pub use filter::{Filter, Listed, Page};
pub use finding::{Action, Finding, State, Step, What};
pub use time::timestamp;

use super::bus::BusError;
use super::event::{Event, Feedback, Verdict};
use crate::core::clock::Micros;

/// The most findings on a page.
pub const MAX_PAGE: usize = 1_000;
/// The most findings that [`Findings::reviewed`] gives.
pub const MAX_REVIEWED: usize = 10_000;

/// Why findings cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum FindingsError {
    /// Where they are kept does not answer.
    #[error("findings cannot be read or written now: {0}")]
    Away(String),
    /// What is kept cannot be read.
    #[error("findings are damaged: {0}")]
    Damaged(String),
    /// Where they are kept is not what this version works with, or does not let us.
    #[error("findings cannot be kept: {0}")]
    Unusable(String),
}

/// What a person says of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The verdict.
    pub verdict: Verdict,
    /// Who says so.
    pub by: String,
    /// Why.
    pub note: Option<String>,
    /// When: wall time.
    pub at: Micros,
}

/// Keeps findings. Every call ends within the store's own deadline.
pub trait Findings: Send + Sync {
    /// Notes what happened, in its order. Events that were noted before change nothing.
    fn note(&self, events: &[Event]) -> impl Future<Output = Result<(), FindingsError>> + Send;

    /// A page of what was found, the newest first, without histories. What cannot be read is left out, and told in the log.
    fn list(&self, filter: &Filter, page: Page) -> impl Future<Output = Result<Listed, FindingsError>> + Send;

    /// One finding with its history; `None` when there is none, or not any more.
    fn get(&self, id: u64) -> impl Future<Output = Result<Option<Finding>, FindingsError>> + Send;

    /// Records what a person says, and gives the finding as it is then, with its history. The same verdict again changes
    /// nothing, unless it has another note.
    fn review(&self, id: u64, review: &Review) -> impl Future<Output = Result<Option<Finding>, FindingsError>> + Send;

    /// What was confirmed or dismissed since then, the newest first, at most [`MAX_REVIEWED`], without histories.
    fn reviewed(&self, since: Micros) -> impl Future<Output = Result<Vec<Finding>, FindingsError>> + Send;

    /// Forgets up to `most` of the findings that were last seen before then; tells how many.
    fn prune(&self, before: Micros, most: usize) -> impl Future<Output = Result<usize, FindingsError>> + Send;
}

/// Takes what people say of findings to the workers of all replicas.
pub trait Tell: fmt::Debug + Send + Sync {
    /// Tells it; of a dismissal, every replica lifts the adjustment then.
    fn tell(&self, feedback: Feedback) -> BoxFuture<'_, Result<(), BusError>>;
}
