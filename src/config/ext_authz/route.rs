//! Which requests are asked about, and what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::list;

/// What is asked of the requests that match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// A name, for the built-in value `route` and for answers. Default: none.
    pub name: Option<String>,
    /// Which requests. Default: all.
    #[serde(rename = "match")]
    pub matching: Match,
    /// The domain whose rules apply. Default: that of the section.
    pub domain: Option<String>,
    /// What is asked. None: such requests pass without being counted. At most 100.
    pub descriptors: Vec<Descriptor>,
    /// What a request costs. Default: 1.
    pub hits: Option<Hits>,
    /// Headers for the upstream, over those of `answer.upstream_headers`.
    pub upstream_headers: BTreeMap<String, String>,
}

/// Which requests; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Path templates, one of which the normalised path fits. Default: any path.
    #[serde(deserialize_with = "list::deserialize")]
    pub paths: Vec<String>,
    /// Methods. Default: any.
    #[serde(deserialize_with = "list::deserialize")]
    pub methods: Vec<String>,
    /// Hosts without port, `example.com` or `*.example.com`. Default: any.
    #[serde(deserialize_with = "list::deserialize")]
    pub hosts: Vec<String>,
    /// Entries of the route's `context_extensions`. Default: none.
    pub context: BTreeMap<String, String>,
}

/// One descriptor: the list of its entries, or a mapping with `entries` and `hits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Entries in their order: the name of a value, which is the key too, or `key=text` for a constant. 1 to 32.
    pub entries: Vec<String>,
    /// What a request costs here, instead of the route's `hits`.
    pub hits: Option<Hits>,
}

/// What a request costs: a number, or a value of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Hits {
    /// Always so much.
    Fixed(u64),
    /// What the request says.
    Of(HitsOf),
}

/// A cost that the request says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HitsOf {
    /// A value that is a whole number: one of `values`, or `request_size`.
    pub value: String,
    /// So much of the value is one hit, rounded up. At least 1, default 1.
    #[serde(default = "one")]
    pub per: u64,
    /// What a request costs whose value is missing, or no number. Default 1.
    #[serde(default = "one")]
    pub default: u64,
    /// The least that a request costs. Default 0.
    #[serde(default)]
    pub min: u64,
    /// The most that a request costs. Default 1 000 000.
    #[serde(default = "million")]
    pub max: u64,
}

const fn one() -> u64 {
    1
}

const fn million() -> u64 {
    1_000_000
}
