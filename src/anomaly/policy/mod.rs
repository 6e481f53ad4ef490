//! What is done about what was found: the ladder ([`Ladder`]), whom it spares ([`Spared`]), and which group of requests
//! is limited instead of clients one by one ([`cover`]).

pub mod cover;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

use crate::anomaly::features::clients::Who;
use crate::config::anomaly::{Clients, Policy};
use crate::core::adjustment::Effect;

/// Clients that are listed.
#[derive(Debug, Default)]
pub struct Spared {
    users: HashSet<String>,
    networks: Vec<IpNet>,
}

impl Spared {
    /// What the settings list; what is no network is left out, as the settings were checked.
    #[must_use]
    pub fn new(clients: &Clients) -> Self {
        let network =
            |text: &String| text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        Self {
            users: clients.users.iter().cloned().collect(),
            networks: clients.networks.iter().filter_map(network).collect(),
        }
    }

    /// Whether a client is listed.
    #[must_use]
    pub fn has(&self, who: &Who) -> bool {
        match who {
            Who::User(name) => self.users.contains(&**name),
            Who::Address(address) => self.networks.iter().any(|network| network.contains(address)),
        }
    }
}

/// How far up the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rung {
    /// Only told.
    Flag,
    /// Lower limits.
    Tighten,
    /// Nothing passes.
    Block,
}

/// What the ladder is climbed by.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The score.
    pub score: f64,
    /// Intervals in a row in which it was strange.
    pub in_a_row: u8,
    /// It takes a share of the service that others feel, or does harm whatever its rate.
    pub harms: bool,
    /// How long it has been flagged, seconds.
    pub flagged_for: u64,
    /// How long its limits have been lowered, seconds, when it goes on as before.
    pub tightened_for: Option<u64>,
}

/// Who does no harm is tightened after so many seconds of a flag.
const PATIENCE: u64 = 60;
/// Lower limits have so many seconds to help.
const HELP: u64 = 10;

/// The rung for a client.
#[must_use]
pub fn rung(policy: &Policy, standing: &Standing) -> Option<Rung> {
    let Standing { score, in_a_row, harms, flagged_for, tightened_for } = *standing;
    if score < policy.flag || in_a_row < 2 && !(harms && score >= policy.tighten) {
        return None;
    }
    if score >= policy.block && policy.block < 1.0 && harms && tightened_for.is_some_and(|seconds| seconds >= HELP) {
        return Some(Rung::Block);
    }
    if score >= policy.tighten && in_a_row >= 2 && (harms || flagged_for >= PATIENCE) {
        return Some(Rung::Tighten);
    }
    Some(Rung::Flag)
}

/// How a client's limits are lowered: to a part of them, or, when it had a calm rate of its own, to that and somewhat
/// more, which leaves its calm traffic alone.
#[must_use]
pub fn tightening(policy: &Policy, calm_rate: Option<f64>) -> Effect {
    match calm_rate {
        None => Effect::Factor { factor: policy.factor, floor: policy.floor },
        Some(rate) => limit(rate * policy.group_factor),
    }
}

/// A limit of its own; a burst of three seconds.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1, and bounded")]
pub fn limit(rate: f64) -> Effect {
    let rate = rate.clamp(0.1, 1e9);
    Effect::Limit { rate, burst: (rate * 3.0).ceil().max(1.0) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(score: f64) -> Standing {
        Standing { score, in_a_row: 5, harms: true, flagged_for: 0, tightened_for: None }
    }

    #[test]
    fn the_ladder_is_climbed_rung_by_rung() {
        let policy = Policy::default();
        assert_eq!(rung(&policy, &standing(0.5)), None);
        assert_eq!(rung(&policy, &standing(0.65)), Some(Rung::Flag));
        assert_eq!(rung(&policy, &standing(0.75)), Some(Rung::Tighten));
        assert_eq!(rung(&policy, &standing(0.95)), Some(Rung::Tighten), "lower limits first");
        let again = Standing { tightened_for: Some(12), ..standing(0.95) };
        assert_eq!(rung(&policy, &again), Some(Rung::Block));
        assert_eq!(rung(&Policy { block: 1.0, ..policy }, &again), Some(Rung::Tighten), "1 never blocks");
    }

    #[test]
    fn once_is_not_enough_and_harmless_ones_get_time() {
        let policy = Policy::default();
        assert_eq!(rung(&policy, &Standing { in_a_row: 1, ..standing(0.65) }), None);
        assert_eq!(rung(&policy, &Standing { in_a_row: 1, ..standing(0.75) }), Some(Rung::Flag));
        assert_eq!(rung(&policy, &Standing { harms: false, ..standing(0.75) }), Some(Rung::Flag));
        let long = Standing { harms: false, flagged_for: 90, ..standing(0.75) };
        assert_eq!(rung(&policy, &long), Some(Rung::Tighten));
    }

    #[test]
    fn lists_know_users_networks_and_addresses() {
        let networks = vec!["203.0.113.0/24".to_owned(), "2001:db8::1".to_owned()];
        let spared = Spared::new(&Clients { users: vec!["alice".to_owned()], networks });
        assert!(spared.has(&Who::User("alice".into())) && !spared.has(&Who::User("bob".into())));
        for (address, listed) in [("203.0.113.9", true), ("203.0.114.9", false), ("2001:db8::1", true)] {
            assert_eq!(spared.has(&Who::Address(address.parse().unwrap())), listed, "{address}");
        }
    }

    #[test]
    fn a_known_client_keeps_its_calm_rate() {
        let policy = Policy::default();
        assert_eq!(tightening(&policy, None), Effect::Factor { factor: 0.25, floor: 1 });
        assert_eq!(tightening(&policy, Some(4.0)), Effect::Limit { rate: 6.0, burst: 18 });
    }
}
