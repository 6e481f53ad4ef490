//! A primary, its replicas and the sentinels that watch them.

use super::resp::Reply;
use super::single::{Options, Redis};
use super::{wait_for, wait_until};

/// The name under which the sentinels know the primary.
pub const SENTINEL_MASTER: &str = "tidegate";

const SENTINELS: usize = 3;

/// A primary with replicas, and three sentinels, two of which must agree that it is down.
#[derive(Debug)]
pub struct Sentinel {
    servers: Vec<Redis>,
    sentinels: Vec<Redis>,
}

impl Sentinel {
    /// Starts a primary with one replica.
    pub fn start() -> Self {
        Self::start_with(1, &Options::new())
    }

    /// Starts a primary with so many replicas, each with these options.
    pub fn start_with(replicas: usize, options: &Options) -> Self {
        let primary = options.clone().start();
        let port = primary.port().to_string();
        let replica = |_| options.clone().flags(&["--replicaof", "127.0.0.1", &port]).start();
        let servers: Vec<_> = std::iter::once(primary).chain((0..replicas).map(replica)).collect();
        // What the primary says of its replicas first is all that older sentinels hear for ten seconds.
        wait_until("the replicas are in sync", || {
            servers[1..].iter().all(|replica| replica.info("master_link_status") == "up")
        });
        let sentinels = (0..SENTINELS).map(|_| watch(&servers[0])).collect();
        let sentinel = Self { servers, sentinels };
        sentinel.wait_until_ready();
        sentinel
    }

    /// All servers; which is the primary changes.
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// `ip:port,ip:port`, of the sentinels.
    pub fn addresses(&self) -> String {
        self.sentinels.iter().map(Redis::address).collect::<Vec<_>>().join(",")
    }

    /// The primary on which the sentinels that run agree, and which agrees itself; waits until there is one.
    pub fn primary(&self) -> &Redis {
        wait_for("a primary", || self.try_primary())
    }

    fn try_primary(&self) -> Option<&Redis> {
        let mut named = self.running().map(port_of_primary);
        let port = named.next().expect("a sentinel that runs");
        let agreed = named.all(|other| other == port);
        let named = self.servers.iter().find(|server| agreed && server.port() == port)?;
        // Sentinels cut the connections of a server whose part they change.
        (named.is_running() && named.try_info("role").ok()? == "master").then_some(named)
    }

    /// Makes a replica the primary, by the sentinels; returns the new primary, when all agree on it.
    pub fn failover(&self) -> &Redis {
        let old = self.primary().port();
        let sentinel = self.running().next().expect("a sentinel that runs");
        wait_for("a new primary", || {
            // On a busy machine a failover may be given up; while one goes on, another is refused, as it is while no
            // replica has been seen to be well just now.
            if port_of_primary(sentinel) == old {
                sentinel.command(&["SENTINEL", "FAILOVER", SENTINEL_MASTER]);
            }
            self.try_primary().filter(|primary| primary.port() != old)
        })
    }

    /// Waits until another server than the one at this port, which was killed or stopped, is the primary.
    pub fn primary_other_than(&self, port: u16) -> &Redis {
        wait_for("a new primary", || self.try_primary().filter(|primary| primary.port() != port))
    }

    /// Waits until every sentinel knows all others and all replicas.
    fn wait_until_ready(&self) {
        wait_until("the sentinels know each other", || {
            self.sentinels.iter().all(|sentinel| {
                let replicas = sentinel.command(&["SENTINEL", "REPLICAS", SENTINEL_MASTER]).array().len();
                let others = sentinel.command(&["SENTINEL", "SENTINELS", SENTINEL_MASTER]).array().len();
                let quorum = sentinel.command(&["SENTINEL", "CKQUORUM", SENTINEL_MASTER]);
                replicas == self.servers.len() - 1 && others == SENTINELS - 1 && quorum.error().is_none()
            })
        });
    }

    fn running(&self) -> impl Iterator<Item = &Redis> {
        self.sentinels.iter().filter(|sentinel| sentinel.is_running())
    }
}

/// Starts a sentinel that watches this primary and is quick to see that it is down.
fn watch(primary: &Redis) -> Redis {
    let sentinel = Options::new().sentinel().start();
    let port = primary.port().to_string();
    sentinel.command(&["SENTINEL", "MONITOR", SENTINEL_MASTER, "127.0.0.1", &port, "2"]).ok();
    let set = |name: &str, value: &str| sentinel.command(&["SENTINEL", "SET", SENTINEL_MASTER, name, value]).ok();
    set("down-after-milliseconds", "1000");
    set("failover-timeout", "3000");
    if let Some(password) = primary.password() {
        set("auth-pass", &password);
    }
    // They greet each other every two seconds unless told otherwise, which older versions cannot be told. During a
    // failover its leader looks at the servers once a second only. Others that have not heard of its end within four
    // publish periods undo it, and a replica seen longer ago than three info periods is not good enough: no shorter.
    let _ = sentinel.command(&["SENTINEL", "DEBUG", "PUBLISH-PERIOD", "500", "INFO-PERIOD", "500"]);
    sentinel
}

fn port_of_primary(sentinel: &Redis) -> u16 {
    let address = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SENTINEL_MASTER]).array();
    let port = address.into_iter().nth(1).map(Reply::text).expect("an address");
    port.parse().expect("a port")
}
