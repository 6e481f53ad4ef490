//! Changes that belong together.

use std::fmt;

use super::record::{Content, Head, Revision, Subject};

/// What a record must be for a change to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is (`If-Match` is missing).
    #[default]
    Anything,
    /// There must be none (`If-None-Match: *`).
    Absent,
    /// There must be one (`If-Match: *`).
    Present,
    /// It must be as this revision left it (`If-Match: "7"`).
    At(Revision),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("anything"),
            Self::Absent => f.write_str("absent"),
            Self::Present => f.write_str("present"),
            Self::At(revision) => write!(f, "at revision {revision}"),
        }
    }
}

/// A change of one record.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Of what.
    pub subject: Subject,
    /// What it is to say, of the subject's kind; `None` deletes it.
    pub content: Option<Content>,
    /// What it must be before.
    pub expected: Expected,
}

/// Changes that are made all together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Who makes them.
    pub author: Box<str>,
    /// Why.
    pub reason: Option<Box<str>>,
    /// The revision that they are based on, when it matters that nothing else has changed since.
    pub base: Option<Revision>,
    /// The changes, each subject at most once.
    pub changes: Vec<Change>,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The newest revision now: the commit's own, or the one there was if it changed nothing.
    pub head: Head,
    /// How many records it changed.
    pub changed: usize,
}
