//! What every request handler shares.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::access::Access;
use super::access_log::AccessLogs;
use super::ext_authz::ExtAuthz;
use super::health::Health;
use super::lists::ListsHandle;
use super::rule_store::RuleStore;
use crate::anomaly::findings::{FindingStore, Tell};
use crate::anomaly::geo::Geo;
use crate::anomaly::observe::Observations;
use crate::anomaly::worker::Handle;
use crate::config::Config;
use crate::counters::choice::Counters;
use crate::rules::live::Live;
use crate::rules::watch::Status;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;

/// The limiter over the counters that the settings choose.
pub type Limiter = crate::limiter::Limiter<Counters>;

/// One server's limiter and what stands around it.
#[derive(Debug)]
pub struct Context {
    /// Decides.
    pub limiter: Arc<Limiter>,
    /// What requests that Envoy describes as a whole become, and how they are answered.
    pub ext_authz: ExtAuthz,
    /// The settings.
    pub config: Arc<Config>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Whether traffic is welcome.
    pub health: Arc<Health>,
    /// How loading rules goes.
    pub reloads: Arc<Status>,
    /// The files of the rules in force; a rule's origin counts in it.
    pub rule_files: ArcSwap<Vec<PathBuf>>,
    /// Lets callers in, but for gRPC decisions, which TLS guards.
    pub access: Access,
    /// Where rules are changed, unless they come from files or an xDS server.
    pub rule_store: Option<RuleStore>,
    /// What is in force of rules that come from a repository.
    pub live: Option<Live>,
    /// How it stands with the xDS server that rules come from, if they do.
    pub xds: Option<Arc<crate::rules::xds::Status>>,
    /// Who is turned away, or let through without counting, by external authorization.
    pub lists: Arc<ListsHandle>,
    /// What decisions leave for the anomaly worker.
    pub observations: Arc<Observations>,
    /// What the anomaly worker found.
    pub findings: Arc<FindingStore>,
    /// Takes what people say of it to the workers; set once, by the worker when it begins.
    pub feedback: OnceLock<Arc<dyn Tell>>,
    /// Access logs that leave observations in place of decisions.
    pub access_logs: Arc<AccessLogs>,
    /// Where addresses are, as far as databases tell.
    pub geo: Arc<Geo>,
    /// The anomaly worker, if it runs here.
    pub anomaly: Option<Arc<Handle>>,
    /// Starts spans of decisions.
    pub traces: Traces,
}
