//! How the rules in force stand to their repository.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::guard::Alarm;
use super::state::{MAX_UNREADABLE, State};
use crate::rules::repository::{Head, Subject};

/// Where the rules in force were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The repository in Postgres.
    Postgres,
    /// The embedded repository.
    Embedded,
    /// The copy in Redis.
    Redis,
    /// The copy on disk.
    Disk,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Postgres, Self::Embedded, Self::Redis, Self::Disk];

    /// Its name in health and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Embedded => "embedded",
            Self::Redis => "redis",
            Self::Disk => "disk",
        }
    }
}

/// How the rules in force stand to their repository, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Which revision is in force; `None` before the first.
    pub head: Option<Head>,
    /// Where it was read from.
    pub source: Option<Source>,
    /// When it last was known to be the newest.
    pub in_step: Option<Timestamp>,
    /// While the repository does not answer: since when, and why.
    pub away: Option<(Timestamp, String)>,
    /// What is not put in force without an operator's word.
    pub alarm: Option<Alarm>,
    /// How many records cannot be used.
    pub unreadable: usize,
    /// Some of them: which, why, and whether an earlier version is in force.
    pub troubles: Vec<(Subject, String, bool)>,
    /// Overrides in force.
    pub overrides: usize,
}

impl Standing {
    /// Whether something needs an operator: an alarm, or records that cannot be used.
    #[must_use]
    pub const fn degraded(&self) -> bool {
        self.alarm.is_some() || self.unreadable > 0
    }
}

/// Shared with health and metrics.
#[derive(Debug, Default)]
pub struct Status {
    standing: Mutex<Standing>,
}

impl Status {
    /// How things stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in force was the newest just now.
    pub(super) fn in_step(&self, now: Timestamp, source: Source) {
        let mut standing = self.lock();
        standing.in_step = Some(now);
        standing.source = Some(source);
        standing.away = None;
        standing.alarm = None;
    }

    /// Another state is in force.
    pub(super) fn took(&self, state: &State, source: Source) {
        let mut troubles: Vec<_> = state
            .unreadable()
            .map(|(subject, trouble)| (subject.clone(), trouble.reason.clone(), trouble.earlier_in_force))
            .collect();
        troubles.sort();
        troubles.truncate(MAX_UNREADABLE);
        let mut standing = self.lock();
        standing.head = state.head;
        standing.source = Some(source);
        standing.unreadable = state.unreadable().len();
        standing.troubles = troubles;
        standing.overrides = state.overrides();
    }

    /// The repository does not answer; says whether that is news.
    pub(super) fn away(&self, now: Timestamp, reason: &str) -> bool {
        let mut standing = self.lock();
        let news = standing.away.is_none();
        let since = standing.away.take().map_or(now, |(since, _)| since);
        standing.away = Some((since, reason.to_owned()));
        news
    }

    /// Something is not put in force; says whether that is news.
    pub(super) fn alarm(&self, alarm: &Alarm) -> bool {
        let mut standing = self.lock();
        let news = standing.alarm.as_ref() != Some(alarm);
        standing.alarm = Some(alarm.clone());
        standing.away = None;
        news
    }
}
