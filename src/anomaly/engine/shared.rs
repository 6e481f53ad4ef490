//! Addresses that users share: what of their requests can be limited without touching the users.

use std::net::IpAddr;
use std::sync::Arc;

use super::domain::Domain;
use super::members::group_key;
use super::upkeep::{Acting, CELLS_A_SECOND, Finding};
use super::wording;
use crate::anomaly::event::Reason;
use crate::anomaly::features::clients::{Place, Who};
use crate::anomaly::incidents::{About, Action};
use crate::anomaly::policy::cover::{self, ANONYMOUS, Cell, Group};
use crate::anomaly::policy::{Rung, limit};
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::{Attribute, Subject};

/// Fewer requests a second say nothing of what they have in common; nor do those of an address that has stopped.
const LEAST_RATE: f64 = 4.0;
const GOES_ON: f64 = 0.2;
/// Groups that have less than this share of an address' requests are not worth it.
const WORTH: f64 = 0.2;
/// The most of an address' own calm traffic that groups may touch.
const MOST: f64 = 0.25;
/// What was taken for calm in the last seconds before a flag may be the attack's beginning.
const BEFORE: u64 = 10;
/// All that names no user.
pub(super) const OF_ANONYMOUS: Group = Group([0, 0, 0, 0, ANONYMOUS]);

impl Domain {
    /// Limits what the requests of a strange address have in common, and calm ones from there have not; whether there is
    /// such, or it is done already.
    pub(super) fn cover_shared(&mut self, place: Place, room: f64, acting: &mut Acting<'_>) -> bool {
        let now = acting.present.now;
        let limited: Vec<Group> = self.incidents.groups_of(place).collect();
        let here = |cell: &Cell| {
            let [_, _, path, agent, _] = cell.values;
            let named =
                matches!(self.clients.find(cell.client).and_then(|found| self.clients.who(found)), Some(Who::User(_)));
            Cell { values: [0, 0, path, agent, if named { 0 } else { ANONYMOUS }], client: cell.client }
        };
        let own = self.recent.cells.iter().flatten().filter(|cell| cell.client == place.key).map(here);
        let own: Vec<Cell> = own.collect();
        let attack: Vec<Cell> =
            own.iter().filter(|cell| !limited.iter().any(|group| group.has(&cell.values))).copied().collect();
        let Some((opened, rate, reasons)) =
            self.incidents.get(place.key).map(|found| (found.opened, found.rate, found.reasons.clone()))
        else {
            return false;
        };
        let seconds = self.recent.cells.len().max(1) as f64;
        let least = LEAST_RATE.max(GOES_ON * rate) * seconds;
        if (attack.len() as f64) < least.max(WORTH * own.len() as f64) {
            return !limited.is_empty();
        }
        let behind = |cell: &&Cell| {
            let user = || self.clients.find(cell.client).and_then(|found| self.clients.get(found));
            cell.client == place.key || user().is_some_and(|user| user.behind == place.key)
        };
        let fresh = usize::try_from((now - opened).0 / 1_000_000 + BEFORE).unwrap_or(usize::MAX);
        let settled = self.calm.cells.len().saturating_sub(fresh.saturating_mul(CELLS_A_SECOND));
        let calm: Vec<Cell> = self.calm.cells.iter().take(settled).filter(behind).map(here).collect();
        let share = self.own_share(place, now) + self.share_behind(place, now);
        let chosen = cover::cover(&attack, &calm, (room / share.max(1e-9)).min(MOST));
        if chosen.iter().map(|chosen| chosen.attack).sum::<f64>() < WORTH {
            return false;
        }
        for chosen in chosen {
            let calm = chosen.calm * share;
            let usual = calm * self.traffic.requests_level.usual();
            let effect = limit(usual * acting.settings.policy.group_factor);
            self.limit_shared(place, chosen.group, (effect, calm), reasons.clone(), acting);
        }
        true
    }

    /// Lets nothing pass from an address that names no user.
    pub(super) fn block_anonymous(&mut self, place: Place, acting: &mut Acting<'_>) {
        let Some(reasons) = self.incidents.get(place.key).map(|incident| incident.reasons.clone()) else { return };
        let touches = self.own_share(place, acting.present.now);
        self.limit_shared(place, OF_ANONYMOUS, (Effect::Block, touches), reasons, acting);
    }

    fn limit_shared(
        &mut self,
        place: Place,
        group: Group,
        (effect, touches): (Effect, f64),
        reasons: Vec<Reason>,
        acting: &mut Acting<'_>,
    ) {
        let Some(Who::Address(address)) = self.clients.who(place) else { return };
        let address = address.to_string();
        let Some(Subject::Group(mut attributes)) = wording::subject(group, &self.intake) else { return };
        attributes.push((Attribute::Address, address.into()));
        let key = shared_key(group, place.key);
        if self.incidents.get(key).is_some_and(|incident| incident.action.is_some()) {
            return;
        }
        let now = acting.present.now;
        let Some(client) = self.clients.get(place) else { return };
        let finding = Finding {
            about: About::Shared(place, group),
            member: self.incidents.get(place.key).is_some_and(|incident| incident.member),
            score: self.incidents.get(place.key).map_or(0.0, |incident| incident.score),
            requests: u64::from(client.in_interval),
            rate: client.recent(now) / 10.0,
            reasons,
        };
        self.flag(key, Subject::Group(attributes), finding, acting);
        let rung = if effect == Effect::Block { Rung::Block } else { Rung::Tighten };
        self.act(key, Action { rung, effect, since: now, expires: Micros::ZERO, touches }, acting);
    }
}

/// The key among incidents of a group behind an address.
pub(super) fn shared_key(group: Group, address: u64) -> u64 {
    group_key(group) ^ address.rotate_left(17)
}

/// The address that a group is behind, if it is.
pub(super) fn address_of(attributes: &[(Attribute, Arc<str>)]) -> Option<IpAddr> {
    attributes.iter().find(|(attribute, _)| *attribute == Attribute::Address).and_then(|(_, text)| text.parse().ok())
}
