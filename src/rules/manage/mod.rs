//! What an operator does to the rules of a repository, worked out before anything is changed. Pure: who calls reads
//! the records first, and commits what comes out.
//!
//! A text has whole domains: [`diff`] says what has to change for a repository to say the same. Records of these
//! domains that are not in the text are deleted; other domains stay, and so do overrides, which no text has.
//! [`rollback`] says what has to change for everything to be as at a revision. [`specs`] is the way back, from records
//! to what [`yaml::write`](crate::rules::yaml::write) turns into a text.
//!
//! A text is a tree and records are paths, so two things have no record or no text of their own:
//!
//! - A node without anything of its own, but with others below it, **may** have a record; [`diff`] neither makes it
//!   nor takes it away.
//! - The order of a level's wildcards is that of writing; records have a number. Nodes of one number are in the order
//!   of their paths. [`diff`] compares the order, not the numbers: as long as the text has a level's wildcards in the
//!   order that they have already, their numbers stay as they are.
//!
//! So what was exported and not edited makes no difference.

mod diff;
mod rollback;
mod show;
#[cfg(test)]
mod tests;
mod tree;

pub use diff::{Diff, Difference, Warning, diff};
pub use rollback::{NoWayBack, rollback};
pub use show::{DifferenceView, FieldChange};
pub use tree::{TreeError, TreeErrorKind, contents, specs};
