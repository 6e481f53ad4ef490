//! What a request asks: a domain and descriptors, borrowed from wherever the protocol keeps them.
//!
//! Keys and values are bytes, because a client decides what stands in them and Envoy lets a request through when its
//! limiter refuses to answer.

use smallvec::SmallVec;

use super::client::Client;
use super::limit::{MAX_HITS, Unit};

/// One `key=value` of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Never empty in a rule; may be anything in a request.
    pub key: &'a [u8],
    /// Any bytes, also none.
    pub value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// An entry of two texts.
    #[must_use]
    pub const fn new(key: &'a str, value: &'a str) -> Self {
        Self { key: key.as_bytes(), value: value.as_bytes() }
    }
}

/// A limit that comes with the request and stands in for the configured one. Always a fixed window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitOverride {
    /// Hits allowed per unit.
    pub requests_per_unit: u32,
    /// The window.
    pub unit: Unit,
}

/// Ordered entries, and what they cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// In the order Envoy built them; order matters to matching.
    pub entries: SmallVec<[Entry<'a>; 4]>,
    /// The descriptor's own cost; 0 is a peek. `None` takes the request's.
    pub hits_addend: Option<u64>,
    /// The cost is a refund.
    pub is_negative_hits: bool,
    /// A limit to apply instead of the configured one.
    pub limit: Option<LimitOverride>,
}

/// One question to the limiter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The domain whose rules apply.
    pub domain: &'a [u8],
    /// Each is matched and charged on its own.
    pub descriptors: SmallVec<[Descriptor<'a>; 4]>,
    /// Cost of every descriptor without one of its own; 0 counts as 1.
    pub hits_addend: u32,
    /// What the protocol tells of the client beside the descriptors, where it tells something.
    pub client: Option<&'a Client<'a>>,
}

/// What one descriptor does to its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Consume so many hits, if they fit. `Charge(0)` is a peek: it asks and consumes nothing.
    Charge(u64),
    /// Give back so many hits, at most what is consumed.
    Refund(u64),
}

impl Operation {
    /// Hits charged or given back.
    #[must_use]
    pub const fn hits(self) -> u64 {
        match self {
            Self::Charge(hits) | Self::Refund(hits) => hits,
        }
    }
}

impl Descriptor<'_> {
    /// The operation this descriptor stands for: its own addend if it has one, else the request's, which counts as 1
    /// when 0. Saturates at [`MAX_HITS`].
    #[must_use]
    pub fn operation(&self, request_addend: u32) -> Operation {
        let hits = self.hits_addend.unwrap_or(u64::from(request_addend.max(1))).min(MAX_HITS);
        if self.is_negative_hits { Operation::Refund(hits) } else { Operation::Charge(hits) }
    }
}
