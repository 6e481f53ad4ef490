//! What is left when a server dies: replicas, their lag, persistence.

use super::link::{Answer, Info, Link};
use crate::cli::doctor::report::Section;

/// Seconds of silence from which on a replica lags; they report every second.
const SILENT: u64 = 5;
/// Bytes behind the primary from which on a replica lags.
const BEHIND: u64 = 1 << 20;

/// Judges replicas, and tells what is configured besides.
pub async fn check(link: &Link, info: &Info, in_cluster: bool, section: &mut Section) {
    if info.get("role") == "master" {
        replicas(info, in_cluster, section);
    }
    let rdb = info.number("rdb_last_save_time").is_some();
    let aof = info.get("aof_enabled") == "1";
    let setting = async |name| match link.ask("CONFIG", &["GET", name]).await {
        Ok(answer) => answer.list().get(1).and_then(Answer::text).map(str::to_owned),
        Err(_) => None,
    };
    let save = setting("save").await;
    let snapshots = save.as_deref().map_or(rdb, |save| !save.is_empty());
    let persistence = match (aof, snapshots) {
        (true, _) => "append-only file: counters survive a restart",
        (false, true) => "snapshots: a restart sets counters back to the last one",
        (false, false) => "none: a restart forgets all counters",
    };
    section.ok("persistence", persistence);
    if let Some(least) = setting("min-replicas-to-write").await
        && least != "0"
    {
        section.ok("min-replicas", format!("writes are refused with fewer than {least} replicas in touch"));
    }
}

fn replicas(info: &Info, in_cluster: bool, section: &mut Section) {
    let count = info.number("connected_slaves").unwrap_or(0);
    if count == 0 {
        let message = "no replica: with this server, its counters are gone";
        if in_cluster {
            section.warn("replicas", message, "give every primary of the cluster a replica");
        } else {
            section.ok("replicas", message);
        }
        return;
    }
    let offset = info.number("master_repl_offset").unwrap_or(0);
    let lagging: Vec<_> = (0..count).filter_map(|index| lag(info.get(&format!("slave{index}")), offset)).collect();
    if lagging.is_empty() {
        section.ok("replicas", format!("{count}, in step"));
    } else {
        section.warn(
            "replicas",
            format!("{count}, of which lag: {}", lagging.join("; ")),
            "look at the network and at the replica; a failover loses what has not reached it",
        );
    }
}

/// Why a replica is not in step; `None` when it is. `ip=10.0.0.2,port=6379,state=online,offset=98,lag=0`.
fn lag(replica: &str, offset: u64) -> Option<String> {
    let field = |name: &str| {
        let value = replica.split(',').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
        value.map_or("", |(_, value)| value)
    };
    let name = format!("{}:{}", field("ip"), field("port"));
    let silent = field("lag").parse::<u64>().unwrap_or(0);
    let behind = offset.saturating_sub(field("offset").parse().unwrap_or(0));
    match field("state") {
        "online" if silent >= SILENT => Some(format!("{name} silent for {silent} s")),
        "online" if behind > BEHIND => Some(format!("{name} {behind} bytes behind")),
        "online" => None,
        state => Some(format!("{name} is not in sync ({state})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_lag_by_silence_distance_or_state() {
        let replica = |state, offset, lag| format!("ip=10.0.0.2,port=6379,state={state},offset={offset},lag={lag}");
        assert_eq!(lag(&replica("online", 98, 0), 100), None);
        assert_eq!(lag(&replica("online", 98, 9), 100).as_deref(), Some("10.0.0.2:6379 silent for 9 s"));
        let far = lag(&replica("online", 98, 0), 2_000_098);
        assert_eq!(far.as_deref(), Some("10.0.0.2:6379 2000000 bytes behind"));
        let syncing = lag(&replica("wait_bgsave", 0, 0), 100);
        assert_eq!(syncing.as_deref(), Some("10.0.0.2:6379 is not in sync (wait_bgsave)"));
    }
}
