//! Surges: when one begins, who belongs to it, which groups are limited.

use super::Settings;
use super::domain::Domain;
use super::shared::{OF_ANONYMOUS, shared_key};
use super::upkeep::{Acting, Finding};
use super::wording;
use crate::anomaly::baseline::population::score;
use crate::anomaly::features::clients::Place;
use crate::anomaly::features::names::OTHER;
use crate::anomaly::incidents::{About, Action};
use crate::anomaly::policy::cover::{self, Cell, Chosen, Group};
use crate::anomaly::policy::{Rung, limit};
use crate::anomaly::surge::arrivals::Arrivals;
use crate::anomaly::surge::profile::Profile;
use crate::anomaly::surge::{LEAST_CLIENTS, Surge};
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;

/// A surge is over when nothing of it was seen for so long.
const OVER: Micros = Micros::from_secs(60);
/// So many active members, and such a part of the most that were active, keep a surge alive: fewer may be those who share
/// an address with a member, or were taken for one.
const LEAST_ACTIVE: usize = 10;
const STRAGGLERS: usize = 20;
/// A surge that is no attack is what is usual after so long.
const ADOPTED: Micros = Micros::from_secs(600);
/// Groups are looked for so often.
const GROUPS_EVERY: u64 = 2;
/// Of a calm client's share that may be taken for members, in parts of the gate.
const TOLERATED: f64 = 5.0;
/// As many members that came back make a relapse.
const RELAPSE: usize = 20;

impl Domain {
    pub(super) fn watch_surge(&mut self, acting: &mut Acting<'_>) {
        let now = acting.present.now;
        let wall = acting.present.wall;
        let new = self.traffic.new;
        let season = self.traffic.new_season.usual(wall);
        let onset = self.traffic.new_level.watch(now, new, season);
        if !self.is_warm(now, acting.settings) {
            return;
        }
        if self.surge.is_none()
            && now >= self.no_surge_before
            && let Some(onset) = onset
        {
            let came = self.recent.born.iter().rev().take_while(|(at, _)| *at >= onset).count();
            if came >= LEAST_CLIENTS {
                self.surge = Some(Surge::new(onset, now));
            }
        }
        self.relapse(acting);
        let Some(mut surge) = self.surge.take() else { return };
        let active = self.active_members();
        surge.peak = surge.peak.max(active);
        if !self.traffic.new_level.is_usual(new, season) || active >= LEAST_ACTIVE.max(surge.peak / STRAGGLERS) {
            surge.alive = now;
        }
        if now - surge.alive >= OVER {
            self.release_members(acting);
            return;
        }
        let places: Vec<Place> =
            self.recent.born.iter().filter(|(at, _)| *at >= surge.onset).map(|(_, place)| *place).collect();
        let profiles: Vec<Profile> =
            places.iter().filter_map(|place| self.clients.get(*place)).map(|client| client.profile).collect();
        let seconds = (now - surge.onset).as_duration().as_secs_f64();
        let usual = self.traffic.new_level.usual().max(season);
        let expected = usual * seconds;
        let births = self.recent.born.iter().map(|(at, _)| *at).filter(|at| *at >= surge.onset);
        surge.note_arrivals(Arrivals::new(surge.onset, now, births, usual));
        surge.look(&self.calm.profiles, &profiles, expected, acting.settings.policy.gate * TOLERATED);
        if surge.attack {
            #[expect(clippy::cast_precision_loss, reason = "a number of clients")]
            let came = places.len() as f64 / seconds.max(1.0);
            self.limit_groups(&surge, came, acting);
            let limited: Vec<Group> = self.incidents.groups().filter(|group| is_of_client(*group)).collect();
            for place in places {
                self.judge_member(place, &surge, &limited, came, acting);
            }
            self.spare_shared(acting);
        }
        self.surge = Some(surge);
    }

    /// Whether the surge has lasted so long that it is what is usual.
    pub(super) fn is_adopted(&self, now: Micros, settings: &Settings) -> bool {
        let lasting = |surge: &Surge| if surge.attack { settings.learning_pause } else { ADOPTED };
        self.surge.as_ref().is_some_and(|surge| now - surge.onset >= lasting(surge))
    }

    fn active_members(&self) -> usize {
        let suspected = |place: &&Place| self.clients.get(**place).is_some_and(|client| client.suspected);
        self.recent.active.iter().filter(suspected).count()
    }

    /// A client that is new in an attack: blocked if it is one of it, and released if it was taken for one and is not.
    fn judge_member(&mut self, place: Place, surge: &Surge, limited: &[Group], came: f64, acting: &mut Acting<'_>) {
        let Some(client) = self.clients.get(place) else { return };
        let now = acting.present.now;
        let (profile, requests, suspected) = (client.profile, client.in_interval, client.suspected);
        let born = client.born;
        let evidence = surge.member(&profile, born);
        let Some(evidence) = evidence else {
            let cleared = suspected && surge.is_cleared(&profile, born);
            if cleared && self.incidents.get(place.key).is_some_and(|incident| incident.member) {
                self.release(place.key, acting);
                self.release(shared_key(OF_ANONYMOUS, place.key), acting);
            }
            return;
        };
        // What is being done, or was held back, is not done again.
        if suspected && self.incidents.get(place.key).is_some_and(|incident| incident.member) {
            return;
        }
        let values = [profile.country, profile.asn, profile.last_path, profile.agent, 0];
        if limited.iter().any(|group| group.has(&values)) {
            return;
        }
        let Some(who) = self.clients.who(place) else { return };
        let subject = who.subject();
        let key = place.key;
        let parts = surge.parts(&profile);
        let usual = self.traffic.new_level.usual();
        let finding = Finding {
            about: About::Client(place),
            member: true,
            // Evidence in nats, as powers of ten.
            score: score(evidence.all / std::f64::consts::LN_10 + 3.0),
            requests: u64::from(requests),
            rate: self.clients.get(place).map_or(0.0, |client| client.recent(now) / 10.0),
            reasons: wording::of_membership(&parts, &self.intake, came, usual),
        };
        self.flag(key, subject, finding, acting);
        self.block_member(key, place, acting);
    }

    /// Addresses that were blocked, and behind which there are users that do not belong to the attack, are released:
    /// groups have to do there.
    fn spare_shared(&mut self, acting: &mut Acting<'_>) {
        let mut shared: Vec<u64> = Vec::new();
        for place in &self.recent.active {
            let Some(user) = self.clients.get(*place).filter(|client| client.behind != 0 && !client.suspected) else {
                continue;
            };
            let blocked =
                self.incidents.get(user.behind).is_some_and(|incident| incident.member && incident.action.is_some());
            if blocked && !shared.contains(&user.behind) {
                shared.push(user.behind);
            }
        }
        for key in shared {
            let place = self.incidents.get(key).and_then(|incident| incident.place());
            self.release(key, acting);
            if let Some(address) = place.and_then(|place| self.clients.get_mut(place)) {
                address.shared = true;
            }
        }
    }

    fn block_member(&mut self, key: u64, place: Place, acting: &mut Acting<'_>) {
        let now = acting.present.now;
        let policy = &acting.settings.policy;
        let touches = self.own_share(place, now).min(1e-9) + self.share_behind(place, now);
        let shared =
            self.clients.get(place).is_some_and(|client| client.shared || client.of_users.at(now, 3_600.0) > 0.0);
        if shared || touches > policy.gate / 20.0 {
            if self.own_share(place, now) <= policy.gate / 20.0 {
                self.block_anonymous(place, acting);
                return;
            }
            self.hold(key, format!("{} of calm traffic comes from users behind it", wording::percent(touches)), acting);
            return;
        }
        self.act(key, Action { rung: Rung::Block, effect: Effect::Block, since: now, expires: now, touches }, acting);
    }

    /// Groups that have a large part of the attack and hardly any calm traffic.
    fn limit_groups(&mut self, surge: &Surge, came: f64, acting: &mut Acting<'_>) {
        if !self.ticks.is_multiple_of(GROUPS_EVERY) || self.calm.cells.len() < 200 {
            return;
        }
        let limited: Vec<Group> = self.incidents.groups().collect();
        let is_new = |cell: &&Cell| {
            let Some(place) = self.clients.find(cell.client) else { return false };
            let Some(client) = self.clients.get(place) else { return false };
            client.born >= surge.onset
                && surge.member(&client.profile, client.born).is_some()
                && !limited.iter().any(|group| group.has(&cell.values))
        };
        let attack: Vec<Cell> = self.recent.cells.iter().flatten().filter(is_new).copied().collect();
        let all: usize = self.recent.cells.iter().map(Vec::len).sum();
        // What is left is not worth a group.
        if attack.len() < 50 || attack.len() * 20 < all {
            return;
        }
        let room = (acting.settings.policy.gate / 3.0 - self.incidents.touched()).max(0.0);
        let usual = self.traffic.new_level.usual();
        for chosen in cover::cover(&attack, &self.calm.cells, room) {
            let reasons = wording::of_group(chosen.attack, chosen.calm, came, usual);
            self.limit_group(chosen, true, reasons, acting);
        }
    }

    /// Limits a group to somewhat more than it does in calm times.
    pub(super) fn limit_group(
        &mut self,
        chosen: Chosen,
        member: bool,
        reasons: Vec<crate::anomaly::event::Reason>,
        acting: &mut Acting<'_>,
    ) {
        let Some(subject) = wording::subject(chosen.group, &self.intake) else { return };
        let key = group_key(chosen.group);
        if self.incidents.get(key).is_some_and(|incident| incident.action.is_some()) {
            return;
        }
        let now = acting.present.now;
        let in_group = |cell: &&Cell| chosen.group.has(&cell.values);
        let seconds = self.recent.cells.len().max(1);
        let requests = self.recent.cells.iter().flatten().filter(in_group).count() / seconds;
        #[expect(clippy::cast_precision_loss, reason = "requests within a second")]
        let rate = requests as f64;
        let finding = Finding {
            about: About::Group(chosen.group),
            member,
            score: score(-chosen.calm.max(1e-9).log10() + 3.0),
            requests: requests as u64,
            rate,
            reasons,
        };
        self.flag(key, subject, finding, acting);
        let usual = chosen.calm * self.traffic.requests_level.usual();
        let effect = limit(usual * acting.settings.policy.group_factor);
        self.act(key, Action { rung: Rung::Tighten, effect, since: now, expires: now, touches: chosen.calm }, acting);
    }

    /// The attack is over: whoever comes now comes for something else, or comes back with the others and is known.
    fn release_members(&mut self, acting: &mut Acting<'_>) {
        for key in self.incidents.keys() {
            if self.incidents.get(key).is_some_and(|incident| incident.member) {
                self.release(key, acting);
            }
        }
    }

    /// Members of a past attack that come back together are blocked again at once.
    fn relapse(&mut self, acting: &mut Acting<'_>) {
        let back = |place: &&Place| {
            let open = self.clients.get(**place).is_none_or(|client| client.suspected);
            !open && self.incidents.strikes(place.key) > 0
        };
        let back: Vec<Place> = self.recent.active.iter().filter(back).copied().collect();
        if back.len() < RELAPSE {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of clients")]
        let present = back.len() as f64;
        for place in back {
            let Some(subject) = self.clients.who(place).map(|who| who.subject()) else { continue };
            let text = format!("{present} clients of a past attack came back within a second");
            let finding = Finding {
                about: About::Client(place),
                member: true,
                score: score(6.0),
                requests: self.clients.get(place).map_or(0, |client| u64::from(client.in_interval)),
                rate: 0.0,
                reasons: vec![wording::plain("relapse", present, 0.0, text)],
            };
            self.flag(place.key, subject, finding, acting);
            self.block_member(place.key, place, acting);
        }
    }
}

/// Whether it tells clients apart, whatever they ask for.
fn is_of_client(group: Group) -> bool {
    let [_, _, path, ..] = group.0;
    path <= OTHER
}

/// A group's key among incidents.
pub(super) fn group_key(group: Group) -> u64 {
    let [a, b, c, d, e] = group.0.map(u64::from);
    (a << 48 | b << 32 | c << 16 | d).wrapping_add(e << 62).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}
