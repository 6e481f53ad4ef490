//! The `ext_authz` section, ready for use.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::answer::Answers;
use crate::authz::policy::{Policy, PolicyError};
use crate::config::Config;

/// The least bytes of a key.
const MIN_KEY: usize = 32;
/// The most that is read of the file that holds it.
const MAX_KEY: u64 = 64 * 1024;

/// What is wrong with the section, all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError(Vec<PolicyError>);

impl std::error::Error for SetupError {}

impl std::fmt::Display for SetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}ext_authz.{error}")?;
        }
        Ok(())
    }
}

/// What requests become, and how they are answered. Shared by all workers.
#[derive(Debug)]
pub struct ExtAuthz {
    /// From what Envoy tells to a question.
    pub policy: Policy,
    /// From a decision to an answer.
    pub answers: Answers,
}

impl ExtAuthz {
    /// Compiles the section.
    ///
    /// # Errors
    /// [`SetupError`] with everything that is wrong with it.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        let section = &config.ext_authz;
        let mut errors = Vec::new();
        let mut wrong = |field: String, reason: String| errors.push(PolicyError { field, reason });
        let key = section.secret_key_file.as_deref().map(read_key).transpose().unwrap_or_else(|reason| {
            wrong("secret_key_file".to_owned(), reason);
            // So that the policy does not complain of a missing one besides.
            Some(vec![0; MIN_KEY])
        });
        let max = config.limiter.max_descriptors;
        for (position, route) in section.routes.iter().enumerate() {
            let got = route.descriptors.len();
            if got > max {
                let reason = format!("{got}, and a request may have at most {max} (limiter.max_descriptors)");
                wrong(format!("routes[{position}].descriptors"), reason);
            }
        }
        let answers = Answers::new(config).map_err(|error| wrong("answer.template".to_owned(), error.to_string()));
        let policy = Policy::new(section, key.as_deref()).map_err(|found| errors.extend(found));
        match (policy, answers) {
            (Ok(policy), Ok(answers)) if errors.is_empty() => Ok(Self { policy, answers }),
            _ => Err(SetupError(errors)),
        }
    }
}

/// The first line of the file; it is not empty, and long enough.
fn read_key(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let mut key = Vec::new();
    BufReader::new(file.take(MAX_KEY))
        .read_until(b'\n', &mut key)
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    while matches!(key.last(), Some(b'\n' | b'\r')) {
        key.pop();
    }
    match key.len() {
        MIN_KEY.. => Ok(key),
        got => Err(format!(
            "the first line of {name} has {got} bytes, and a key at least {MIN_KEY}; make one with `openssl rand -hex 32`"
        )),
    }
}
