//! A limit: so much per window, by which algorithm. A [`Limit`] that exists is valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::calendar::CalendarWindow;
use super::clock::Micros;

/// Counters and costs saturate here: 2^53 - 1, the largest whole number that a Redis script can count to.
pub const MAX_HITS: u64 = (1 << 53) - 1;

/// The largest amount and burst of a `sliding_window_log`, which remembers every hit.
pub const MAX_LOG_AMOUNT: u64 = 10_000;

/// Longest window: ten years of 365 days.
pub const MAX_WINDOW: Micros = Micros::from_secs(10 * 365 * 86_400);

/// How a counter decides. See [`crate::core::algorithm`] for each one's promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// Count per aligned window.
    #[default]
    FixedWindow,
    /// Every accepted hit is remembered until it leaves the window.
    SlidingWindowLog,
    /// Two counts, the older weighted by its overlap.
    SlidingWindowCounter,
    /// Tokens refill at the limit's rate up to `burst`.
    TokenBucket,
    /// A level drains at the limit's rate; with burst 1, hits are equally spaced.
    LeakyBucket,
}

impl Algorithm {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] =
        [Self::FixedWindow, Self::SlidingWindowLog, Self::SlidingWindowCounter, Self::TokenBucket, Self::LeakyBucket];

    /// The name used in files, APIs, metrics and keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FixedWindow => "fixed_window",
            Self::SlidingWindowLog => "sliding_window_log",
            Self::SlidingWindowCounter => "sliding_window_counter",
            Self::TokenBucket => "token_bucket",
            Self::LeakyBucket => "leaky_bucket",
        }
    }

    /// Whether `burst` means anything to it.
    #[must_use]
    pub const fn has_burst(self) -> bool {
        matches!(self, Self::TokenBucket | Self::LeakyBucket)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{name}'; use one of {choices}")]
pub struct UnknownName {
    /// What was being named.
    pub what: &'static str,
    /// What was written.
    pub name: String,
    /// What may be written.
    pub choices: &'static str,
}

impl FromStr for Algorithm {
    type Err = UnknownName;
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(|| UnknownName {
            what: "algorithm",
            name: name.to_owned(),
            choices: "fixed_window, sliding_window_log, sliding_window_counter, token_bucket, leaky_bucket",
        })
    }
}

/// The units of envoyproxy/ratelimit. A month has 30 days and a year 365; people's months are `calendar: true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// One second.
    Second,
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// 7 days, counted from the epoch's Thursday.
    Week,
    /// 30 days.
    Month,
    /// 365 days.
    Year,
}

impl Unit {
    /// From the shortest to the longest.
    pub const ALL: [Self; 7] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The name used in files, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// Its fixed length.
    #[must_use]
    pub const fn length(self) -> Micros {
        Micros::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
            Self::Year => 365 * 86_400,
        })
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Unit {
    type Err = UnknownName;
    /// Case does not matter, as in envoyproxy/ratelimit.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(name)).ok_or_else(|| UnknownName {
            what: "unit",
            name: name.to_owned(),
            choices: "second, minute, hour, day, week, month, year",
        })
    }
}

/// The span a limit counts over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// A unit, or any other length.
    Length(Micros),
    /// A day, week, month or year as people count them, in their time zone. Only for `fixed_window`.
    Calendar(Arc<CalendarWindow>),
}

impl Window {
    /// The unit whose length this is, if any; a calendar window has the unit it is named after.
    #[must_use]
    pub fn unit(&self) -> Option<Unit> {
        match self {
            Self::Length(length) => Unit::ALL.into_iter().find(|unit| unit.length() == *length),
            Self::Calendar(calendar) => Some(calendar.unit().into()),
        }
    }

    /// The window's length; of a calendar window the nominal length of its unit.
    #[must_use]
    pub fn nominal_length(&self) -> Micros {
        match self {
            Self::Length(length) => *length,
            Self::Calendar(calendar) => Unit::from(calendar.unit()).length(),
        }
    }
}

impl fmt::Display for Window {
    /// The text that stands in counter keys: stable, `60s`, `1500000us`, `month@Europe/Berlin`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) if length.0 % 1_000_000 == 0 => write!(f, "{}s", length.0 / 1_000_000),
            Self::Length(length) => write!(f, "{}us", length.0),
            Self::Calendar(calendar) => {
                write!(f, "{}@{}", Unit::from(calendar.unit()), calendar.zone_name())
            }
        }
    }
}

/// What becomes of a hit that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Over {
    /// Denied but counted, as envoyproxy/ratelimit does: the level may exceed the limit.
    #[default]
    Record,
    /// Denied and forgotten: denied hits consume nothing.
    Drop,
}

/// So much per window. Valid by construction, see [`Limit::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    amount: u64,
    burst: u64,
    window: Window,
    algorithm: Algorithm,
    over: Over,
    post_paid: bool,
}

/// Why a limit cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A window of no length.
    #[error("window must be longer than zero; write for example 30s, 5m or 24h")]
    ZeroWindow,
    /// A window longer than [`MAX_WINDOW`].
    #[error("window must not be longer than ten years (3650 days)")]
    WindowTooLong,
    /// An amount above [`MAX_HITS`].
    #[error("the amount must not exceed {MAX_HITS} hits per window")]
    AmountTooLarge,
    /// A burst below 1.
    #[error("burst must be at least 1; leave it out for the algorithm's default")]
    BurstBelowOne,
    /// A burst above [`MAX_HITS`].
    #[error("burst must not exceed {MAX_HITS} hits")]
    BurstTooLarge,
    /// A burst for an algorithm that has none.
    #[error("{0} has no burst; leave burst out, or use token_bucket or leaky_bucket")]
    BurstWithout(Algorithm),
    /// A log that would remember too much.
    #[error(
        "sliding_window_log remembers every hit and takes at most {MAX_LOG_AMOUNT} per window; use \
         sliding_window_counter or token_bucket for {0}"
    )]
    LogTooLarge(u64),
    /// A calendar window for another algorithm.
    #[error("calendar windows are for fixed_window only; leave calendar out, or use algorithm: fixed_window")]
    CalendarWith(Algorithm),
}

/// The parts of a limit, before they are checked.
#[derive(Clone, Debug)]
pub struct LimitParts {
    /// Hits per window; 0 allows none.
    pub amount: u64,
    /// The window.
    pub window: Window,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Bucket size; `None` is the amount for a token bucket (at least 1), and 1 for a leaky bucket.
    pub burst: Option<u64>,
    /// What becomes of a hit that does not fit.
    pub over: Over,
    /// Always record and answer OK to a charge; deny a peek once nothing is left.
    pub post_paid: bool,
}

impl LimitParts {
    /// `amount` per `window` by a fixed window, recording denied hits.
    #[must_use]
    pub fn fixed_window(amount: u64, window: Window) -> Self {
        Self { amount, window, algorithm: Algorithm::FixedWindow, burst: None, over: Over::Record, post_paid: false }
    }
}

impl Limit {
    /// Checks the parts and makes a limit of them.
    ///
    /// # Errors
    /// One [`LimitError`], the first that applies, when the parts make no sense together.
    pub fn new(parts: LimitParts) -> Result<Self, LimitError> {
        let LimitParts { amount, window, algorithm, burst, over, post_paid } = parts;
        match &window {
            Window::Length(length) if *length == Micros::ZERO => return Err(LimitError::ZeroWindow),
            Window::Length(length) if *length > MAX_WINDOW => return Err(LimitError::WindowTooLong),
            Window::Calendar(_) if algorithm != Algorithm::FixedWindow => {
                return Err(LimitError::CalendarWith(algorithm));
            }
            _ => {}
        }
        if amount > MAX_HITS {
            return Err(LimitError::AmountTooLarge);
        }
        if algorithm == Algorithm::SlidingWindowLog && amount > MAX_LOG_AMOUNT {
            return Err(LimitError::LogTooLarge(amount));
        }
        let burst = match burst {
            Some(0) => return Err(LimitError::BurstBelowOne),
            Some(burst) if burst > MAX_HITS => return Err(LimitError::BurstTooLarge),
            Some(_) if !algorithm.has_burst() => return Err(LimitError::BurstWithout(algorithm)),
            Some(burst) => burst,
            None if algorithm == Algorithm::LeakyBucket => 1,
            None if algorithm == Algorithm::TokenBucket => amount.max(1),
            None => amount,
        };
        // Nothing per window means nothing, also not a first burst.
        let burst = if amount == 0 { 0 } else { burst };
        Ok(Self { amount, burst, window, algorithm, over, post_paid })
    }

    /// Nothing per window.
    #[must_use]
    pub fn nothing(window: Window) -> Self {
        let (algorithm, over) = (Algorithm::FixedWindow, Over::Drop);
        Self { amount: 0, burst: 0, window, algorithm, over, post_paid: false }
    }

    /// The same with a lower amount, and a lower burst where that means anything: each is what `lower` makes of it, but
    /// never more than before, and a burst never 0 beside an amount that is not.
    #[must_use]
    pub fn lowered(&self, lower: impl Fn(u64) -> u64) -> Self {
        let amount = lower(self.amount).min(self.amount);
        let burst = match amount {
            0 => 0,
            _ if self.algorithm.has_burst() => lower(self.burst).max(1).min(self.burst),
            amount => amount,
        };
        Self { amount, burst, ..self.clone() }
    }

    /// Hits per window; 0 allows none.
    #[must_use]
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    /// The most a counter holds: the bucket's size, else the amount.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.burst
    }

    /// The window.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What becomes of a hit that does not fit.
    #[must_use]
    pub const fn over(&self) -> Over {
        self.over
    }

    /// Whether charges are always recorded and answered OK.
    #[must_use]
    pub const fn post_paid(&self) -> bool {
        self.post_paid
    }
}
