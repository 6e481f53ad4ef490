//! What a request is about, as its URL says it.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::super::problem::{Kind, Problem};
use crate::core::path::DescriptorPath;
use crate::rules::form::FieldProblem;

/// The longest name of a domain, in bytes.
const MAX_DOMAIN_BYTES: usize = 512;

/// `{domain}/{path}`.
pub struct Target {
    /// The domain.
    pub domain: Box<str>,
    /// The descriptor path.
    pub path: DescriptorPath,
}

/// `{domain}`.
pub struct TargetDomain(pub Box<str>);

/// The name of a domain.
///
/// # Errors
/// What it lacks.
pub fn domain(text: &str) -> Result<Box<str>, FieldProblem> {
    let reason = if text.is_empty() {
        "must not be empty"
    } else if text.len() > MAX_DOMAIN_BYTES {
        "is longer than 512 bytes"
    } else if text.chars().any(char::is_control) {
        "must not have control characters"
    } else {
        return Ok(text.into());
    };
    Err(FieldProblem::new("domain", reason))
}

/// A canonical path.
///
/// # Errors
/// What is wrong with it.
pub fn path(text: &str) -> Result<DescriptorPath, FieldProblem> {
    text.parse().map_err(|error: crate::core::path::PathError| FieldProblem::new("path", error.to_string()))
}

fn unreadable() -> Problem {
    Problem::new(Kind::Malformed, "path: '%' must begin %XX, the bytes of a UTF-8 character in hexadecimal")
}

fn wrong(problem: FieldProblem) -> Problem {
    Problem::fields(Kind::Malformed, vec![problem])
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parsed = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((of, at)) = parsed.map_err(|_| unreadable())?;
        Ok(Self { domain: domain(&of).map_err(wrong)?, path: path(&at).map_err(wrong)? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TargetDomain {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(of) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| unreadable())?;
        domain(&of).map(Self).map_err(wrong)
    }
}
