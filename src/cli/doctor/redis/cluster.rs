//! A cluster: its state, its slots, and its nodes.

use futures_util::future::join_all;

use super::link::{Answer, Info, Link};
use super::{Deployment, MAX_SERVERS, Server};
use crate::cli::doctor::report::Section;
use crate::counters::redis::key::{SLOTS, slot};
use crate::counters::redis::topology::{NodeAddress, Range, SlotTable};

/// A range of slots, and who would take it over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shard {
    range: Range,
    replicas: Vec<NodeAddress>,
}

/// Asks the seeds, and says which servers hold counters.
pub async fn check(deployment: &Deployment<'_>, seeds: &[NodeAddress]) -> (Section, Vec<Server>) {
    let mut section = deployment.section_for("(cluster)");
    let links = join_all(seeds.iter().map(|seed| deployment.link(seed))).await;
    let mut entry: Option<(Link, &NodeAddress)> = None;
    let mut away = Vec::new();
    for (seed, link) in seeds.iter().zip(links) {
        match link {
            Ok(link) => match entry {
                None => entry = Some((link, seed)),
                Some(_) => link.close().await,
            },
            Err(trouble) => away.push((seed, trouble)),
        }
    }
    let Some((link, seed)) = entry else {
        for (seed, trouble) in away {
            section.fail("seeds", format!("{seed}: {}", trouble.message), trouble.advice);
        }
        return (section, Vec::new());
    };
    for (seed, trouble) in &away {
        section.warn("seeds", format!("{seed}: {}", trouble.message), trouble.advice.clone());
    }
    if away.is_empty() {
        section.ok("seeds", format!("all {} answer", seeds.len()));
    }
    let servers = match link.ask("CLUSTER", &["SLOTS"]).await {
        Ok(slots) => {
            state(&link, &mut section).await;
            members(deployment, &shards(&slots, &seed.host), &mut section).await
        }
        Err(error) if error.contains("cluster support disabled") => {
            // What the server is instead, its own section tells.
            vec![Server { address: seed.clone(), shown: seed.clone(), slot_tag: None }]
        }
        Err(error) => {
            section.fail("slots", error, "let this user +cluster|slots: without, nobody knows where counters are");
            Vec::new()
        }
    };
    link.close().await;
    (section, servers)
}

async fn state(link: &Link, section: &mut Section) {
    match link.ask("CLUSTER", &["INFO"]).await {
        Ok(answer) => {
            let info = Info::parse(answer.text().unwrap_or_default());
            match info.get("cluster_state") {
                "ok" => section.ok("state", format!("ok, {} primaries", info.get("cluster_size"))),
                state => section.fail(
                    "state",
                    format!("{state}; {} slots fail", info.get("cluster_slots_fail")),
                    "look at CLUSTER NODES for nodes that are down, and bring them back",
                ),
            }
        }
        Err(error) => section.warn("state", error, "let this user +cluster|info"),
    }
}

/// Judges slots and replicas; the primaries.
async fn members(deployment: &Deployment<'_>, shards: &[Shard], section: &mut Section) -> Vec<Server> {
    let ranges: Vec<_> = shards.iter().map(|shard| shard.range.clone()).collect();
    let table = SlotTable::new(&ranges);
    match table.uncovered() {
        0 => section.ok("slots", format!("all {SLOTS} covered by {} primaries", table.nodes().len())),
        missing => section.fail(
            "slots",
            format!("{missing} of {SLOTS} belong to nobody; their counters are left to the failure mode"),
            "assign them: redis-cli --cluster fix",
        ),
    }
    let mut replicas: Vec<&NodeAddress> = shards.iter().flat_map(|shard| &shard.replicas).collect();
    replicas.sort_unstable();
    replicas.dedup();
    let reached = join_all(replicas.iter().take(MAX_SERVERS).map(|replica| deployment.link(replica))).await;
    let mut missing = 0;
    for (replica, link) in replicas.iter().zip(reached) {
        match link {
            Ok(link) => link.close().await,
            Err(trouble) => {
                missing += 1;
                section.warn("replica", format!("{replica}: {}", trouble.message), trouble.advice);
            }
        }
    }
    if missing == 0 && !replicas.is_empty() {
        section.ok("replica", format!("all {} can be reached", replicas.len()));
    }
    let server = |address: &NodeAddress| Server {
        address: address.clone(),
        shown: address.clone(),
        slot_tag: tag_of(address, &table),
    };
    table.nodes().iter().map(server).collect()
}

/// A text whose slot belongs to that node.
fn tag_of(address: &NodeAddress, table: &SlotTable) -> Option<String> {
    let tags = (0..u32::from(SLOTS) * 16).map(|number| format!("doctor-{number}"));
    tags.into_iter().find(|tag| table.owner(slot(tag.as_bytes())) == Some(address))
}

/// Reads the answer to `CLUSTER SLOTS`; nodes without a name are called as the one that was asked.
fn shards(slots: &Answer, host: &str) -> Vec<Shard> {
    let node = |node: &Answer| {
        let [name, port, ..] = node.list() else { return None };
        let name = name.text().filter(|name| !name.is_empty() && *name != "?").unwrap_or(host);
        Some(NodeAddress { host: name.into(), port: u16::try_from(port.number()?).ok()? })
    };
    let shard = |shard: &Answer| {
        let [first, last, primary, replicas @ ..] = shard.list() else { return None };
        let slot = |slot: &Answer| u16::try_from(slot.number()?).ok();
        let range = Range { first: slot(first)?, last: slot(last)?, owner: node(primary)? };
        Some(Shard { range, replicas: replicas.iter().filter_map(node).collect() })
    };
    slots.list().iter().filter_map(shard).collect()
}
