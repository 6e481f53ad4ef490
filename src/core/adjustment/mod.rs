//! Adjustments: temporary changes of what a client, or a group of clients that look alike, may do. The anomaly worker
//! makes them, or a person; they end by themselves.
//!
//! [`set`] finds those that concern a request, [`adjusted`] is what they did to its decision.

pub mod adjusted;
pub mod set;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::clock::Micros;
use super::subject::Subject;

/// One adjustment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Names it in answers, logs and the list of anomalies.
    pub id: Arc<str>,
    /// Whose requests it is about.
    pub subject: Subject,
    /// The domain, or all of them.
    pub domain: Option<Arc<str>>,
    /// What it does.
    pub effect: Effect,
    /// Wall time at which it ends, microseconds since the Unix epoch.
    pub expires: Micros,
    /// Only told, not enforced.
    pub shadow: bool,
}

/// What an adjustment does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// The subject's limits are so much of what the rules say.
    Factor {
        /// More than 0, at most 1.
        factor: f64,
        /// Never less hits a window than this; at least 1.
        floor: u64,
    },
    /// All requests of the subject together may do so much, besides what the rules say.
    Limit {
        /// Requests a second; more than 0.
        rate: f64,
        /// So many at once; at least 1.
        burst: u64,
    },
    /// Nothing passes.
    Block,
}

impl Adjustment {
    /// Whether it holds in a domain at a point of wall time.
    #[must_use]
    pub fn holds(&self, domain: &str, now: Micros) -> bool {
        now < self.expires && self.domain.as_deref().is_none_or(|own| own == domain)
    }
}

impl Effect {
    /// What is left of an amount: of [`Effect::Factor`] that share of it, which counts in millionths, rounded up; at least
    /// the floor, and never more than before. Other effects leave it as it is.
    #[must_use]
    pub fn lower(&self, amount: u64) -> u64 {
        let Self::Factor { factor, floor } = *self else { return amount };
        // What is no share at all becomes one millionth; what is no number becomes 0, so that the floor is left.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1 000 000")]
        let millionths = (factor * 1e6).round().clamp(1.0, 1e6) as u64;
        let share = (u128::from(amount) * u128::from(millionths)).div_ceil(1_000_000);
        u64::try_from(share).unwrap_or(amount).max(floor).min(amount)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factor { factor, floor } => write!(f, "limits are {factor} of what the rules say, at least {floor}"),
            Self::Limit { rate, burst } => write!(f, "{rate} requests a second all together, {burst} at once"),
            Self::Block => f.write_str("nothing passes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_is_rounded_up_exactly() {
        let lower = |factor, floor, amount| Effect::Factor { factor, floor }.lower(amount);
        assert_eq!(lower(0.07, 1, 100), 7, "and not 8, as doubles have it");
        assert_eq!(lower(0.25, 1, 10), 3);
        assert_eq!(lower(0.25, 5, 10), 5);
        assert_eq!(lower(0.25, 50, 10), 10, "a floor raises nothing");
        assert_eq!(lower(0.25, 1, 0), 0);
        assert_eq!(lower(f64::NAN, 1, 3_000_000), 1, "what is no number leaves the floor");
        assert_eq!(lower(-1.0, 1, 3_000_000), 3);
        assert_eq!(lower(7.0, 1, 10), 10);
        assert_eq!(Effect::Block.lower(10), 10);
    }

    proptest! {
        #[test]
        fn never_more_than_before_and_never_below_the_floor(
            millionths in 1_u64..=1_000_000, floor in 1_u64..1_000, amount in 0_u64..=crate::core::limit::MAX_HITS,
        ) {
            let left = Effect::Factor { factor: millionths as f64 / 1e6, floor }.lower(amount);
            prop_assert!(left <= amount && left >= floor.min(amount));
            let share = (u128::from(amount) * u128::from(millionths)).div_ceil(1_000_000);
            prop_assert_eq!(u128::from(left), share.max(floor.into()).min(amount.into()));
        }
    }
}
