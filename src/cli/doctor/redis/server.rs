//! What kind of server it is: version, role, member of a cluster or not.

use super::Deployment;
use super::link::Info;
use crate::cli::doctor::report::Section;
use crate::config::redis::Topology;

/// The oldest version that the scripts run on.
const OLDEST: (u64, u64) = (6, 2);

/// Judges what the server tells of itself.
pub fn check(info: &Info, deployment: &Deployment<'_>, section: &mut Section) {
    version(info, section);
    let settings = deployment.section;
    match info.get("role") {
        "master" => section.ok("role", "takes writes"),
        role => section.fail(
            "role",
            format!("the server is a {}, which takes no writes", if role == "slave" { "replica" } else { role }),
            format!("set {settings}.urls to the primary, or {settings}.type to sentinel or cluster"),
        ),
    }
    let member = info.get("cluster_enabled") == "1";
    match (deployment.settings.topology, member) {
        (Topology::Single, true) => section.fail(
            "type",
            "the server is a node of a cluster and holds a part of the slots",
            format!("set {settings}.type: cluster"),
        ),
        (Topology::Sentinel, true) => section.fail(
            "type",
            "the server is a node of a cluster, which does without sentinels",
            format!("set {settings}.type: cluster and {settings}.urls to its nodes"),
        ),
        (Topology::Cluster, false) => {
            section.fail("type", "the server is no node of a cluster", format!("set {settings}.type: single"));
        }
        (topology, _) => section.ok("type", format!("{topology:?}, as configured").to_lowercase()),
    }
}

fn version(info: &Info, section: &mut Section) {
    // Valkey tells the version of Redis that it is compatible with, and its own.
    let name = if info.get("server_name") == "valkey" { "Valkey" } else { "Redis" };
    let own = if name == "Valkey" { info.get("valkey_version") } else { "" };
    let compatible = info.get("redis_version");
    let shown = format!("{name} {}", if own.is_empty() { compatible } else { own });
    let mut parts = compatible.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if compatible.is_empty() {
        section.warn("version", "the server tells no version", "make sure that it is Redis 6.2 or later, or Valkey");
    } else if version < OLDEST {
        section.fail("version", format!("{shown} is too old"), "upgrade to Redis 6.2 or later, or Valkey");
    } else {
        section.ok("version", shown);
    }
}
