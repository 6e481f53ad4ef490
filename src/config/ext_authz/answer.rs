//! What answers carry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::list;

/// What answers carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// The body of a denial. Default `problem`.
    pub body: Body,
    /// With `body: custom`, the text: `{rule}`, `{domain}`, `{limit}`, `{window}`, `{remaining}`, `{retry_after}` and
    /// `{status}` are filled in. At most 64 KiB.
    pub template: Option<String>,
    /// The media type of `template`. Default `text/plain; charset=utf-8`.
    pub content_type: Option<String>,
    /// The status of a denial by a limit. 400 to 599, default 429.
    pub status: u16,
    /// The status of a denial by a list. 400 to 599, default 403.
    pub list_status: u16,
    /// Headers that the upstream gets, each with a text in which `{name}` stands for a value of the request; one whose
    /// value is missing is not set. What the client sent under the name is removed in any case. Default: none.
    pub upstream_headers: BTreeMap<String, String>,
    /// Headers that the upstream does not get. Default: none.
    #[serde(deserialize_with = "list::deserialize")]
    pub remove_headers: Vec<String>,
    /// Put the RateLimit headers on the responses of allowed requests, too. Default `true`.
    pub response_headers: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            body: Body::Problem,
            template: None,
            content_type: None,
            status: 429,
            list_status: 403,
            upstream_headers: BTreeMap::new(),
            remove_headers: Vec::new(),
            response_headers: true,
        }
    }
}

/// The body of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A problem document (RFC 9457).
    Problem,
    /// One sentence.
    Text,
    /// The text of `template`.
    Custom,
    /// None.
    None,
}
