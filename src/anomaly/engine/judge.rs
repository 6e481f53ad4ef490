//! Clients one by one: features against calm clients', and the ladder.

use super::domain::Domain;
use super::fusion::Fused;
use super::judgement::Judgement;
use super::upkeep::{Acting, Finding};
use super::wording;
use crate::anomaly::baseline::population::{Strangeness, score};
use crate::anomaly::features::clients::Place;
use crate::anomaly::features::list::{Feature, Vector};
use crate::anomaly::incidents::{About, Action, Incident};
use crate::anomaly::policy::cover::{self, Cell};
use crate::anomaly::policy::{Rung, Standing, rung, tightening};
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;

/// Fewer requests tell nothing of a client.
const LEAST: u32 = 10;
/// A share of the usual traffic, and a rate, from which on one client is felt by others.
const FELT: f64 = 0.02;
const FELT_RATE: f64 = 4.0;
/// A single feature that does harm at any rate: failed logins, at this strangeness.
const HARM: f64 = 7.0;
/// A client that makes so much of the usual traffic by itself, and so many requests a second, for so many seconds in a row
/// needs not be stranger than this.
const DOMINANT: f64 = 0.25;
const DOMINANT_RATE: f64 = 20.0;
const DOMINANT_FOR: u8 = 3;
const DOMINANT_SCORE: f64 = 0.5;
/// A client is learned from so often.
const LEARNED_EVERY: Micros = Micros::from_secs(60);
/// Who goes on at less than this part of the rate it was tightened at, was helped.
const AS_BEFORE: f64 = 0.3;

/// Features that are no more than a lot of traffic, which a client's own past excuses.
const OF_VOLUME: [Feature; 6] =
    [Feature::Rate1s, Feature::Rate10s, Feature::Rate1m, Feature::Rate10m, Feature::Paths, Feature::Bytes];

impl Domain {
    pub(super) fn judge_clients(&mut self, acting: &mut Acting<'_>) {
        let now = acting.present.now;
        let warm = self.is_warm(now, acting.settings) && self.usual.is_known();
        let onset = self.surge.as_ref().filter(|surge| surge.attack).map(|surge| surge.onset);
        let dominant = DOMINANT_RATE.max(DOMINANT * self.traffic.requests_level.usual());
        let surge = self.surge.as_ref().map(|surge| surge.onset);
        let mut active = std::mem::take(&mut self.recent.active);
        self.busiest_first(&mut active);
        if let Some(judged) = &mut self.judged {
            judged.clear();
        }
        for place in &active {
            let Some(client) = self.clients.get_mut(*place) else { continue };
            let count = std::mem::take(&mut client.in_interval);
            let mut calm = !client.suspected && onset.is_none_or(|onset| client.born < onset);
            if client.requests >= LEAST {
                let vector = client.vector(now);
                let features = self.usual.strangeness(&vector);
                let by_features = if client.suspected { features.r } else { excused(&features, &vector) };
                // Models do not keep what is new from being learned, or they would never follow a site that changes.
                calm &= score(by_features) < 0.5;
                let joined = surge.is_some_and(|onset| client.born >= onset);
                let by_models = if joined { None } else { self.by_models(*place, &vector, now) };
                let r = by_features.max(by_models.unwrap_or_default());
                let fused = Fused { r, features, by_models: r > by_features };
                let Some(client) = self.clients.get_mut(*place) else { continue };
                let heavy = f64::from(count) >= dominant;
                client.heavy = if heavy { client.heavy.saturating_add(1) } else { 0 };
                let dominates = client.heavy >= DOMINANT_FOR && fused.score() >= DOMINANT_SCORE;
                let strange = fused.score() >= acting.settings.policy.flag || dominates;
                client.strange = if strange { client.strange.saturating_add(1) } else { 0 };
                let mut learned = false;
                if calm && now - client.learned >= LEARNED_EVERY {
                    client.learned = now;
                    client.by_models.settle();
                    let since = now - acting.settings.history;
                    learned = self.calm.population.learn(now, place.key, vector, since);
                }
                if let (Some(judged), Some(who)) = (&mut self.judged, self.clients.who(*place)) {
                    judged.push(Judgement { subject: who.subject(), vector, by_features, by_models, learned });
                }
                if warm && strange {
                    self.climb(*place, &fused, &vector, count, acting);
                }
            }
            // The beginning of a flood looks calm for a second.
            let count = if calm { count } else { 0 };
            let before = self.clients.get_mut(*place).map(|client| std::mem::replace(&mut client.pending, count));
            if let Some(before) = before.filter(|before| calm && *before > 0) {
                self.learn_calm(*place, before, now);
            }
        }
        self.recent.active = active;
    }

    fn learn_calm(&mut self, place: Place, count: u32, now: Micros) {
        #[expect(clippy::cast_precision_loss, reason = "requests within a second")]
        let count = count as f32;
        let Some(client) = self.clients.get_mut(place) else { return };
        self.calm.clients += usize::from(client.calm.at(now, 1e9) <= 0.0);
        client.calm.add(now, count, 3_600.0);
        let behind = client.behind;
        self.calm.requests.add(now, count, 3_600.0);
        if let Some(address) = self.clients.find(behind)
            && let Some(address) = self.clients.get_mut(address)
        {
            address.of_users.add(now, count, 3_600.0);
        }
    }

    /// A strange client: as far up the ladder as it goes.
    fn climb(&mut self, place: Place, fused: &Fused, vector: &Vector, count: u32, acting: &mut Acting<'_>) {
        let now = acting.present.now;
        let Some(client) = self.clients.get(place) else { return };
        let rate = client.recent(now) / 10.0;
        let felt = FELT_RATE.max(FELT * self.traffic.requests_level.usual());
        let of = |feature: Feature| fused.features.of.get(feature.index()).copied().unwrap_or_default();
        let harms = rate_of(vector) >= felt
            || of(Feature::AuthFailures) >= HARM
            || of(Feature::FreshUsers) >= HARM && rate_of(vector) >= FELT_RATE;
        let open = self.incidents.get(place.key).filter(|incident| !incident.member);
        if self.incidents.get(place.key).is_some_and(|incident| incident.member && incident.action.is_some()) {
            return;
        }
        let seconds = |since: Micros| (now - since).0 / 1_000_000;
        let action = open.and_then(|incident| incident.action);
        let goes_on = open.is_some_and(|incident| rate >= AS_BEFORE * incident.rate);
        let standing = Standing {
            score: fused.score(),
            in_a_row: client.strange,
            harms,
            dominates: client.heavy >= DOMINANT_FOR && fused.score() >= DOMINANT_SCORE,
            flagged_for: open.map_or(0, |incident| seconds(incident.opened)),
            tightened_for: action.filter(|_| goes_on).map(|action| seconds(action.since)),
        };
        let Some(rung) = rung(&acting.settings.policy, &standing) else { return };
        let told = if fused.by_models { self.models_reasons(vector, wording::MOST) } else { None };
        let told = told.unwrap_or_else(|| fused.features.strangest(wording::MOST));
        let finding = Finding {
            about: About::Client(place),
            member: false,
            score: fused.score(),
            requests: u64::from(count),
            rate,
            reasons: wording::of_features(told, vector, &self.usual),
        };
        let Some(subject) = self.clients.who(place).map(|who| who.subject()) else { return };
        let key = place.key;
        self.flag(key, subject, finding, acting);
        let reached = action.map(|action| action.rung).unwrap_or(Rung::Flag);
        if rung > reached {
            self.restrain(key, place, rung, acting);
        }
    }

    /// Acts on one client, in the way that touches the least calm traffic.
    fn restrain(&mut self, key: u64, place: Place, rung: Rung, acting: &mut Acting<'_>) {
        let now = acting.present.now;
        // Nobody else is limited in place of a client that is left alone.
        if self.alone.until(key, acting.present.wall).is_some() {
            self.hold(key, "a person said that it is no attack".to_owned(), acting);
            return;
        }
        let policy = &acting.settings.policy;
        let own = self.own_share(place, now);
        let behind = self.share_behind(place, now);
        let room = policy.gate - self.incidents.touched();
        if behind > room.min(policy.gate / 4.0) {
            // Others share the address: what else do its requests have in common?
            if !self.cover_shared(place, room, acting) && !self.cover_client(place, room, acting) {
                self.hold(
                    key,
                    format!("{} of calm traffic comes from users behind it", wording::percent(behind)),
                    acting,
                );
            }
            return;
        }
        // What it does in calm times is left to it, if that is a part of the traffic worth sparing.
        let calm_rate = (own > policy.gate / 10.0).then(|| self.calm_rate(place, now)).flatten();
        let (effect, touches) = match rung {
            Rung::Block if calm_rate.is_none() => (Effect::Block, own + behind),
            _ => (tightening(policy, calm_rate), if calm_rate.is_some() { behind } else { own + behind }),
        };
        self.act(key, Action { rung, effect, since: now, expires: now, touches }, acting);
    }

    /// Limits groups that have a client's requests and little of calm traffic; whether there are such.
    fn cover_client(&mut self, place: Place, room: f64, acting: &mut Acting<'_>) -> bool {
        let cells = self.recent.cells.iter().flatten().filter(|cell| cell.client == place.key).copied();
        let attack: Vec<Cell> = cells.collect();
        if attack.len() < 5 || self.calm.cells.len() < 200 {
            return false;
        }
        let chosen = cover::cover(&attack, &self.calm.cells, room);
        let covered: f64 = chosen.iter().map(|chosen| chosen.attack).sum();
        // A part is better than nothing.
        if covered < 0.2 {
            return false;
        }
        let (rate, usual) = (self.traffic.requests, self.traffic.requests_level.usual());
        for chosen in chosen {
            let text =
                format!("one client makes {} requests a second with it", attack.len() / self.recent.cells.len().max(1));
            let reasons = vec![wording::plain("rate_10s", rate, usual, text)];
            self.limit_group(chosen, false, reasons, acting);
        }
        true
    }

    /// A client's share of calm traffic.
    pub(super) fn own_share(&self, place: Place, now: Micros) -> f64 {
        let all = f64::from(self.calm.requests.at(now, 3_600.0)).max(1.0);
        self.clients.get(place).map_or(0.0, |client| f64::from(client.calm.at(now, 3_600.0)) / all)
    }

    /// The share of calm traffic that comes from users behind an address.
    pub(super) fn share_behind(&self, place: Place, now: Micros) -> f64 {
        let all = f64::from(self.calm.requests.at(now, 3_600.0)).max(1.0);
        self.clients.get(place).map_or(0.0, |client| f64::from(client.of_users.at(now, 3_600.0)) / all)
    }

    fn calm_rate(&self, place: Place, now: Micros) -> Option<f64> {
        let client = self.clients.get(place)?;
        let age = (now - client.born).as_duration().as_secs_f64().max(10.0);
        let calm = f64::from(client.calm.at(now, 3_600.0));
        (calm >= 10.0).then(|| calm / (3_600.0 * (1.0 - (-age / 3_600.0).exp())))
    }
}

fn rate_of(vector: &Vector) -> f64 {
    vector.get(Feature::Rate10s.index()).copied().unwrap_or_default()
}

/// A lot of traffic is half as strange from a client that has made as much for three minutes. Half only, so that who grows
/// slowly enough is found, too.
fn excused(strangeness: &Strangeness, vector: &Vector) -> f64 {
    let by_volume = strangeness.strangest(1).first().is_some_and(|feature| OF_VOLUME.contains(feature));
    if by_volume && is_steady(vector) { strangeness.r / 2.0 } else { strangeness.r }
}

/// It has been known for three minutes, and has not become faster.
pub(super) fn is_steady(vector: &Vector) -> bool {
    vector.get(Feature::Growth.index()).is_some_and(|growth| *growth < 2.0)
}

impl Incident {
    /// The client it is about.
    pub(super) fn place(&self) -> Option<Place> {
        match self.about {
            About::Client(place) => Some(place),
            About::Group(_) | About::Shared(..) | About::Failures => None,
        }
    }
}
