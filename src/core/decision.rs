//! Outcomes put together: one status per descriptor, and one answer for the request.

use smallvec::SmallVec;

use super::adjustment::adjusted::{Adjusted, Denial, Lowered};
use super::algorithm::{Outcome, Verdict};
use super::clock::Micros;
use super::descriptor::Operation;
use super::limit::{Algorithm, Limit};
use super::rule::Rule;
use super::ruleset::Domain;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Let it pass.
    Ok,
    /// Do not.
    OverLimit,
}

/// Who answered for a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// The counter itself.
    #[default]
    Counter,
    /// This process remembered that the counter is over its limit.
    OverLimitMemory,
    /// The store could not answer, and this process counted at its share of the limit.
    Local,
    /// The store could not answer, and the rule says to let pass.
    Open,
    /// The store could not answer, and the rule says to deny.
    Closed,
}

impl Source {
    /// What to tell of an answer that is not the counter's own; `None` of one that is, or that agrees with it.
    #[must_use]
    pub const fn cause(self) -> Option<&'static str> {
        match self {
            Self::Counter | Self::OverLimitMemory => None,
            Self::Local => Some("counted-locally"),
            Self::Open | Self::Closed => Some("store-unavailable"),
        }
    }
}

/// The limit that a status reports, and what its counter said.
#[derive(Clone, Debug)]
pub struct Applied<'s> {
    /// The limit in effect: configured, adjusted or brought by the request.
    pub limit: Limit,
    /// The limit's name.
    pub name: Option<&'s str>,
    /// What its counter said.
    pub outcome: Outcome,
    /// Who said it.
    pub source: Source,
}

impl Applied<'_> {
    /// How long until hits are there again: the retry-after on a denial, the reset otherwise. Rounded up to whole
    /// seconds, this is `duration_until_reset`, `t` and, on a denial, `Retry-After`.
    #[must_use]
    pub fn reset(&self) -> Micros {
        match self.outcome.verdict {
            Verdict::NotUntil(wait) => wait,
            Verdict::Allowed | Verdict::InsufficientCapacity => self.outcome.reset_after,
        }
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.limit.algorithm()
    }
}

/// The status of one descriptor.
#[derive(Clone, Debug)]
pub struct Status<'s> {
    /// The descriptor's own answer.
    pub code: Code,
    /// The rule that matched, whether or not it was applied.
    pub rule: Option<&'s Rule>,
    /// The limit that decided: of several the one that denies longest, else the one with the least left.
    pub applied: Option<Applied<'s>>,
    /// Hits left, as reported: `u32::MAX` when unlimited, 0 in shadow mode over the limit, 0 when no limit applies.
    pub remaining: u64,
    /// What the descriptor did.
    pub operation: Operation,
    /// Another matched rule names this one in its `replaces`: not counted, always OK.
    pub replaced: bool,
    /// The rule is over its limit and in shadow mode.
    pub shadowed: bool,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Decision<'s> {
    /// The answer as a whole.
    pub code: Code,
    /// The domain, if it is known.
    pub domain: Option<&'s Domain>,
    /// One status per descriptor, in their order.
    pub statuses: SmallVec<[Status<'s>; 4]>,
    /// The status that headers and metadata speak of: the last one that denies, else the one with the least left.
    pub deciding: Option<usize>,
    /// Whether hits were charged: not when an enforced limit denied in a domain that charges all or nothing.
    pub charged: bool,
    /// The answer would be [`Code::OverLimit`], but for the server's shadow mode.
    pub globally_shadowed: bool,
    /// What adjustments did; `None` when none concerns the request. Boxed, as it is rare.
    pub adjustment: Option<Box<Adjusted>>,
}

impl<'s> Decision<'s> {
    /// The status that headers and metadata speak of, and its limit.
    #[must_use]
    pub fn deciding(&self) -> Option<(&Status<'s>, &Applied<'s>)> {
        let status = self.statuses.get(self.deciding?)?;
        Some((status, status.applied.as_ref()?))
    }

    /// How an adjustment denies the request, which would pass without.
    #[must_use]
    pub fn denied_by_adjustment(&self) -> Option<&Denial> {
        self.adjustment.as_ref()?.denial.as_ref()
    }

    /// The deciding limit with what its rule says, where an adjustment lowers it.
    #[must_use]
    pub fn lowered(&self) -> Option<&Lowered> {
        let adjusted = self.adjustment.as_ref()?;
        let (_, applied) = self.deciding()?;
        let of_deciding = |lowered: &&Lowered| Some(lowered.descriptor) == self.deciding;
        adjusted.lowered.iter().filter(of_deciding).find(|lowered| lowered.limit == applied.limit)
    }
}
