//! A Redis Cluster.

use std::ops::Deref;
use std::time::Duration;

use super::proxy::Proxy;
use super::resp::Reply;
use super::single::{Options, Redis};
use super::topology::{Member, members};
use super::{wait_for, wait_until};

/// How many slots the keys of a cluster are spread over.
pub const SLOTS: u16 = 16_384;

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    primaries: usize,
    replicas: usize,
    spares: usize,
    node_timeout: Duration,
    proxied: bool,
    node: Options,
}

impl ClusterOptions {
    /// So many primaries, each with so many replicas.
    pub fn new(primaries: usize, replicas: usize) -> Self {
        let node_timeout = Duration::from_secs(1);
        Self { primaries, replicas, spares: 0, node_timeout, proxied: false, node: Options::new() }
    }

    /// Primaries without slots and replicas, to move slots to: [`Cluster::spare`].
    #[must_use]
    pub fn spares(mut self, spares: usize) -> Self {
        self.spares = spares;
        self
    }

    /// How long a node may be silent before the others take it for failed; 1 s unless said.
    /// The longer, the later nodes hear of changes: with 20 s a cluster takes 8 s to form.
    #[must_use]
    pub fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }

    /// A [`Proxy`] in front of each node, whose port the node announces: clients and replicas come through it, the
    /// nodes' own talk (the cluster bus) does not.
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// What each node is started with, a password for instance.
    #[must_use]
    pub fn node(mut self, node: Options) -> Self {
        self.node = node;
        self
    }

    /// Starts a cluster so.
    pub fn start(self) -> Cluster {
        Cluster::form(&self)
    }
}

/// A running cluster. In its order, first come the primaries, then the replicas of the first, of the second and so
/// on, as they were at the start, then the spares.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    spares: usize,
}

/// A member of a cluster: a [`Redis`], perhaps behind a proxy.
#[derive(Debug)]
pub struct Node {
    redis: Redis,
    id: String,
    proxy: Option<Proxy>,
}

/// How a replica takes its primary's place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Failover {
    /// With the primary's help: nothing is lost.
    Graceful,
    /// Without asking the primary, which may be away.
    Force,
    /// Without asking anybody, also when most primaries are away.
    Takeover,
}

/// A slot on its way: its keys are on either side, the old primary answers `ASK` for those it has no more.
#[derive(Clone, Copy, Debug)]
#[must_use = "a slot stays on its way until the migration ends"]
pub struct Migration<'a> {
    pub slot: u16,
    pub from: &'a Node,
    pub to: &'a Node,
}

impl Cluster {
    /// Starts a cluster with so many primaries, which share the slots evenly, and replicas of each.
    pub fn start(primaries: usize, replicas_per_primary: usize) -> Self {
        ClusterOptions::new(primaries, replicas_per_primary).start()
    }

    fn form(options: &ClusterOptions) -> Self {
        let replicas = options.primaries * options.replicas;
        let count = options.primaries + replicas + options.spares;
        let nodes: Vec<_> = (0..count).map(|number| Node::start(options, number)).collect();
        let cluster = Self { nodes, spares: options.spares };
        cluster.share_slots(options.primaries);
        cluster.introduce();
        let (primaries, others) = cluster.nodes.split_at(options.primaries);
        for (number, replica) in others[..replicas].iter().enumerate() {
            replica.command(&["CLUSTER", "REPLICATE", &primaries[number / options.replicas].id]).ok();
        }
        cluster.wait_until_healthy();
        cluster
    }

    fn share_slots(&self, primaries: usize) {
        let bound = |part: usize| part * usize::from(SLOTS) / primaries;
        for (number, node) in self.nodes[..primaries].iter().enumerate() {
            let (first, last) = (bound(number), bound(number + 1) - 1);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).ok();
        }
    }

    /// Makes everybody meet everybody, which is quicker than waiting for the news to spread.
    fn introduce(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[number + 1..] {
                let (port, bus) = (other.port().to_string(), other.redis.bus_port().to_string());
                node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).ok();
            }
        }
        wait_until("all nodes know each other", || {
            self.nodes.iter().all(|node| {
                let known = node.members();
                self.nodes.iter().all(|other| known.iter().any(|member| member.id == other.id && !member.failing))
            })
        });
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// `ip:port,ip:port`, of all nodes.
    pub fn seeds(&self) -> String {
        self.nodes.iter().map(Node::address).collect::<Vec<_>>().join(",")
    }

    /// A primary that was started without slots.
    pub fn spare(&self, number: usize) -> &Node {
        &self.nodes[self.nodes.len() - self.spares..][number]
    }

    /// The primary of a slot among the nodes that run; waits until there is one. When two think so, the newer counts.
    pub fn primary_of(&self, slot: u16) -> &Node {
        wait_for(&format!("a primary of slot {slot}"), || {
            let claims = self.running().filter_map(|node| {
                let this = node.this();
                (this.primary && this.has(slot)).then_some((this.epoch, node))
            });
            claims.max_by_key(|(epoch, _)| *epoch).map(|(_, node)| node)
        })
    }

    /// The replicas, among the nodes that run, of a slot's primary.
    pub fn replicas_of(&self, slot: u16) -> Vec<&Node> {
        let primary = &self.primary_of(slot).id;
        self.running().filter(|node| node.this().primary_id.as_ref() == Some(primary)).collect()
    }

    /// Makes a replica of this slot its primary and waits until all nodes that run agree; returns the new primary.
    /// The old may be stopped or killed, but not for so long that the replica acts on its own: see
    /// [`ClusterOptions::node_timeout`].
    pub fn failover(&self, slot: u16, how: Failover) -> &Node {
        let (old, new) = self.pair(slot).expect("a replica that runs");
        let command: &[&str] = match how {
            Failover::Graceful => &["CLUSTER", "FAILOVER"],
            Failover::Force => &["CLUSTER", "FAILOVER", "FORCE"],
            Failover::Takeover => &["CLUSTER", "FAILOVER", "TAKEOVER"],
        };
        new.command(command).ok();
        self.wait_for_owner(slot, new);
        if old.is_running() {
            wait_until("the old primary follows the new", || old.this().primary_id.as_ref() == Some(&new.id));
        }
        new
    }

    /// The primary of a slot, which may not run, and a replica of it, which does.
    fn pair(&self, slot: u16) -> Option<(&Node, &Node)> {
        self.running().find_map(|replica| {
            let primary = replica.this().primary_id?;
            let has_slot = |member: &Member| member.id == primary && member.has(slot);
            let old = self.nodes.iter().find(|node| node.id == primary)?;
            replica.members().iter().any(has_slot).then_some((old, replica))
        })
    }

    /// Moves a slot with its keys, as resharding does.
    pub fn migrate_slot(&self, slot: u16, to: &Node) {
        if let Some(migration) = self.begin_migration(slot, to) {
            self.move_keys(&migration, usize::MAX);
            self.end_migration(migration);
        }
    }

    /// Declares a slot to be on its way, with all its keys where they were; nothing when it is there already.
    #[must_use = "a slot stays on its way until the migration ends"]
    pub fn begin_migration<'a>(&'a self, slot: u16, to: &'a Node) -> Option<Migration<'a>> {
        let from = self.primary_of(slot);
        if from.id == to.id {
            return None;
        }
        let number = slot.to_string();
        to.command(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &from.id]).ok();
        from.command(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &to.id]).ok();
        Some(Migration { slot, from, to })
    }

    /// Moves keys of a slot that is on its way, at most so many; returns how many there were to move.
    pub fn move_keys(&self, migration: &Migration<'_>, at_most: usize) -> usize {
        let mut moved = 0;
        while moved < at_most {
            let some = (at_most - moved).min(100).to_string();
            let slot = migration.slot.to_string();
            let keys = migration.from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, &some]).array();
            if keys.is_empty() {
                break;
            }
            moved += keys.len();
            let port = migration.to.redis.client_port().to_string();
            let mut command: Vec<Vec<u8>> = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000"].map(Into::into).into();
            if let Some(password) = migration.to.redis.password() {
                command.extend([b"AUTH".to_vec(), password.into_bytes()]);
            }
            command.push(b"KEYS".to_vec());
            command.extend(keys.into_iter().map(Reply::bytes));
            let reply = migration.from.command(&command);
            // A key may have expired meanwhile.
            assert!(matches!(&reply, Reply::Simple(text) if text == "OK" || text == "NOKEY"), "{reply:?}");
        }
        moved
    }

    /// Gives a slot, whose keys have all moved, to its new primary and waits until all nodes that run know.
    pub fn end_migration(&self, migration: Migration<'_>) {
        let Migration { slot, from, to } = migration;
        for node in [to, from] {
            node.command(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &to.id]).ok();
        }
        self.wait_for_owner(slot, to);
    }

    fn wait_for_owner(&self, slot: u16, owner: &Node) {
        wait_until(&format!("all nodes know the primary of slot {slot}"), || {
            self.running().all(|node| {
                let members = node.members();
                let mut owners = members.iter().filter(|member| member.has(slot));
                owners.next().is_some_and(|member| member.id == owner.id && member.primary) && owners.next().is_none()
            })
        });
    }

    /// Waits until all nodes that run serve all slots, see the cluster alike, and the replicas are in sync.
    pub fn wait_until_healthy(&self) {
        wait_until("the cluster is healthy", || {
            let running: Vec<_> = self.running().collect();
            let of_those = |member: &Member| running.iter().any(|node| node.id == member.id);
            let mut views = running.iter().map(|node| {
                let mut view: Vec<_> = node.members().into_iter().filter(of_those).collect();
                view.sort_by(|one, other| one.id.cmp(&other.id));
                view
            });
            let first = views.next().expect("a node that runs");
            first.len() == running.len()
                && first.iter().all(|member| !member.failing)
                && views.all(|view| view == first)
                && running.iter().all(|node| node.is_healthy())
        });
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_running())
    }
}

impl Node {
    fn start(options: &ClusterOptions, number: usize) -> Self {
        let timeout = options.node_timeout.as_millis().to_string();
        let node = options.node.clone().cluster_node().flags(&["--cluster-node-timeout", &timeout]).flags(&[
            "--cluster-allow-reads-when-down",
            "no",
            // A replica may take over however long it had no primary, and stays with its primary.
            "--cluster-replica-validity-factor",
            "0",
            "--cluster-allow-replica-migration",
            "no",
        ]);
        let redis = node.start();
        let id = redis.command(&["CLUSTER", "MYID"]).text();
        redis.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).ok();
        let proxy = options.proxied.then(|| {
            let proxy = Proxy::start(format!("127.0.0.1:{}", redis.client_port()));
            redis.set("cluster-announce-ip", "127.0.0.1");
            let setting = if redis.has_tls() { "cluster-announce-tls-port" } else { "cluster-announce-port" };
            redis.set(setting, &proxy.port().to_string());
            redis.set("cluster-announce-bus-port", &redis.bus_port().to_string());
            proxy
        });
        Self { redis, id, proxy }
    }

    /// The name that the cluster knows the node by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where clients find the node: the proxy's address, if there is one.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The port where clients find the node: the proxy's, if there is one.
    pub fn port(&self) -> u16 {
        self.proxy.as_ref().map_or(self.redis.client_port(), Proxy::port)
    }

    /// The server itself, whose address is never the proxy's.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The proxy in front of the node; only in a cluster that is [`proxied`](ClusterOptions::proxied).
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a cluster with proxies")
    }

    /// Whether the node thinks itself a primary.
    pub fn is_primary(&self) -> bool {
        self.this().primary
    }

    /// The cluster as this node sees it.
    fn members(&self) -> Vec<Member> {
        members(&self.command(&["CLUSTER", "NODES"]).text())
    }

    /// The node as it sees itself.
    fn this(&self) -> Member {
        self.members().into_iter().find(|member| member.id == self.id).expect("a node knows itself")
    }

    fn is_healthy(&self) -> bool {
        let in_sync = || self.info("role") == "master" || self.info("master_link_status") == "up";
        self.command(&["CLUSTER", "INFO"]).text().contains("cluster_state:ok") && in_sync()
    }
}

impl Deref for Node {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        &self.redis
    }
}
