//! The YAML format: envoyproxy/ratelimit's, and what we add to it. `docs/rules.md` describes it for its users.
//!
//! The text becomes a tree of nodes with their places, scalars get the meaning they have in YAML 1.1, and the tree is
//! read field by field. Reading goes on after a mistake, so that all of them are told at once; only a syntax error
//! ends a file. What envoyproxy/ratelimit refuses is an error, what it silently ignores is a warning.

mod document;
mod fields;
pub(super) mod keys;
mod limits;
mod metadata;
mod problem;
pub(super) mod scalar;
#[cfg(test)]
mod tests;
pub(super) mod tree;

use crate::core::spec::DomainSpec;

use document::read_file;
pub use problem::Problem;
use problem::Problems;
use tree::Tree;

/// Every key of the format, wherever it stands.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    keys::Key::ALL.iter().map(|key| key.name())
}

/// What one file says.
#[derive(Debug)]
pub struct Parsed {
    /// The domain, as far as it could be read: of use for finding more mistakes even when there are errors.
    pub domain: Option<DomainSpec>,
    /// In the order of the text.
    pub problems: Vec<Problem>,
}

/// Reads the text of one file. `file` is its number, which every [`Origin`](crate::core::spec::Origin) then carries.
#[must_use]
pub fn parse(text: &str, file: u32) -> Parsed {
    let mut problems = Problems::new(file);
    match Tree::parse(text) {
        Ok(tree) => {
            let (domain, problems) = read_file(&tree, problems);
            Parsed { domain, problems: problems.into_sorted() }
        }
        Err(error) => {
            let message = format!("error loading config file: {}", error.message);
            problems.error(error.at, message, error.help.map(str::to_owned));
            Parsed { domain: None, problems: problems.into_sorted() }
        }
    }
}
