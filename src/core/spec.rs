//! The rule set as somebody wrote it: checked field by field, not yet compiled. Every source of rules (YAML files, the
//! repository, xDS) produces this, and [`crate::core::ruleset::RuleSet::compile`] consumes it.

use serde_json::{Map, Value};

use super::limit::{Algorithm, Limit};

/// Where something was written, for messages. Line and column count from 1; 0 is "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Index into the source's own list of files.
    pub file: u32,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// How several limits of one request are charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Charge {
    /// Each matched limit on its own, as envoyproxy/ratelimit does.
    #[default]
    Independent,
    /// If any enforced limit denies, none is charged.
    AllOrNothing,
}

/// What happens to a decision when the counter store cannot answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureMode {
    /// Count in this process's memory, at the limit's share of a replica.
    #[default]
    Local,
    /// Let the request pass.
    Open,
    /// Deny the request.
    Closed,
    /// Answer with an error and let Envoy's own `failure_mode_deny` decide.
    Error,
}

/// Which response headers a domain's decisions carry. `Retry-After` always accompanies a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderFamilies {
    /// `RateLimit-Policy` and `RateLimit`, the IETF draft's structured fields.
    pub draft: bool,
    /// `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset`.
    pub legacy: bool,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset`.
    pub x: bool,
}

impl Default for HeaderFamilies {
    fn default() -> Self {
        Self { draft: true, legacy: false, x: false }
    }
}

/// A domain and its descriptors.
#[derive(Clone, Debug)]
pub struct DomainSpec {
    /// Not empty.
    pub name: String,
    /// Where the domain's name was written.
    pub origin: Origin,
    /// What holds for all of its rules.
    pub settings: DomainSettings,
    /// The top level, in file order.
    pub descriptors: Vec<DescriptorSpec>,
}

/// What holds for all rules of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainSettings {
    /// How several limits of one request are charged.
    pub charge: Charge,
    /// The algorithm of limits that name none; already applied to the limits below.
    pub default_algorithm: Algorithm,
    /// Which response headers decisions carry; `None` takes the server's default.
    pub response_headers: Option<HeaderFamilies>,
    /// Whether requests may bring their own limits.
    pub accept_overrides: bool,
    /// Whether requests may give hits back.
    pub accept_refunds: bool,
}

impl DomainSettings {
    /// The defaults of a domain in a file: those of envoyproxy/ratelimit.
    pub const FILE: Self = Self {
        charge: Charge::Independent,
        default_algorithm: Algorithm::FixedWindow,
        response_headers: None,
        accept_overrides: true,
        accept_refunds: true,
    };

    /// The defaults of a domain that is made through the API.
    pub const API: Self = Self {
        charge: Charge::AllOrNothing,
        default_algorithm: Algorithm::SlidingWindowLog,
        response_headers: None,
        accept_overrides: false,
        accept_refunds: false,
    };
}

impl DomainSpec {
    /// A domain without descriptors, with the defaults of a file.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), origin: Origin::default(), settings: DomainSettings::FILE, descriptors: Vec::new() }
    }
}

/// One node of the descriptor tree.
#[derive(Clone, Debug, Default)]
pub struct DescriptorSpec {
    /// Not empty; a `*` in it matches any text.
    pub key: String,
    /// `None` (or empty) matches every value; a `*` in it matches any text.
    pub value: Option<String>,
    /// What is written of the node itself.
    pub rule: RuleSpec,
    /// The next level, in file order.
    pub descriptors: Vec<DescriptorSpec>,
}

/// What is written at one descriptor path: its limits, if it has any, and its flags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSpec {
    /// Where it was written.
    pub origin: Origin,
    /// What applies when a request's descriptor ends here.
    pub effect: Option<EffectSpec>,
    /// Count, but never deny.
    pub shadow_mode: bool,
    /// Deny only together with every other quota rule of the request.
    pub quota_mode: bool,
    /// Name the metric after all entries of the request.
    pub detailed_metric: bool,
    /// Name the metric after this entry's value.
    pub value_to_metric: bool,
    /// All values that match the wildcard share one counter.
    pub share_threshold: bool,
    /// Passed on in dynamic metadata when the descriptor matches.
    pub metadata: Option<Map<String, Value>>,
    /// When the counter store cannot answer; `None` takes the server's default.
    pub failure_mode: Option<FailureMode>,
    /// A disabled node is as if it were not written, its children too.
    pub disabled: bool,
    /// For listing and filtering; no effect on decisions.
    pub tags: Vec<String>,
    /// The anomaly worker may never tighten this rule.
    pub protect: bool,
    /// Among the wildcards of a level, those with a lower number are tried first.
    pub order: u32,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EffectSpec {
    /// Always OK, never counted.
    Unlimited {
        /// Names it, so that other rules can be replaced by it.
        name: Option<String>,
        /// Names of rules that do not apply to a request in which this one matches.
        replaces: Vec<String>,
    },
    /// Every one of these must hold. Not empty.
    Limits(Vec<LimitSpec>),
}

/// One limit of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSpec {
    /// The limit.
    pub limit: Limit,
    /// Its name, in answers, headers and `replaces`.
    pub name: Option<String>,
    /// Names of rules that do not apply to a request in which this one matches.
    pub replaces: Vec<String>,
}
