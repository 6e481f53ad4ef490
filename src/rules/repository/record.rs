//! What a repository holds.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

use crate::core::path::DescriptorPath;
use crate::core::spec::{DomainSettings, EffectSpec, RuleSpec};

/// The number of a commit, from 1; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one history of revisions: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u128);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Self).ok_or_else(|| format!("'{text}' is no epoch: 32 hexadecimal digits"))
    }
}

/// Where a repository stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which history.
    pub epoch: Epoch,
    /// Its newest revision.
    pub revision: Revision,
    /// When an operator said that this history holds, whatever was before; `None` for one that simply began.
    pub accepted: Option<Timestamp>,
}

/// The kinds of records, in the order of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Settings of a domain.
    Domain,
    /// A rule.
    Rule,
    /// A temporary override of a rule.
    Override,
}

impl Kind {
    /// Its name in APIs and databases.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Rule => "rule",
            Self::Override => "override",
        }
    }
}

/// What a record is of. Ordered by domain, kind and path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The settings of a domain. A domain without has those of [`DomainSettings::API`].
    Domain(Box<str>),
    /// The rule at a path of a domain.
    Rule(Box<str>, DescriptorPath),
    /// What holds at a path of a domain for a time, instead of what its rule says. The rule need not exist.
    Override(Box<str>, DescriptorPath),
}

impl Subject {
    /// Its domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        match self {
            Self::Domain(domain) | Self::Rule(domain, _) | Self::Override(domain, _) => domain,
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Domain(_) => Kind::Domain,
            Self::Rule(..) => Kind::Rule,
            Self::Override(..) => Kind::Override,
        }
    }

    /// Its path; a domain has none.
    #[must_use]
    pub const fn path(&self) -> Option<&DescriptorPath> {
        match self {
            Self::Domain(_) => None,
            Self::Rule(_, path) | Self::Override(_, path) => Some(path),
        }
    }

    fn rank(&self) -> (&str, Kind, Option<&DescriptorPath>) {
        (self.domain(), self.kind(), self.path())
    }
}

impl PartialOrd for Subject {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Subject {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => write!(f, "domain {domain}"),
            Self::Rule(domain, path) => write!(f, "rule {path} of domain {domain}"),
            Self::Override(domain, path) => write!(f, "override of {path} of domain {domain}"),
        }
    }
}

/// What holds at a path for a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// What applies instead of the rule's own effect; its flags stay.
    pub effect: EffectSpec,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Of [`Subject::Domain`].
    Domain(DomainSettings),
    /// Of [`Subject::Rule`]. Its origin is unknown.
    Rule(RuleSpec),
    /// Of [`Subject::Override`].
    Override(Override),
}

impl Content {
    /// The kind of subject that it belongs to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Domain(_) => Kind::Domain,
            Self::Rule(_) => Kind::Rule,
            Self::Override(_) => Kind::Override,
        }
    }
}

/// Why what was found cannot be used, and what was found, so that it can be passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String, pub Value);

impl Unreadable {
    /// Of something that has no form in JSON.
    #[must_use]
    pub const fn saying(reason: String) -> Self {
        Self(reason, Value::Null)
    }
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When, by the repository's clock.
    pub at: Timestamp,
    /// Who: the name of a token, or of a user of the command line.
    pub by: Box<str>,
}

/// A record as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Of what.
    pub subject: Subject,
    /// The revision that changed it last.
    pub revision: Revision,
    /// What it says; `None` when it was deleted.
    pub content: Option<Result<Content, Unreadable>>,
    /// By whom it was made.
    pub created: Stamp,
    /// By whom it was changed last.
    pub updated: Stamp,
}

/// A record as a revision left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Of what.
    pub subject: Subject,
    /// The revision.
    pub revision: Revision,
    /// Who wrote it.
    pub stamp: Stamp,
    /// Why, as the author put it.
    pub reason: Option<Box<str>>,
    /// What was there before, as it is written in JSON; `None` for nothing.
    pub before: Option<Value>,
    /// What was there from then on; `None` when it was deleted.
    pub after: Option<Value>,
}
