//! Durations as people write them.

use crate::core::clock::Micros;

/// What may be written.
pub const EXAMPLES: &str = "write for example 500ms, 30s, 5m, 1h30m or 7d";

/// Why a text is no window.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DurationError {
    /// In units whose length depends on the calendar.
    #[error("is in months or years, which have no fixed length")]
    Calendar,
    /// Not a duration at all.
    #[error("is no duration: {0}")]
    Syntax(#[from] humantime::DurationError),
}

/// Reads a window: `500ms`, `1h30m`, `7d`. Months and years are refused: humantime's are averages of 30.44 and 365.25
/// days, which nobody means here.
///
/// # Errors
/// [`DurationError`].
pub fn parse(text: &str) -> Result<Micros, DurationError> {
    let mut words = text.split(|character: char| !character.is_ascii_alphabetic());
    if words.any(|word| matches!(word, "M" | "month" | "months" | "y" | "yr" | "yrs" | "year" | "years")) {
        return Err(DurationError::Calendar);
    }
    Ok(Micros::from(humantime::parse_duration(text)?))
}
