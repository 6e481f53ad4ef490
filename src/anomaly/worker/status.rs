//! How the worker stands: counted by its parts, read by metrics and by people.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;

use crate::anomaly::bus::BusError;
use crate::anomaly::event::{Event, Kind};
use crate::anomaly::observation::Observation;
use crate::core::clock::Micros;

/// Kinds of events, as metrics call them.
pub const KINDS: [&str; 5] = ["flag", "tighten", "block", "held", "release"];

/// Kinds of failures of the bus, as metrics call them.
pub const FAILURES: [&str; 4] = ["away", "damaged", "too_large", "unseated"];

/// What an observation can tell, and the worker is blind to where none does.
pub const SOURCES: [&str; 10] =
    ["user", "address", "method", "path", "user_agent", "country", "asn", "status", "bytes", "duration"];

/// What this process is to the computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Another has the seat, or this process may not take it.
    Follower,
    /// It computes for all.
    Leader,
    /// The bus is away: it computes for itself.
    Alone,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// So far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of the present.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// As it was set last.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The figures.
#[derive(Debug, Default)]
pub struct Status {
    /// 0 follower, 1 leader, 2 alone.
    role: AtomicU64,
    /// Since when: wall time.
    since: AtomicU64,
    away: AtomicBool,
    away_since: AtomicU64,
    seen: AtomicU64,
    kinds: [Count; KINDS.len()],
    failures: [Count; FAILURES.len()],
    /// Batches that the bus took.
    pub batches_sent: Count,
    /// Batches that it did not take.
    pub batches_dropped: Count,
    /// Batches that could not be read.
    pub batches_damaged: Count,
    /// Observations that the engine saw.
    pub observed: Count,
    /// Intervals that ended.
    pub ticks: Count,
    /// How long the last tick took, microseconds.
    pub tick: Level,
    /// How old the newest observation was when the engine saw it, microseconds.
    pub lag: Level,
    /// Clients that are followed.
    pub clients: Level,
    /// Incidents that are open.
    pub incidents: Level,
    /// Deeds that were applied here.
    pub deeds: Count,
    /// How old the last of them was when it was in force here, microseconds.
    pub deed_age: Level,
    /// Adjustments that were one too many.
    pub refused: Level,
    /// Times that something between deeds was no longer there.
    pub gaps: Count,
    /// When the last checkpoint was left: wall time; 0 before the first.
    pub checkpoint_at: Level,
    /// Its size, bytes.
    pub checkpoint_bytes: Level,
    /// Events that wait to be noted.
    pub findings_waiting: Level,
    /// Events that were not noted, as too many waited.
    pub findings_lost: Count,
    /// The findings' store does not answer.
    pub findings_away: AtomicBool,
}

impl Status {
    /// This process is now something else.
    pub(super) fn became(&self, role: Role, at: Micros) {
        self.role.store(role as u64, Ordering::Relaxed);
        self.since.store(at.0, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.role.load(Ordering::Relaxed) {
            1 => Role::Leader,
            2 => Role::Alone,
            _ => Role::Follower,
        }
    }

    /// Since when: wall time.
    #[must_use]
    pub fn since(&self) -> Micros {
        Micros(self.since.load(Ordering::Relaxed))
    }

    /// The bus answers; returns whether it did not before.
    pub(super) fn bus_answered(&self) -> bool {
        self.away.swap(false, Ordering::Relaxed)
    }

    /// The bus does not answer, or not well; returns whether it did before.
    pub(super) fn bus_failed(&self, error: &BusError, at: Micros) -> bool {
        let kind = match error {
            BusError::Away(_) => 0,
            BusError::Damaged { .. } => 1,
            BusError::TooLarge { .. } => 2,
            BusError::Unseated => 3,
        };
        self.failures[kind].add(1);
        if kind != 0 || self.away.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.away_since.store(at.0, Ordering::Relaxed);
        true
    }

    /// Since when the bus is away: wall time.
    #[must_use]
    pub fn away_since(&self) -> Option<Micros> {
        self.away.load(Ordering::Relaxed).then(|| Micros(self.away_since.load(Ordering::Relaxed)))
    }

    /// Failures of the bus, in the order of [`FAILURES`].
    #[must_use]
    pub fn failures(&self) -> [u64; FAILURES.len()] {
        self.failures.each_ref().map(Count::get)
    }

    /// The engine said something.
    pub(super) fn said(&self, event: &Event) {
        let kind = match event.kind {
            Kind::Flag => 0,
            Kind::Tighten { .. } => 1,
            Kind::Block { .. } => 2,
            Kind::Held => 3,
            Kind::Release => 4,
        };
        self.kinds[kind].add(1);
    }

    /// What the engine said, in the order of [`KINDS`].
    #[must_use]
    pub fn kinds(&self) -> [u64; KINDS.len()] {
        self.kinds.each_ref().map(Count::get)
    }

    /// What an observation tells is not missing.
    pub(super) fn saw(&self, observation: &Observation<'_>) {
        let told = [
            observation.user.is_some(),
            observation.address.is_some(),
            !observation.method.is_empty(),
            !observation.path.is_empty(),
            observation.user_agent.is_some(),
            observation.country.is_some(),
            observation.asn.is_some(),
            observation.status.is_some(),
            observation.bytes.is_some(),
            observation.duration.is_some(),
        ];
        let bits = told.iter().enumerate().fold(0, |bits, (place, told)| bits | (u64::from(*told) << place));
        if self.seen.load(Ordering::Relaxed) & bits != bits {
            self.seen.fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// What none of this process' observations told so far.
    pub fn blind_to(&self) -> impl Iterator<Item = &'static str> {
        let seen = self.seen.load(Ordering::Relaxed);
        SOURCES.into_iter().enumerate().filter(move |(place, _)| seen & (1 << place) == 0).map(|(_, name)| name)
    }
}

/// How the worker stands, for people.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// What this process is.
    pub role: Role,
    /// Since when: wall time.
    pub since: Micros,
    /// Since when the bus is away: wall time.
    pub bus_away_since: Option<Micros>,
    /// Whether actions are only told.
    pub shadow: bool,
    /// Clients that are followed; only who computes knows.
    pub clients: u64,
    /// Incidents that are open; only who computes knows.
    pub incidents: u64,
    /// When the last checkpoint was left: wall time.
    pub checkpoint: Option<Micros>,
    /// The findings' store does not answer.
    pub findings_away: bool,
    /// What no observation of this process told.
    pub blind_to: Vec<&'static str>,
}
