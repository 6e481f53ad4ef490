//! `If-Match`, `If-None-Match` and `ETag`: a record's revision in quotes.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::super::problem::{Kind, Problem};
use crate::rules::form::FieldProblem;
use crate::rules::repository::Expected;
use crate::rules::repository::record::Revision;

/// A revision as an entity tag.
pub fn etag(revision: Revision) -> HeaderValue {
    // Digits in quotes are always a header's value.
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// What a change expects to find.
///
/// # Errors
/// A header that is none of the forms understood.
pub fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let expected = match one(headers, IF_MATCH)? {
        None => None,
        Some("*") => Some(Expected::Present),
        Some(tag) => Some(Expected::At(revision(tag).ok_or_else(|| wrong(&IF_MATCH))?)),
    };
    match (expected, one(headers, IF_NONE_MATCH)?) {
        (None, Some("*")) => Ok(Expected::Absent),
        (Some(_), Some(_)) => Err(refused(&IF_NONE_MATCH, "excludes If-Match; leave one of them out")),
        (None, Some(_)) => Err(refused(&IF_NONE_MATCH, "must be * for a change")),
        (expected, None) => Ok(expected.unwrap_or_default()),
    }
}

/// The revision that a change of the whole is based on.
///
/// # Errors
/// As [`expected`].
pub fn base(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    match one(headers, IF_MATCH)? {
        None | Some("*") => Ok(None),
        Some(tag) => revision(tag).map(Some).ok_or_else(|| wrong(&IF_MATCH)),
    }
}

/// Whether the caller of a `GET` has this revision already.
pub fn is_known(headers: &HeaderMap, present: Revision) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        // A cache may weaken a tag.
        tag == "*" || revision(tag.strip_prefix("W/").unwrap_or(tag)) == Some(present)
    })
}

fn one(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(&name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|text| Some(text.trim())).map_err(|_| wrong(&name)),
        (Some(_), Some(_)) => Err(wrong(&name)),
    }
}

fn revision(tag: &str) -> Option<Revision> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Revision)).flatten()
}

fn wrong(name: &HeaderName) -> Problem {
    refused(name, "must be one revision in quotes, as the header ETag has it, or *")
}

fn refused(name: &HeaderName, reason: &str) -> Problem {
    let name = if *name == IF_MATCH { "If-Match" } else { "If-None-Match" };
    Problem::fields(Kind::Malformed, vec![FieldProblem::new(name, reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(HeaderName, &'static str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_change_may_expect_something() {
        let read =
            |of: &[(HeaderName, &'static str)]| expected(&headers(of)).map_err(|problem| problem.detail().to_owned());
        assert_eq!(read(&[]), Ok(Expected::Anything));
        assert_eq!(read(&[(IF_MATCH, "\"7\"")]), Ok(Expected::At(Revision(7))));
        assert_eq!(read(&[(IF_MATCH, "*")]), Ok(Expected::Present));
        assert_eq!(read(&[(IF_NONE_MATCH, "*")]), Ok(Expected::Absent));
        for value in ["7", "W/\"7\"", "\"7\", \"8\"", "\"\"", "\"x\"", "\"+7\"", "\"99999999999999999999\""] {
            assert!(read(&[(IF_MATCH, value)]).is_err_and(|text| text.starts_with("If-Match: must be")), "{value}");
        }
        assert!(read(&[(IF_NONE_MATCH, "\"7\"")]).is_err());
        assert!(read(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]).is_err());
    }

    #[test]
    fn a_reader_may_know_it_already() {
        for value in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(is_known(&headers(&[(IF_NONE_MATCH, value)]), Revision(7)), "{value}");
        }
        assert!(!is_known(&headers(&[(IF_NONE_MATCH, "\"8\"")]), Revision(7)));
    }
}
