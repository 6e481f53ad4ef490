//! Mistakes while they are being gathered.

use crate::core::spec::Origin;
use crate::rules::report::{MAX_DIAGNOSTICS, Severity};

use super::tree::Mark;

/// A mistake in a file, not yet joined with the file's name and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// The mistakes of one file. Bounded: a file of nothing but mistakes stops being recorded at twice what a report
/// shows.
#[derive(Debug)]
pub(super) struct Problems {
    file: u32,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) const fn new(file: u32) -> Self {
        Self { file, list: Vec::new() }
    }

    pub(super) fn origin(&self, at: Mark) -> Origin {
        Origin { file: self.file, line: at.line, column: at.column }
    }

    pub(super) fn error(&mut self, at: Mark, message: impl Into<String>, help: impl Into<Help>) {
        self.push(Severity::Error, at, message.into(), help.into());
    }

    pub(super) fn warning(&mut self, at: Mark, message: impl Into<String>, help: impl Into<Help>) {
        self.push(Severity::Warning, at, message.into(), help.into());
    }

    fn push(&mut self, severity: Severity, at: Mark, message: String, help: Help) {
        // Warnings make room for errors: without an error, the rules would be accepted.
        let room = match severity {
            Severity::Error => 2 * MAX_DIAGNOSTICS,
            Severity::Warning => MAX_DIAGNOSTICS,
        };
        if self.list.len() < room {
            self.list.push(Problem { severity, origin: self.origin(at), message, help: help.0 });
        }
    }

    /// All of them in the order of the text, each once, though an aliased node is met many times.
    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by(|a, b| a.origin.cmp(&b.origin).then_with(|| a.message.cmp(&b.message)));
        self.list.dedup();
        self.list
    }
}

/// Help, or none.
pub(super) struct Help(Option<String>);

impl From<&str> for Help {
    fn from(help: &str) -> Self {
        Self(Some(help.to_owned()))
    }
}

impl From<String> for Help {
    fn from(help: String) -> Self {
        Self(Some(help))
    }
}

impl From<Option<String>> for Help {
    fn from(help: Option<String>) -> Self {
        Self(help)
    }
}
