//! What a request costs.

use super::value::Reading;
use crate::core::limit::MAX_HITS;

/// A cost, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    Fixed(u64),
    Of {
        /// Which of the route's values.
        slot: usize,
        per: u64,
        default: u64,
        min: u64,
        max: u64,
    },
}

impl Cost {
    /// In hits, at most [`MAX_HITS`].
    pub(super) fn of(&self, values: &[Option<Reading<'_>>]) -> u64 {
        let hits = match self {
            Self::Fixed(hits) => *hits,
            Self::Of { slot, per, default, min, max } => {
                let value = values.get(*slot).and_then(Option::as_ref);
                match value.and_then(|reading| whole_number(&reading.text)) {
                    Some(number) => number.div_ceil(*per).max(*min).min(*max),
                    None => *default,
                }
            }
        };
        hits.min(MAX_HITS)
    }
}

/// Digits only; a number that is too large is the largest.
fn whole_number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        text.iter().fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        for (text, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("150", Some(150)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("1e3", None),
            (" 1", None),
            ("\u{661}", None),
        ] {
            assert_eq!(whole_number(text.as_bytes()), number, "{text}");
        }
    }
}
