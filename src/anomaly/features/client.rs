//! What is remembered of one client: a user, or the requests of an address that tell no user.

#![expect(clippy::cast_precision_loss, reason = "counts of requests, as figures that fade")]

mod brief;

use serde::{Deserialize, Serialize};

pub use self::brief::Brief;
use super::decay::{Count, Fading, seconds};
use super::distinct::Recent;
use super::list::{COUNT, Feature, Vector};
use super::names::{Id, MISSING};
use super::walk::Walk;
use crate::anomaly::observation::Outcome;
use crate::anomaly::surge::profile::Profile;
use crate::core::clock::Micros;

/// Time scales of rates, seconds.
const RATES: [f32; 4] = [1.0, 10.0, 60.0, 600.0];
/// Shares of the last requests: each weighs so much.
const LAST: f32 = 1.0 / 32.0;
/// A client that is known for so many seconds has a past to be compared with.
const KNOWN: f64 = 180.0;
/// Time scale of what is counted by the minute, seconds.
const MINUTE: f32 = 60.0;

/// A request, its texts as numbers.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When, on the engine's own time.
    pub now: Micros,
    /// The half of a sliding time that it is in.
    pub half: u32,
    /// Template of the path.
    pub path: Id,
    /// Hash of the path.
    pub path_hash: u64,
    /// The number at the path's end.
    pub number: Option<u64>,
    /// The user agent.
    pub agent: Id,
    /// Its hash; 0 when it is missing.
    pub agent_hash: u64,
    /// The country.
    pub country: Id,
    /// The autonomous system.
    pub asn: Id,
    /// Whether it is other than GET, HEAD and OPTIONS.
    pub writes: Option<bool>,
    /// The response's status, of requests that passed.
    pub status: Option<u16>,
    /// The response's size.
    pub bytes: Option<u64>,
    /// What was decided.
    pub outcome: Outcome,
    /// Hash of the address; 0 when it is missing.
    pub address_hash: u64,
    /// The user was never seen before.
    pub fresh_user: bool,
}

/// Shares and counts of the last minute.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Minute {
    known: f32,
    client_errors: f32,
    auth_failures: f32,
    not_found: f32,
    server_errors: f32,
    decided: f32,
    denied: f32,
    bytes: f32,
    fresh_users: f32,
    sequence: f32,
}

impl Minute {
    fn pass(&mut self, weight: f32) {
        for count in [
            &mut self.known,
            &mut self.client_errors,
            &mut self.auth_failures,
            &mut self.not_found,
            &mut self.server_errors,
            &mut self.decided,
            &mut self.denied,
            &mut self.bytes,
            &mut self.fresh_users,
            &mut self.sequence,
        ] {
            *count *= weight;
        }
    }
}

/// What models make of a client, as `r`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByModels {
    /// When they were last asked; zero: never.
    pub asked: Micros,
    /// What they said.
    pub present: f32,
    /// The most since it was last learned from.
    pub most: f32,
    /// What is usual of it: the most in the minutes that it was learned from, fading.
    pub usual: Option<f32>,
}

impl ByModels {
    /// Takes what models say now.
    pub fn take(&mut self, now: Micros, r: f32) {
        self.asked = now;
        self.present = r;
        self.most = self.most.max(r);
    }

    /// It was calm for a minute and more, so this is what it is like. Moves down slowly, so that who is strange once in some
    /// minutes is known to be.
    pub fn settle(&mut self) {
        if self.asked == Micros::ZERO {
            return;
        }
        self.usual = Some(self.most.max(self.usual.unwrap_or_default() * 0.9));
        self.most = 0.0;
    }
}

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whom its requests come from, a hash of the whole name.
    pub key: u64,
    /// When it was first seen as a client of its own.
    pub born: Micros,
    /// When it was last seen.
    pub last: Micros,
    /// Requests since.
    pub requests: u32,
    /// Requests within the present interval.
    pub in_interval: u32,
    /// What it is compared by in a surge.
    pub profile: Profile,
    /// Of an address: calm requests of users behind it, fading with an hour.
    pub of_users: Count,
    /// Its own calm requests, fading with an hour.
    pub calm: Count,
    /// Of a user: the key of the address that it came from last; 0 when it is missing.
    pub behind: u64,
    /// Intervals in a row in which it was strange.
    pub strange: u8,
    /// Requests of the last second in which it was calm: the next tells whether they count as calm traffic.
    pub pending: u32,
    /// Seconds in a row in which it made a large part of the usual traffic.
    pub heavy: u8,
    /// What models make of it.
    pub by_models: ByModels,
    /// Of an address: users that are no attackers were seen behind it when it was blocked.
    pub shared: bool,
    /// It has an open incident.
    pub suspected: bool,
    /// When its vector was last learned.
    pub learned: Micros,
    rates: Fading<4>,
    /// Requests of the present second, and the fading mean and mean square of such.
    second: u32,
    second_at: u64,
    mean: f32,
    square: f32,
    gap_mean: f32,
    gap_square: f32,
    templates: [u8; 16],
    paths: Recent,
    agents: Recent,
    addresses: Recent,
    minute: Minute,
    writes: f32,
    wrote: bool,
    bytes_known: bool,
    address_known: bool,
    number: u64,
    moves: Count,
    steps: u16,
    unusual: u16,
    errors: u16,
    statuses: u16,
    path_kinds: u16,
    written: u16,
}

impl Client {
    /// Nothing was seen of it yet.
    #[must_use]
    pub fn new(key: u64, now: Micros) -> Self {
        Self {
            key,
            born: now,
            last: now,
            requests: 0,
            in_interval: 0,
            profile: Profile::default(),
            of_users: Count::default(),
            calm: Count::default(),
            behind: 0,
            strange: 0,
            pending: 0,
            heavy: 0,
            by_models: ByModels::default(),
            shared: false,
            suspected: false,
            learned: Micros::ZERO,
            rates: Fading::default(),
            second: 0,
            second_at: now.0 / 1_000_000,
            mean: 0.0,
            square: 0.0,
            gap_mean: 0.0,
            gap_square: 0.0,
            templates: [0; 16],
            paths: Recent::default(),
            agents: Recent::default(),
            addresses: Recent::default(),
            minute: Minute::default(),
            writes: 0.0,
            wrote: false,
            bytes_known: false,
            address_known: false,
            number: 0,
            moves: Count::default(),
            steps: 0,
            unusual: 0,
            errors: 0,
            statuses: 0,
            path_kinds: 0,
            written: 0,
        }
    }

    /// Takes one request.
    pub fn observe(&mut self, seen: &Seen, walk: &Walk, named: bool) {
        let gap = seen.now - self.last;
        self.pass(seen.now, gap);
        self.rates.add(1.0);
        self.second += 1;
        self.in_interval += 1;
        if self.requests > 0 {
            let weight = (1.0 / (self.requests.min(16) as f32)).max(1.0 / 16.0);
            let gap = seconds(gap);
            self.gap_mean += weight * (gap - self.gap_mean);
            self.gap_square += weight * (gap * gap - self.gap_square);
            if let Some(unusual) = walk.is_unusual(self.profile.last_path, seen.path) {
                self.steps = self.steps.saturating_add(1);
                self.unusual = self.unusual.saturating_add(u16::from(unusual));
            }
        }
        self.note_path(seen);
        self.note_answer(seen);
        if let Some(writes) = seen.writes {
            self.wrote = true;
            self.writes += LAST.max(1.0 / (self.requests as f32 + 1.0)) * (f32::from(u8::from(writes)) - self.writes);
            self.written = self.written.saturating_add(u16::from(writes));
        }
        if seen.agent != MISSING {
            self.agents.insert(seen.half, seen.agent_hash);
        }
        if seen.address_hash != 0 {
            self.address_known = true;
            self.addresses.insert(seen.half, seen.address_hash);
        }
        self.minute.fresh_users += f32::from(u8::from(seen.fresh_user));
        if named && self.requests > 0 && seen.country != MISSING && self.profile.country != MISSING {
            let moved = seen.country != self.profile.country;
            if moved {
                self.moves.add(seen.now, 1.0, 600.0);
            }
        }
        self.profile.note(seen, self.requests, named);
        self.requests = self.requests.saturating_add(1);
        self.last = seen.now;
    }

    fn note_path(&mut self, seen: &Seen) {
        if seen.path == MISSING {
            return;
        }
        self.paths.insert(seen.half, seen.path_hash);
        let bucket = usize::from(seen.path) % 16;
        if let Some(count) = self.templates.get_mut(bucket) {
            self.path_kinds = self.path_kinds.saturating_add(u16::from(*count == 0));
            *count = count.saturating_add(1);
            if *count == u8::MAX {
                self.templates.iter_mut().for_each(|count| *count /= 2);
            }
        }
        if let Some(number) = seen.number {
            let step = number.wrapping_sub(self.number);
            if self.requests > 0 && (1..=3).contains(&step) {
                self.minute.sequence += 1.0;
            }
            self.number = number;
        }
    }

    fn note_answer(&mut self, seen: &Seen) {
        let minute = &mut self.minute;
        match seen.outcome {
            Outcome::Allowed => minute.decided += 1.0,
            Outcome::Limited => {
                minute.decided += 1.0;
                minute.denied += 1.0;
            }
            Outcome::Unknown | Outcome::LimitedByAdjustment => {}
        }
        if let Some(status) = seen.status {
            minute.known += 1.0;
            self.statuses = self.statuses.saturating_add(1);
            match status {
                401 | 403 => minute.auth_failures += 1.0,
                429 => {}
                400..=499 => {
                    minute.client_errors += 1.0;
                    minute.not_found += f32::from(u8::from(status == 404));
                }
                500.. => minute.server_errors += 1.0,
                _ => {}
            }
            self.errors = self.errors.saturating_add(u16::from((400..=499).contains(&status) && status != 429));
        }
        if let Some(bytes) = seen.bytes {
            self.bytes_known = true;
            minute.bytes += bytes as f32;
        }
    }

    fn pass(&mut self, now: Micros, elapsed: Micros) {
        if elapsed == Micros::ZERO {
            return;
        }
        self.rates.pass(elapsed, &RATES);
        self.minute.pass((-seconds(elapsed) / MINUTE).exp());
        let second = now.0 / 1_000_000;
        let passed = second.saturating_sub(self.second_at);
        if passed > 0 {
            let count = self.second as f32;
            let keep = (-(passed as f32) / MINUTE).exp();
            let last = 1.0 - (-1.0 / MINUTE).exp();
            self.mean = keep * self.mean + last * count;
            self.square = keep * self.square + last * count * count;
            self.second = 0;
            self.second_at = second;
        }
    }

    /// Requests with a fading of 10 s, as of `now`.
    #[must_use]
    pub fn recent(&self, now: Micros) -> f64 {
        self.rates.count(1) * f64::from(-seconds(now - self.last) / 10.0).exp()
    }

    /// What keeps it in memory: requests with a fading of 10 min.
    #[must_use]
    pub fn weight(&self, now: Micros) -> f64 {
        self.rates.count(3) * f64::from(-seconds(now - self.last) / 600.0).exp()
    }

    /// Takes its picture, for comparisons with clients of the same age.
    pub fn picture(&mut self, age: usize) {
        let regularity = self.spread().map(|spread| match spread {
            ..0.15 => 0,
            ..0.4 => 1,
            ..0.8 => 2,
            ..1.5 => 3,
            _ => 4,
        });
        let part = |part: u16, whole: u16, least: u16| {
            (whole >= least).then(|| f32::from(part) / f32::from(whole.max(1))).map(|share| match share {
                0.0 => 0,
                ..0.34 => 1,
                ..0.67 => 2,
                _ => 3,
            })
        };
        let requests = u16::try_from(self.requests).unwrap_or(u16::MAX);
        let pace = (self.requests >= 2).then_some(match self.gap_mean {
            ..0.5 => 0,
            ..1.0 => 1,
            ..2.0 => 2,
            ..4.0 => 3,
            ..8.0 => 4,
            ..16.0 => 5,
            ..32.0 => 6,
            _ => 7,
        });
        let size = u8::try_from(self.requests.max(1).ilog2()).unwrap_or(7).min(7);
        self.profile.picture(
            age,
            [
                Some(size),
                regularity,
                part(self.path_kinds, requests.min(16), 3),
                part(self.unusual, self.steps, 2),
                part(self.errors, self.statuses, 1),
                if self.wrote { part(self.written, requests, 1) } else { None },
                pace,
            ],
        );
    }

    /// The coefficient of variation of the time between requests.
    fn spread(&self) -> Option<f32> {
        (self.requests >= 5 && self.gap_mean > 0.0)
            .then(|| (self.gap_square - self.gap_mean * self.gap_mean).max(0.0).sqrt() / self.gap_mean)
    }

    /// Its features.
    pub fn vector(&mut self, now: Micros) -> Vector {
        let idle = now - self.last;
        let mut faded = self.clone();
        faded.pass(now, idle);
        let age = f64::from(seconds(now - self.born));
        let minute = faded.minute;
        let mut vector = [f64::NAN; COUNT];
        let mut set = |feature: Feature, value: f64| {
            if let Some(place) = vector.get_mut(feature.index()) {
                *place = value;
            }
        };
        let share = |part: f32, whole: f32| if whole >= 1.0 { f64::from(part / whole) } else { f64::NAN };
        let when = |known: bool, value: f64| if known { value } else { f64::NAN };

        set(Feature::Rate1s, faded.rates.count(0));
        for (scale, feature) in [(1, Feature::Rate10s), (2, Feature::Rate1m), (3, Feature::Rate10m)] {
            let length = f64::from(RATES[scale]);
            set(feature, faded.rates.count(scale) / (length * (1.0 - (-age.max(2.0) / length).exp())));
        }
        let variance = f64::from(faded.square - faded.mean * faded.mean).max(0.0);
        set(Feature::Burstiness, when(faded.mean > 0.0, variance / f64::from(faded.mean.max(1e-6))));
        let spread = self.spread().filter(|_| self.requests >= 10);
        set(Feature::Regularity, spread.map_or(f64::NAN, |spread| f64::from(1.0 - spread).max(0.0)));
        let pathless = self.profile.last_path == MISSING;
        set(Feature::Paths, when(!pathless, self.paths.count()));
        set(Feature::Concentration, when(!pathless && self.requests >= 20, self.concentration()));
        set(Feature::Writes, when(self.wrote, f64::from(self.writes)));
        set(Feature::ClientErrors, when(minute.known >= 5.0, share(minute.client_errors, minute.known)));
        set(Feature::AuthFailures, when(self.statuses > 0, f64::from(minute.auth_failures)));
        set(Feature::NotFound, when(self.statuses > 0, f64::from(minute.not_found)));
        set(Feature::ServerErrors, when(minute.known >= 5.0, share(minute.server_errors, minute.known)));
        set(Feature::Denied, when(minute.decided >= 5.0, share(minute.denied, minute.decided)));
        // Behind an address that users share there are as many agents as users.
        let alone = self.of_users.at(now, 3_600.0) <= 0.0;
        set(Feature::UserAgents, when(self.profile.agent != MISSING && alone, self.agents.count()));
        set(Feature::Addresses, when(self.address_known, self.addresses.count()));
        set(Feature::FreshUsers, f64::from(minute.fresh_users));
        set(Feature::Bytes, when(self.bytes_known, f64::from(minute.bytes / MINUTE)));
        let usual = faded.rates.count(3) / (600.0 * (1.0 - (-age / 600.0).exp())).max(1.0);
        set(Feature::Growth, when(age >= KNOWN, faded.rates.count(1) / 10.0 / usual.max(1e-6)));
        set(Feature::Sequence, f64::from(minute.sequence));
        set(Feature::CountryChanges, when(self.profile.country != MISSING, f64::from(self.moves.at(now, 600.0))));
        vector
    }

    fn concentration(&self) -> f64 {
        let total: f64 = self.templates.iter().map(|count| f64::from(*count)).sum();
        let entropy: f64 = self
            .templates
            .iter()
            .filter(|count| **count > 0)
            .map(|count| f64::from(*count) / total)
            .map(|share| -share * share.log2())
            .sum();
        1.0 - entropy / 4.0
    }
}

#[cfg(test)]
pub(in crate::anomaly) mod tests;
