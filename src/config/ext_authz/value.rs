//! Values of a request that the settings name.

use serde::{Deserialize, Serialize};

use super::list;

/// A named value of a request: exactly one of `header`, `query`, `cookie`, `claim`, `metadata`, `context` and
/// `path_variable`, and what is made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Value {
    /// A header's value; of several, the first.
    pub header: Option<String>,
    /// A query parameter's value, decoded; of several, the first.
    pub query: Option<String>,
    /// A cookie's value, decoded; of several, the first.
    pub cookie: Option<String>,
    /// A claim of a token that Envoy has verified, `sub`, or `realm_access.roles` for one inside another; of a list, its
    /// first item.
    pub claim: Option<String>,
    /// Dynamic metadata: the namespace, a colon, and a path with dots, `envoy.lb:tenant.id`.
    pub metadata: Option<String>,
    /// An entry of the route's `context_extensions`.
    pub context: Option<String>,
    /// A variable of the template that the path fits: of the route's own `match.paths`, else of `paths.templates`.
    pub path_variable: Option<String>,
    /// What it is when the request has none (or an empty one). Default: none, and descriptors that name it are not sent.
    pub default: Option<String>,
    /// The only values told apart; others become `other_value`. At most 10 000. Default: none, all are.
    #[serde(deserialize_with = "list::deserialize")]
    pub one_of: Vec<String>,
    /// What values outside of `one_of` become. Default `other`.
    pub other_value: Option<String>,
    /// Whether `Alice` and `alice` are one (letters of ASCII). Default `false`.
    pub ignore_case: bool,
    /// Hash it with the key of `secret_key_file` before it goes anywhere: counters, logs, metrics, metadata. Default
    /// `false`.
    pub secret: bool,
}

/// Where a value stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'v> {
    /// A header.
    Header(&'v str),
    /// A query parameter.
    Query(&'v str),
    /// A cookie.
    Cookie(&'v str),
    /// A claim of a verified token.
    Claim(&'v str),
    /// Dynamic metadata.
    Metadata {
        /// The namespace.
        namespace: &'v str,
        /// What stands below it, with dots.
        path: &'v str,
    },
    /// An entry of the route's `context_extensions`.
    Context(&'v str),
    /// A variable of a path template.
    PathVariable(&'v str),
}

impl Value {
    /// Where the value stands.
    ///
    /// # Errors
    /// What to write, when there is no source, or several.
    pub fn source(&self) -> Result<Source<'_>, String> {
        let sources = [
            self.header.as_deref().map(|name| Ok(Source::Header(name))),
            self.query.as_deref().map(|name| Ok(Source::Query(name))),
            self.cookie.as_deref().map(|name| Ok(Source::Cookie(name))),
            self.claim.as_deref().map(|path| Ok(Source::Claim(path))),
            self.metadata.as_deref().map(metadata),
            self.context.as_deref().map(|key| Ok(Source::Context(key))),
            self.path_variable.as_deref().map(|name| Ok(Source::PathVariable(name))),
        ];
        let mut sources = sources.into_iter().flatten();
        match (sources.next(), sources.next()) {
            (Some(source), None) => source,
            (None, _) => Err(format!("it has no source; write one of {SOURCES}")),
            (Some(_), Some(_)) => Err(format!("it has several sources; write only one of {SOURCES}")),
        }
    }
}

const SOURCES: &str = "header, query, cookie, claim, metadata, context, path_variable";

/// Reads where metadata stand.
pub(crate) fn metadata(text: &str) -> Result<Source<'_>, String> {
    match text.split_once(':') {
        Some((namespace, path)) if !namespace.is_empty() && !path.is_empty() => {
            Ok(Source::Metadata { namespace, path })
        }
        _ => Err(format!("\"{text}\" names no metadata; write the namespace, a colon, and a path: envoy.lb:tenant.id")),
    }
}
