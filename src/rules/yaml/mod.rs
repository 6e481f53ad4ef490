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
mod write;

use crate::core::spec::DomainSpec;
use crate::rules::report::MAX_DIAGNOSTICS;

use document::read_file;
pub use problem::Problem;
use problem::Problems;
use tree::{Documents, Mark, SyntaxError, Tree};
pub use write::{write, write_all};

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

/// The most documents in one text.
pub const MAX_DOCUMENTS: usize = 10_000;

/// Reads the text of one file. `file` is its number, which every [`Origin`](crate::core::spec::Origin) then carries.
#[must_use]
pub fn parse(text: &str, file: u32) -> Parsed {
    match Tree::parse(text) {
        Ok(tree) => read(&tree, file),
        Err(error) => refuse(error, file),
    }
}

/// Reads a text of several documents, parted by lines of `---`, each of which is as a file. Documents that say nothing
/// are passed over, unless there is no other. Nothing is read behind a syntax error, or behind more mistakes than
/// anybody wants to be told at once.
#[must_use]
pub fn parse_all(text: &str, file: u32) -> Vec<Parsed> {
    let mut all: Vec<Parsed> = Vec::new();
    let mut problems = 0;
    for document in Documents::new(text) {
        let parsed = match document {
            Ok(tree) if tree.is_empty() => continue,
            Ok(tree) if all.len() == MAX_DOCUMENTS => {
                let message = format!("more than {MAX_DOCUMENTS} documents");
                let at = tree.root.map_or_else(Mark::default, |root| tree.node(root).at);
                refuse(SyntaxError { at, message, help: Some("split the text") }, file)
            }
            Ok(tree) => read(&tree, file),
            Err(error) => refuse(error, file),
        };
        problems += parsed.problems.len();
        all.push(parsed);
        if problems > 2 * MAX_DIAGNOSTICS || all.len() > MAX_DOCUMENTS {
            break;
        }
    }
    if all.is_empty() {
        all.push(read(&Tree::default(), file));
    }
    all
}

fn read(tree: &Tree<'_>, file: u32) -> Parsed {
    let (domain, problems) = read_file(tree, Problems::new(file));
    Parsed { domain, problems: problems.into_sorted() }
}

fn refuse(error: SyntaxError, file: u32) -> Parsed {
    let mut problems = Problems::new(file);
    let message = format!("error loading config file: {}", error.message);
    problems.error(error.at, message, error.help.map(str::to_owned));
    Parsed { domain: None, problems: problems.into_sorted() }
}
