//! The store that the settings choose.

use super::embedded::Embedded;
use super::postgres::Postgres;
use super::{Filter, Finding, Findings, FindingsError, Listed, Page, Review};
use crate::anomaly::event::Event;
use crate::core::clock::Micros;

/// One of the stores.
#[derive(Debug)]
pub enum FindingStore {
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

impl Findings for FindingStore {
    async fn note(&self, events: &[Event]) -> Result<(), FindingsError> {
        each!(self, one => one.note(events).await)
    }

    async fn list(&self, filter: &Filter, page: Page) -> Result<Listed, FindingsError> {
        each!(self, one => one.list(filter, page).await)
    }

    async fn get(&self, id: u64) -> Result<Option<Finding>, FindingsError> {
        each!(self, one => one.get(id).await)
    }

    async fn review(&self, id: u64, review: &Review) -> Result<Option<Finding>, FindingsError> {
        each!(self, one => one.review(id, review).await)
    }

    async fn reviewed(&self, since: Micros) -> Result<Vec<Finding>, FindingsError> {
        each!(self, one => one.reviewed(since).await)
    }

    async fn prune(&self, before: Micros, most: usize) -> Result<usize, FindingsError> {
        each!(self, one => one.prune(before, most).await)
    }
}
