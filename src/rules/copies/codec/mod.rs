//! How copies are written: pieces that each stand for themselves, on disk one behind the other, in Redis one a value.
//!
//! A **full copy** is a title and parts. The title says which revision of which epoch this is, when it was made, of how
//! many parts and records, and names the copy by a random number, which every part carries beside its own position. A
//! **change** is what led from one revision to a later one: the newest version of each record that changed, deleted ones
//! too.
//!
//! Each piece has a [`Seal`]: a checksum or, with a key, a message authentication code, over all of it. So no piece can
//! be damaged, take another's place, or be mixed into another copy, and with a key nobody else can make one. What can
//! still be done by whoever may write where copies are kept is to take away: all of it, or the newest changes.
//!
//! Records are lines of JSON ([`line`]), compressed by the piece.

mod entry;
mod full;
mod line;
mod piece;
mod reader;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use crate::rules::repository::{Head, Revision};

pub use crate::seal::{KeyError, MIN_KEY_BYTES, Seal};
pub use entry::{LogEntry, follow};
pub use full::{CopyBuilder, RuleCopy, Title};
pub use piece::{Broken, MAX_PIECE, Pieces};
pub use reader::Reader;

/// Why a copy, or a piece of one, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// It is not all there.
    #[error("{0} ends too early")]
    Truncated(Place),
    /// It is not as it was written.
    #[error("{0} is damaged")]
    Damaged(Place),
    /// It was sealed by another key, or changed by somebody without the key.
    #[error("{0} is not authentic: it was sealed with another key than that in rules.copy_key_file, or was changed")]
    NotAuthentic(Place),
    /// It has only a checksum, but a key is configured.
    #[error("{0} is not authenticated; with rules.copy_key_file only copies sealed with that key are used")]
    Unauthenticated(Place),
    /// It is sealed with a key, but none is configured.
    #[error("{0} is sealed with a key; set rules.copy_key_file")]
    KeyMissing(Place),
    /// It is genuine, but belongs elsewhere: to another copy, epoch or position.
    #[error("{0} belongs to another copy or place")]
    Misplaced(Place),
    /// Changes are missing before this one.
    #[error("{place} begins at revision {from}, but what is before it ends at {at}")]
    Gap {
        /// Which change.
        place: Place,
        /// What it begins at.
        from: Revision,
        /// What there is.
        at: Revision,
    },
    /// It is of a format that this version does not know.
    #[error("{place} has format '{format}', which this version does not know")]
    Format {
        /// Which piece.
        place: Place,
        /// Its format.
        format: char,
    },
    /// It is genuine, but says something that this version does not understand.
    #[error("{place}: {reason}")]
    Content {
        /// Which piece.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// A record, or a change, that does not fit into one piece.
    #[error("{what}: {bytes} bytes do not fit into a piece of a copy, at most {most} do")]
    TooLarge {
        /// What.
        what: String,
        /// Its size.
        bytes: usize,
        /// The most.
        most: usize,
    },
}

/// Which piece of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its title.
    Title,
    /// A part, from 0.
    Part(u32),
    /// A change behind it, from 0.
    Change(u32),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Title => f.write_str("the copy's title"),
            Self::Part(number) => write!(f, "part {number} of the copy"),
            Self::Change(number) => write!(f, "change {number} behind the copy"),
        }
    }
}

/// What a copy leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its newest revision, changes included.
    pub head: Head,
    /// When that was written.
    pub made: Timestamp,
}
