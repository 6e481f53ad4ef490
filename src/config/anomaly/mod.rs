//! The `anomaly` section: what the anomaly worker remembers, and what it does about what it finds.

pub mod access_log;
pub mod geo;
pub mod identities;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::access_log::AccessLog;
pub use self::geo::Geo;
use self::identities::DomainIdentities;
use super::scalar::{duration, list, number};

/// The section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Anomaly {
    /// Whether decisions are observed, and what the worker does is put in force. Default `false`; a replay of a log runs
    /// whatever stands here.
    pub enabled: bool,
    /// Whether this process may compute, if it is the one of its replicas whose turn it is. `false` only observes and
    /// puts in force; then others must compute, over Redis. Default `true`.
    pub compute: bool,
    /// The most bytes of observations that this process sends to whoever computes, a second; beyond, some are dropped,
    /// evenly. 10 000 to 1 000 000 000, default 8 000 000, some 50 000 observations.
    pub max_bytes_per_second: u64,
    /// Only tell what would be done. Default `true`; a replay enforces.
    pub shadow: bool,
    /// The most clients of a domain that are followed one by one; beyond them the least active give way. 1000 to
    /// 10 000 000, default 100 000; each takes about 600 bytes.
    pub max_clients: usize,
    /// The most domains that are watched; requests of others are not. 1 to 1000, default 16.
    pub max_domains: usize,
    /// How long traffic is only learned from after the start. `10s` to `24h`, default `1m`.
    #[serde(with = "duration")]
    pub warm_up: Duration,
    /// How much calm traffic is remembered as the usual. `5m` to `24h`, default `1h`.
    #[serde(with = "duration")]
    pub history: Duration,
    /// How long nothing is learned from a surge that was taken for an attack; after that it is what is usual. At most
    /// `24h`, default `4h`.
    #[serde(with = "duration")]
    pub learning_pause: Duration,
    /// How long findings are kept after they were last seen. `1h` to `3650d`, default `30days`.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// Models to begin with, as `tidegate anomaly train` writes them. Default: none, until the worker has trained its own.
    pub models_file: Option<PathBuf>,
    /// What is done.
    pub policy: Policy,
    /// Clients that are never flagged.
    pub allow: Clients,
    /// Clients that are flagged, but never limited.
    pub protect: Clients,
    /// Domains whose descriptors tell by other entries than usual who a client is. Default: none.
    pub domains: BTreeMap<String, DomainIdentities>,
    /// Access logs that Envoy sends, by their `log_name`. At most 1000. Default: none.
    pub access_logs: BTreeMap<String, AccessLog>,
    /// Where the countries and autonomous systems of addresses stand, for requests whose source does not tell them.
    pub geo: Geo,
}

impl Default for Anomaly {
    fn default() -> Self {
        Self {
            enabled: false,
            compute: true,
            max_bytes_per_second: 8_000_000,
            shadow: true,
            max_clients: 100_000,
            max_domains: 16,
            warm_up: Duration::from_secs(60),
            history: Duration::from_secs(3_600),
            learning_pause: Duration::from_secs(4 * 3_600),
            retention: Duration::from_secs(30 * 86_400),
            models_file: None,
            policy: Policy::default(),
            allow: Clients::default(),
            protect: Clients::default(),
            domains: BTreeMap::new(),
            access_logs: BTreeMap::new(),
            geo: Geo::default(),
        }
    }
}

/// What is done. A score is `r / (r + 3)` where one in `10^r` calm clients is as strange: 0.5 is one in a thousand, 0.67
/// one in a million.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// From which score on a client is flagged. 0 to 1, default 0.6.
    #[serde(deserialize_with = "number::deserialize")]
    pub flag: f64,
    /// From which score on its limits are lowered. At least `flag`, at most 1, default 0.7.
    #[serde(deserialize_with = "number::deserialize")]
    pub tighten: f64,
    /// From which score on, when lower limits did not help, nothing of it passes. At least `tighten`; 1 never blocks.
    /// Default 0.75.
    #[serde(deserialize_with = "number::deserialize")]
    pub block: f64,
    /// What is left of a client's limits. More than 0, at most 1, default 0.25.
    #[serde(deserialize_with = "number::deserialize")]
    pub factor: f64,
    /// A lowered limit is never less than so many hits a window. At least 1, default 1.
    pub floor: u64,
    /// A group may do so much of what it usually does. More than 0, at most 100, default 1.5.
    #[serde(deserialize_with = "number::deserialize")]
    pub group_factor: f64,
    /// How long an action lasts if no new evidence renews it; each relapse doubles it, up to eightfold. `10s` to `24h`,
    /// default `5m`.
    #[serde(with = "duration")]
    pub duration: Duration,
    /// How long a flagged client must be calm for its incident to end. `10s` to `24h`, default `1m`.
    #[serde(with = "duration")]
    pub calm_for: Duration,
    /// How long a client or group that a person dismissed is left alone: flagged only when it becomes stranger still, never
    /// limited. At most `720h`, default `24h`.
    #[serde(with = "duration")]
    pub dismissed_for: Duration,
    /// The gate: the share of calm traffic that all actions in force together may touch. 0 to 1, default 0.003.
    #[serde(deserialize_with = "number::deserialize")]
    pub gate: f64,
    /// The brake: the share of the clients seen in calm traffic that may be limited at once. 0 to 1, default 0.02.
    #[serde(deserialize_with = "number::deserialize")]
    pub brake: f64,
    /// The most actions in force in a domain. 1 to 1 000 000, default 50 000.
    pub max_actions: usize,
    /// Act only while the protected service is in distress: more server errors, or slower than usual. Default `false`.
    pub only_in_distress: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            flag: 0.6,
            tighten: 0.7,
            block: 0.75,
            factor: 0.25,
            floor: 1,
            group_factor: 1.5,
            duration: Duration::from_secs(300),
            calm_for: Duration::from_secs(60),
            dismissed_for: Duration::from_secs(86_400),
            gate: 0.003,
            brake: 0.02,
            max_actions: 50_000,
            only_in_distress: false,
        }
    }
}

/// Some clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clients {
    /// Users, by the name that descriptors have. Default: none.
    #[serde(deserialize_with = "list::deserialize")]
    pub users: Vec<String>,
    /// Networks, `203.0.113.0/24`, or addresses. Default: none.
    #[serde(deserialize_with = "list::deserialize")]
    pub networks: Vec<String>,
}
