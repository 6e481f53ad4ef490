//! Time, injected. All arithmetic of the core is in whole microseconds, which a double holds exactly for the next
//! two centuries, so that a Redis script can agree with it to the last unit.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A point in time or a length of time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// One second.
    pub const SECOND: Self = Self(1_000_000);

    /// `seconds` whole seconds, saturating.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// `millis` whole milliseconds, saturating.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// The whole seconds that cover this length: rounded up.
    #[must_use]
    pub const fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// This length less `other`, zero when `other` is longer.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This length as a [`Duration`].
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Add for Micros {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Micros {
    type Output = Self;
    /// Saturating: time differences are never negative.
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_duration())
    }
}

/// One reading of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the Unix epoch. May step back when the machine's clock is set; used only for aligned windows.
    pub wall: Micros,
    /// Since some fixed instant of this process. Never steps back; used for every interval.
    pub mono: Micros,
}

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present reading.
    fn now(&self) -> Now;

    /// The present reading since the Unix epoch, where that is all that is wanted.
    fn wall(&self) -> Micros {
        self.now().wall
    }
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic readings count from now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { wall: self.wall(), mono: self.origin.elapsed().into() }
    }

    fn wall(&self) -> Micros {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(Micros::from).unwrap_or_default()
    }
}

/// A clock that moves only when told to; clones share their time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    wall: Arc<AtomicU64>,
    mono: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `wall` since the Unix epoch.
    #[must_use]
    pub fn at(wall: Micros) -> Self {
        Self { wall: Arc::new(AtomicU64::new(wall.0)), mono: Arc::new(AtomicU64::new(0)) }
    }

    /// Lets `by` pass.
    pub fn advance(&self, by: Micros) {
        self.mono.fetch_add(by.0, Ordering::SeqCst);
        self.wall.fetch_add(by.0, Ordering::SeqCst);
    }

    /// Sets the wall clock, back or forth, while no time passes.
    pub fn set_wall(&self, wall: Micros) {
        self.wall.store(wall.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        Now { wall: Micros(self.wall.load(Ordering::SeqCst)), mono: Micros(self.mono.load(Ordering::SeqCst)) }
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Now {
        (**self).now()
    }

    fn wall(&self) -> Micros {
        (**self).wall()
    }
}
