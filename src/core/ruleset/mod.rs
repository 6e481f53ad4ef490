//! Every rule in force, compiled for lookup and immutable.

use super::descriptor::Entry;
use super::rule::Rule;
use super::spec::{Charge, DomainSpec, HeaderFamilies, Origin};

/// Why a rule set does not compile: one mistake, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct CompileError {
    /// Where.
    pub origin: Origin,
    /// What.
    pub kind: CompileErrorKind,
}

/// The mistakes that only the whole can show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileErrorKind {
    /// The same domain twice, without merging.
    #[error("duplicate domain '{domain}'; write it once, or set MERGE_DOMAIN_CONFIG=true to merge its descriptors")]
    DuplicateDomain {
        /// The domain.
        domain: String,
        /// Where it was written first.
        first: Origin,
    },
    /// The same key and value twice in one level.
    #[error("duplicate descriptor composite key '{path}'; it may stand only once on its level")]
    DuplicateDescriptor {
        /// The descriptor, as `domain.key_value...`.
        path: String,
        /// Where it was written first.
        first: Origin,
    },
    /// Too many levels.
    #[error("descriptors are nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// More rules than a rule id can count.
    #[error("more than {} rules", u32::MAX)]
    TooManyRules,
}

/// The deepest nesting of descriptors.
pub const MAX_DEPTH: usize = 64;

/// Every domain with its rules.
#[derive(Debug, Default)]
pub struct RuleSet {}

/// A domain's settings and rules.
#[derive(Debug)]
pub struct Domain {
    /// The domain's name.
    pub name: Box<str>,
    /// How several limits of one request are charged.
    pub charge: Charge,
    /// Which response headers decisions carry; `None` takes the server's default.
    pub response_headers: Option<HeaderFamilies>,
    /// Whether requests may bring their own limits.
    pub accept_overrides: bool,
    /// Whether requests may give hits back.
    pub accept_refunds: bool,
}

impl RuleSet {
    /// Compiles domains. With `merge_domains`, domains of one name are merged, in order.
    ///
    /// # Errors
    /// Every mistake found, in the order of writing.
    pub fn compile(domains: Vec<DomainSpec>, merge_domains: bool) -> Result<Self, Vec<CompileError>> {
        todo!("{domains:?} {merge_domains}")
    }

    /// The domain of that name.
    #[must_use]
    pub fn domain(&self, name: &[u8]) -> Option<&Domain> {
        todo!("{name:?}")
    }

    /// All domains, in file order.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        std::iter::empty()
    }

    /// All rules; a rule's position is its id.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        std::iter::empty()
    }
}

impl Domain {
    /// The rule that applies to a descriptor, if any. See the module's documentation for the order of preference.
    #[must_use]
    pub fn find(&self, entries: &[Entry<'_>]) -> Option<&Rule> {
        todo!("{entries:?}")
    }
}
