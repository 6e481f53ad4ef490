//! A client as it is kept in a checkpoint: so much of it that nobody who is known looks new, and nobody's past is lost.

use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};

use super::{ByModels, Client, Minute};
use crate::anomaly::bounded;
use crate::anomaly::features::clients::Who;
use crate::anomaly::features::decay::{Count, Fading};
use crate::anomaly::features::distinct::Recent;
use crate::anomaly::surge::profile::Profile;
use crate::core::clock::Micros;

/// Who is older, and belongs to no surge, is not compared with new clients any more.
const LEAN: Micros = Micros::from_secs(600);
/// What was different within this time is forgotten after it.
const DIFFERENT: Micros = Micros::from_secs(600);
/// What is counted by the minute has faded after so long.
const FADED: Micros = Micros::from_secs(900);
/// One client, in brief.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Brief {
    /// Who it is.
    pub who: Who,
    born: Micros,
    last: Micros,
    learned: Micros,
    requests: u32,
    strange: u8,
    shared: bool,
    /// It has an open incident.
    pub suspected: bool,
    calm: Count,
    of_users: Count,
    moves: Count,
    behind: u64,
    rates: [f32; 4],
    second: u32,
    means: [f32; 5],
    templates: [u8; 16],
    counts: [u16; 6],
    told: [bool; 3],
    number: u64,
    minute: Option<Box<Minute>>,
    different: Option<Box<[Recent; 3]>>,
    profile: Kept,
}

/// What a client is compared by.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kept {
    Full(Box<Profile>),
    Lean([u16; 4], bool),
}

impl Brief {
    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        postcard::serialize_with_flavor(self, Size::default()).unwrap_or(usize::MAX)
    }

    /// Leaves out what is soon known again.
    pub fn shorten(&mut self) {
        self.different = None;
    }

    /// What keeps it in memory: see [`Client::weight`].
    #[must_use]
    pub fn weight(&self, now: Micros) -> f64 {
        let [.., slowest] = self.rates;
        let of_users = f64::from(self.of_users.at(now, 3_600.0)).min(100.0);
        f64::from(slowest) * (-(now - self.last).as_duration().as_secs_f64() / 600.0).exp() + of_users
    }

    /// Whether this is what a client can be at `now`, after it was read.
    #[must_use]
    pub fn is_sound(&self, now: Micros) -> bool {
        let times = [self.born, self.last, self.learned].iter().all(|time| *time <= now);
        let counts = [&self.calm, &self.of_users, &self.moves].iter().all(|count| count.is_sound(now));
        let minute = self.minute.as_deref().map(Minute::all).unwrap_or_default();
        let figures = self.rates.iter().chain(&self.means).chain(&minute);
        let profile = match &self.profile {
            Kept::Full(profile) => profile.is_sound(),
            Kept::Lean(..) => true,
        };
        times && counts && profile && figures.copied().map(f64::from).all(bounded::is_amount)
    }
}

impl Minute {
    fn all(&self) -> [f32; 10] {
        let Self { known, client_errors, auth_failures, not_found, server_errors, .. } = *self;
        let Self { decided, denied, bytes, fresh_users, sequence, .. } = *self;
        [known, client_errors, auth_failures, not_found, server_errors, decided, denied, bytes, fresh_users, sequence]
    }
}

impl Client {
    /// In brief, at `now`; who was born since `onset` is in a surge.
    #[must_use]
    pub fn brief(&self, who: &Who, now: Micros, onset: Option<Micros>) -> Brief {
        let idle = now - self.last;
        let is_young = now - self.born < LEAN || onset.is_some_and(|onset| self.born >= onset);
        let Profile { country, asn, agent, last_path, named, .. } = self.profile;
        Brief {
            who: who.clone(),
            born: self.born,
            last: self.last,
            learned: self.learned,
            requests: self.requests,
            strange: self.strange,
            shared: self.shared,
            suspected: self.suspected,
            calm: self.calm,
            of_users: self.of_users,
            moves: self.moves,
            behind: self.behind,
            rates: self.rates.counts(),
            second: self.second,
            means: [self.mean, self.square, self.gap_mean, self.gap_square, self.writes],
            templates: self.templates,
            counts: [self.steps, self.unusual, self.errors, self.statuses, self.path_kinds, self.written],
            told: [self.wrote, self.bytes_known, self.address_known],
            number: self.number,
            minute: (idle < FADED && self.minute.all().iter().any(|count| *count > 0.0)).then(|| Box::new(self.minute)),
            different: (idle < DIFFERENT).then(|| Box::new([self.paths, self.agents, self.addresses])),
            profile: if is_young {
                Kept::Full(Box::new(self.profile))
            } else {
                Kept::Lean([country, asn, agent, last_path], named)
            },
        }
    }

    /// As it was, in brief.
    #[must_use]
    pub fn of(key: u64, brief: &Brief) -> Self {
        let [mean, square, gap_mean, gap_square, writes] = brief.means;
        let [steps, unusual, errors, statuses, path_kinds, written] = brief.counts;
        let [wrote, bytes_known, address_known] = brief.told;
        let [paths, agents, addresses] = brief.different.as_deref().copied().unwrap_or_default();
        Self {
            key,
            born: brief.born,
            last: brief.last,
            requests: brief.requests,
            in_interval: 0,
            profile: match &brief.profile {
                Kept::Full(profile) => **profile,
                Kept::Lean(who, named) => Profile::lean(*who, *named),
            },
            of_users: brief.of_users,
            calm: brief.calm,
            behind: brief.behind,
            strange: brief.strange,
            by_models: ByModels::default(),
            pending: 0,
            heavy: 0,
            shared: brief.shared,
            suspected: brief.suspected,
            learned: brief.learned,
            rates: Fading::of(brief.rates),
            second: brief.second,
            second_at: brief.last.0 / 1_000_000,
            mean,
            square,
            gap_mean,
            gap_square,
            templates: brief.templates,
            paths,
            agents,
            addresses,
            minute: brief.minute.as_deref().copied().unwrap_or_default(),
            writes,
            wrote,
            bytes_known,
            address_known,
            number: brief.number,
            moves: brief.moves,
            steps,
            unusual,
            errors,
            statuses,
            path_kinds,
            written,
        }
    }
}
