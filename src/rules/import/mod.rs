//! Rules of other rate limiters, turned into ours, with an account of what became of each.
//!
//! - [`envoy`] takes directories of envoyproxy/ratelimit, whose format is ours; it tells where the same text means
//!   something else here,
//! - [`limitador`] takes limits files of Kuadrant limitador 2.
//!
//! What cannot be said in our rules is left out and named, never replaced by something alike. A file that is wrong as
//! a file is refused as a whole.

pub mod envoy;
mod finding;
pub mod limitador;

use std::path::PathBuf;

pub use finding::{Finding, Outcome};

use super::report::{Diagnostic, Report};
use crate::core::spec::DomainSpec;

/// Whose rules they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// envoyproxy/ratelimit.
    Envoy,
    /// Kuadrant limitador 2.
    Limitador,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Imported {
    /// The rules, one domain of each name. They compile.
    pub domains: Vec<DomainSpec>,
    /// What became of what was written, in the order of writing.
    pub findings: Vec<Finding>,
    /// What was written without effect.
    pub warnings: Vec<Diagnostic>,
    /// What Envoy must send so that the rules are met; empty where it already does.
    pub descriptors: Vec<SentDescriptor>,
    /// What differs for all of them.
    pub notes: Vec<&'static str>,
}

/// A descriptor that Envoy must send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SentDescriptor {
    /// To which domain.
    pub domain: String,
    /// From which of the descriptors that limitador was sent its entries are; counts from 0. `None` for one of its
    /// own.
    pub from: Option<u32>,
    /// Its entries, in this order and no others: a key, and its value where that is always the same.
    pub entries: Vec<(String, Option<String>)>,
}

impl Imported {
    /// How many findings have this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.findings.iter().filter(|finding| finding.outcome == outcome).count()
    }
}

/// Imports the rules of files and directories. `merge_domains` joins files of envoyproxy/ratelimit that name the same
/// domain, as its `MERGE_DOMAIN_CONFIG` does.
///
/// # Errors
/// Every mistake of every file, when there is an error among them.
pub fn import(format: Format, paths: &[PathBuf], merge_domains: bool) -> Result<Imported, Report> {
    match format {
        Format::Envoy => envoy::import(paths, merge_domains),
        Format::Limitador => limitador::import(paths),
    }
}
