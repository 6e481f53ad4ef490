//! One deployment of Redis: a server, a primary behind sentinels, or a cluster. What the whole process knows of it.
//!
//! The cluster is routed here, with one plain client for each of its primaries. (fred has a client for a whole
//! cluster; while it reconnects to one node, none of its commands reach any other. A node that hangs would take all
//! counters with it.)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use fred::types::Resp3Frame;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::connect::Connector;
use super::failure::{Complaint, Failure};
use super::node::{Arguments, Node};
use super::topology::{NodeAddress, Range, SlotTable};
use crate::counters::breaker::{Breaker, BreakerOptions, BreakerState};

pub use super::topology::Kind;

/// How often the table of slots is read when nothing asks for it.
const REFRESH: Duration = Duration::from_secs(15);
/// How often it is read at most, however many ask: at first, and when reading it again and again changes nothing.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_REFRESH_PAUSE: Duration = Duration::from_millis(500);
/// How long one node may take to tell its table.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(500);
/// Nodes whose breakers are remembered; more than any cluster has at a time.
const MAX_BREAKERS: usize = 4_096;

/// One deployment of Redis.
#[derive(Debug)]
pub struct Backend {
    connector: Connector,
    kind: Kind,
    table: ArcSwap<SlotTable>,
    /// Counts the tables, so that workers connect to new nodes before they are asked anything.
    version: watch::Sender<u64>,
    changed: Notify,
    breakers: Mutex<HashMap<NodeAddress, Arc<Breaker>>>,
    options: BreakerOptions,
}

impl Backend {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(connector: Connector, options: BreakerOptions) -> Self {
        let kind = connector.kind();
        let table = match &kind {
            Kind::Single(node) | Kind::Sentinel { primary: node, .. } => {
                let owner = node.clone();
                SlotTable::new(&[Range { first: 0, last: super::key::SLOTS - 1, owner }])
            }
            Kind::Cluster(_) => SlotTable::default(),
        };
        Self {
            connector,
            kind,
            table: ArcSwap::from_pointee(table),
            version: watch::Sender::new(0),
            changed: Notify::new(),
            breakers: Mutex::default(),
            options,
        }
    }

    /// How nodes are found.
    #[must_use]
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether counters of different slots may be on different nodes, and must not meet in one call.
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster(_))
    }

    /// The table of slots, as known.
    pub fn table(&self) -> Guard<Arc<SlotTable>> {
        self.table.load()
    }

    /// Makes clients.
    #[must_use]
    pub const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Begins to connect to a node, on the runtime that this is called in.
    #[must_use]
    pub fn connect(&self, address: &NodeAddress) -> Node {
        Node::connect(address.clone(), self.connector.clients(address), self.breaker(address))
    }

    /// The breaker of a node, the same for all workers.
    #[must_use]
    pub fn breaker(&self, address: &NodeAddress) -> Arc<Breaker> {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if breakers.len() >= MAX_BREAKERS {
            let table = self.table();
            breakers.retain(|address, _| table.nodes().contains(address));
        }
        Arc::clone(breakers.entry(address.clone()).or_insert_with(|| Arc::new(Breaker::new(self.options))))
    }

    /// The longest that a circuit breaker refuses all calls to a node, unless its probe fails.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.options.longest_pause()
    }

    /// The present nodes and their breakers.
    #[must_use]
    pub fn nodes(&self) -> Vec<(NodeAddress, Arc<Breaker>)> {
        self.table().nodes().iter().map(|node| (node.clone(), self.breaker(node))).collect()
    }

    fn replace(&self, table: SlotTable) {
        if **self.table.load() != table {
            self.table.store(Arc::new(table));
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// Tells of new tables.
    #[must_use]
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits until nodes are known at all.
    pub async fn known(&self) {
        let mut versions = self.versions();
        while self.table().nodes().is_empty() {
            if versions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes over what a `MOVED` says, and has the whole table read again.
    pub fn moved(&self, slot: u16, owner: &NodeAddress) {
        if self.is_cluster() {
            self.table.rcu(|table| {
                if table.owner(slot) == Some(owner) { Arc::clone(table) } else { Arc::new(table.moved(slot, owner)) }
            });
            self.suspect();
        }
    }

    /// Has the table read again soon.
    pub fn suspect(&self) {
        self.changed.notify_one();
    }

    /// Reads the table from the first node that tells one.
    ///
    /// # Errors
    /// The last node's complaint, when none does.
    pub async fn refresh(&self, nodes: &mut HashMap<NodeAddress, Node>) -> Result<(), Complaint> {
        let Kind::Cluster(seeds) = &self.kind else { return Ok(()) };
        let mut last = Complaint::Failed(Failure::ClusterDown);
        let mut known: Vec<NodeAddress> = self.table().nodes().iter().chain(seeds).cloned().collect();
        // Another first every time: one that is cut off from the others goes on telling an old table. Those that do not
        // answer anybody come last.
        fastrand::shuffle(&mut known);
        known.sort_by_cached_key(|address| self.breaker(address).state() != BreakerState::Closed);
        nodes.retain(|address, _| known.contains(address));
        for address in &known {
            let node = nodes.entry(address.clone()).or_insert_with(|| self.connect(address));
            if timeout(REFRESH_TIMEOUT, node.connected()).await.is_err() {
                last = Complaint::Failed(Failure::Disconnected);
                continue;
            }
            let deadline = (Instant::now() + REFRESH_TIMEOUT).into_std();
            let arguments: Arguments = vec!["SLOTS".into()];
            match node.send_by("CLUSTER", arguments, deadline).await {
                Ok(frame) => match ranges(&frame, &address.host) {
                    Some(ranges) if !ranges.is_empty() => {
                        self.replace(SlotTable::new(&ranges));
                        return Ok(());
                    }
                    _ => last = Complaint::Failed(Failure::ClusterDown),
                },
                Err(complaint) => last = complaint,
            }
        }
        Err(last)
    }

    /// Keeps the table up to date. Never ends; drop it to stop.
    pub async fn keep_fresh(self: Arc<Self>) {
        if !self.is_cluster() {
            return std::future::pending().await;
        }
        let mut nodes = HashMap::new();
        let mut pause = REFRESH_PAUSE;
        loop {
            let before = *self.version.borrow();
            if let Err(complaint) = self.refresh(&mut nodes).await {
                tracing::warn!(?complaint, "no node of the Redis Cluster tells who owns its slots");
            }
            let changed = *self.version.borrow() != before;
            if changed {
                pause = REFRESH_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_REFRESH_PAUSE);
            let quiet_from = Instant::now();
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep(REFRESH) => {}
            }
            if quiet_from.elapsed() >= LONGEST_REFRESH_PAUSE {
                pause = REFRESH_PAUSE;
            }
        }
    }
}

/// Reads the answer to `CLUSTER SLOTS`.
fn ranges(frame: &Resp3Frame, host: &str) -> Option<Vec<Range>> {
    let Resp3Frame::Array { data, .. } = frame else { return None };
    data.iter()
        .map(|range| {
            let Resp3Frame::Array { data, .. } = range else { return None };
            let [first, last, primary, ..] = &data[..] else { return None };
            let Resp3Frame::Array { data, .. } = primary else { return None };
            let [name, port, ..] = &data[..] else { return None };
            let name = match text(name) {
                None | Some("" | "?") => host,
                Some(name) => name,
            };
            let owner = NodeAddress { host: name.into(), port: u16::try_from(number(port)?).ok()? };
            Some(Range { first: u16::try_from(number(first)?).ok()?, last: u16::try_from(number(last)?).ok()?, owner })
        })
        .collect()
}

fn number(frame: &Resp3Frame) -> Option<i64> {
    match frame {
        Resp3Frame::Number { data, .. } => Some(*data),
        _ => None,
    }
}

fn text(frame: &Resp3Frame) -> Option<&str> {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => std::str::from_utf8(data).ok(),
        _ => None,
    }
}
