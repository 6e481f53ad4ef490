//! What was found, for people: one record an incident, from its first flag to its end and what a person says of it.

use super::event::{Event, Verdict};
use crate::core::clock::Micros;

/// Why findings cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum FindingsError {
    /// Where they are kept does not answer.
    #[error("findings cannot be read or written now: {0}")]
    Away(String),
    /// What is kept cannot be read.
    #[error("findings are damaged: {0}")]
    Damaged(String),
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

/// Keeps findings.
pub trait Findings: Send + Sync {
    /// Notes what happened, in its order. Events that were noted before change nothing.
    fn note(&self, events: &[Event]) -> impl Future<Output = Result<(), FindingsError>> + Send;
}
