//! Parameters of a URL, each at most once, so that every complaint names its parameter.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::{Kind, Problem};
use crate::rules::form::FieldProblem;
use crate::rules::repository::MAX_PAGE;

/// How many records a page has when the request does not say.
const DEFAULT_PAGE: usize = 100;

/// The parameters not yet taken.
#[derive(Debug)]
pub struct Query {
    path: String,
    all: Vec<(String, String)>,
    left: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.uri.query().unwrap_or_default();
        let all: Vec<(String, String)> = serde_urlencoded::from_str(text)
            .map_err(|error| Problem::new(Kind::Malformed, format!("the URL's query cannot be read: {error}")))?;
        for (position, (name, _)) in all.iter().enumerate() {
            if all.iter().take(position).any(|(other, _)| other == name) {
                return Err(refused(name, "stands twice"));
            }
        }
        Ok(Self { path: parts.uri.path().to_owned(), left: all.clone(), all })
    }
}

/// A refusal because of a parameter.
pub fn refused(name: &str, reason: impl Into<String>) -> Problem {
    Problem::fields(Kind::Malformed, vec![FieldProblem::new(name, reason)])
}

impl Query {
    /// A parameter's text.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let position = self.left.iter().position(|(other, _)| other == name)?;
        Some(self.left.swap_remove(position).1)
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        let read = |text: String| bool::from_str(&text).map_err(|_| refused(name, "must be true or false"));
        self.take(name).map(read).transpose()
    }

    /// `limit`: how long a page is.
    ///
    /// # Errors
    /// When it is no page's length.
    pub fn page_size(&mut self) -> Result<usize, Problem> {
        let Some(text) = self.take("limit") else { return Ok(DEFAULT_PAGE) };
        let size = text.parse().ok().filter(|size| (1..=MAX_PAGE).contains(size));
        size.ok_or_else(|| refused("limit", format!("must be a number from 1 to {MAX_PAGE}")))
    }

    /// `cursor`: behind what a page begins, as [`Query::next`] wrote it.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn cursor<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let Some(text) = self.take("cursor") else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = bytes.and_then(|bytes| read(std::str::from_utf8(&bytes).ok()?));
        cursor.map(Some).ok_or_else(|| refused("cursor", "is none of ours; start again without one"))
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// For the first parameter that nobody took.
    pub fn finish(&self, known: &str) -> Result<(), Problem> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(refused(name, format!("unknown parameter; known are {known}"))),
        }
    }

    /// A cursor, and the relative address of the page behind it.
    #[must_use]
    pub fn next(&self, cursor: &str) -> (String, String) {
        self.behind("cursor", URL_SAFE_NO_PAD.encode(cursor))
    }

    /// What tells behind what a page begins, and the relative address of that page.
    #[must_use]
    pub fn behind(&self, parameter: &str, cursor: String) -> (String, String) {
        let mut all: Vec<_> = self.all.iter().filter(|(name, _)| name != parameter).cloned().collect();
        all.push((parameter.to_owned(), cursor.clone()));
        // Texts in, a text out.
        let query = serde_urlencoded::to_string(all).unwrap_or_default();
        (cursor, format!("{}?{query}", self.path))
    }
}
