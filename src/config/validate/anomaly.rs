//! The `anomaly` section.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Findings, SECOND};
use crate::config::Config;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn check(config: &Config, found: &mut Findings) {
    let anomaly = &config.anomaly;
    found.check("anomaly.compute", !anomaly.enabled || anomaly.compute || config.redis.is_some(), || {
        "without redis nobody else computes; leave it out, or set redis.url".to_owned()
    });
    found.range("anomaly.max_bytes_per_second", anomaly.max_bytes_per_second, 10_000..=1_000_000_000);
    found.range("anomaly.max_clients", anomaly.max_clients, 1_000..=10_000_000);
    found.range("anomaly.max_domains", anomaly.max_domains, 1..=1_000);
    found.between("anomaly.warm_up", anomaly.warm_up, SECOND * 10, DAY);
    found.between("anomaly.history", anomaly.history, SECOND * 300, DAY);
    found.at_most("anomaly.learning_pause", anomaly.learning_pause, DAY);

    found.check("anomaly.retention", (SECOND * 3_600..=DAY * 3_650).contains(&anomaly.retention), || {
        format!("{} is out of range; write 1h to 3650d", humantime::format_duration(anomaly.retention))
    });

    let policy = &anomaly.policy;
    found.range("anomaly.policy.flag", policy.flag, 0.0..=1.0);
    found.range("anomaly.policy.tighten", policy.tighten, policy.flag..=1.0);
    found.range("anomaly.policy.block", policy.block, policy.tighten..=1.0);
    found.check("anomaly.policy.factor", policy.factor > 0.0 && policy.factor <= 1.0, || {
        format!("{} is out of range; write more than 0, and at most 1", policy.factor)
    });
    found.range("anomaly.policy.floor", policy.floor, 1..=u64::MAX);
    found.check("anomaly.policy.group_factor", policy.group_factor > 0.0 && policy.group_factor <= 100.0, || {
        format!("{} is out of range; write more than 0, and at most 100", policy.group_factor)
    });
    found.between("anomaly.policy.duration", policy.duration, SECOND * 10, DAY);
    found.between("anomaly.policy.calm_for", policy.calm_for, SECOND * 10, DAY);
    found.at_most("anomaly.policy.dismissed_for", policy.dismissed_for, DAY * 30);
    found.range("anomaly.policy.gate", policy.gate, 0.0..=1.0);
    found.range("anomaly.policy.brake", policy.brake, 0.0..=1.0);
    found.range("anomaly.policy.max_actions", policy.max_actions, 1..=1_000_000);

    let lists = [("anomaly.allow.networks", &anomaly.allow), ("anomaly.protect.networks", &anomaly.protect)];
    for (field, clients) in lists {
        for (index, network) in clients.networks.iter().enumerate() {
            let read = network.parse::<IpNet>().is_ok() || network.parse::<IpAddr>().is_ok();
            found.check(format!("{field}[{index}]"), read, || {
                format!("\"{network}\" is no network; write one such as 203.0.113.0/24, or an address")
            });
        }
    }
}
