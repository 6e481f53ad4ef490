//! Redis: every server that holds counters, and how they hang together.

mod clock;
mod cluster;
mod latency;
mod link;
mod memory;
mod notices;
mod replication;
mod scripts;
mod sentinel;
mod server;

use std::time::Duration;

use futures_util::future::join_all;

use self::clock::Skew;
use self::link::Link;
use super::report::Section;
use crate::config::Config;
use crate::config::redis::{RedisConnection, Topology};
use crate::counters::redis::backend::Kind;
use crate::counters::redis::connect::Connector;
use crate::counters::redis::topology::NodeAddress;

/// The most servers asked; a larger cluster is looked at in part.
const MAX_SERVERS: usize = 256;

/// What the checks of one deployment need to know.
#[derive(Debug)]
struct Deployment<'a> {
    /// Its section of the settings.
    section: &'static str,
    settings: &'a RedisConnection,
    connector: Connector,
    prefix: &'a str,
    /// The time of a decision.
    deadline: Duration,
}

impl Deployment<'_> {
    fn section_for(&self, what: impl std::fmt::Display) -> Section {
        Section::new(format!("{} {what}", self.section))
    }

    async fn link(&self, address: &NodeAddress) -> Result<Link, link::Trouble> {
        Link::connect(&self.connector, address, self.settings.connect_timeout, self.section).await
    }
}

/// Checks each deployment that the settings name.
pub async fn check(config: &Config) -> Vec<Section> {
    let Some(redis) = &config.redis else { return Vec::new() };
    let main = redis.connection();
    let both = [("redis", Some(&main)), ("redis.per_second", redis.per_second.as_ref())];
    let checks = both.into_iter().filter_map(|(section, settings)| Some((section, settings?))).map(
        async |(section, settings)| match Connector::new(settings, link::PATIENCE) {
            Ok(connector) => {
                let (prefix, deadline) = (redis.key_prefix.as_str(), redis.deadline);
                examine(&Deployment { section, settings, connector, prefix, deadline }).await
            }
            Err(error) => {
                let mut wrong = Section::new(section);
                wrong.fail("settings", error.to_string(), "correct what it names");
                vec![wrong]
            }
        },
    );
    join_all(checks).await.into_iter().flatten().collect()
}

async fn examine(deployment: &Deployment<'_>) -> Vec<Section> {
    let mut sections = Vec::new();
    let kind = deployment.connector.kind();
    let servers = match &kind {
        Kind::Single(address) => vec![Server { address: address.clone(), shown: address.clone(), slot_tag: None }],
        Kind::Sentinel { primary, sentinels } => {
            let (section, shown) = sentinel::check(deployment, primary, sentinels).await;
            sections.push(section);
            let shown = shown.unwrap_or_else(|| primary.clone());
            vec![Server { address: primary.clone(), shown, slot_tag: None }]
        }
        Kind::Cluster(seeds) => {
            let (section, servers) = cluster::check(deployment, seeds).await;
            sections.push(section);
            servers
        }
    };
    let found = join_all(servers.iter().take(MAX_SERVERS).map(|server| one(deployment, server))).await;
    let mut skews = Vec::new();
    for (section, skew) in found {
        sections.push(section);
        skews.extend(skew);
    }
    if skews.len() > 1 {
        let mut between = deployment.section_for("(all servers)");
        clock::between(&skews, &mut between);
        sections.push(between);
    }
    sections
}

/// A server that holds counters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    /// What to connect to.
    address: NodeAddress,
    /// What to call it.
    shown: NodeAddress,
    /// A text whose slot it owns, where slots matter.
    slot_tag: Option<String>,
}

/// Everything about one server. The order is that of the checks: what needs least comes first.
async fn one(deployment: &Deployment<'_>, server: &Server) -> (Section, Option<Skew>) {
    let mut section = deployment.section_for(&server.shown);
    let link = match deployment.link(&server.address).await {
        Ok(link) => link,
        Err(trouble) => {
            section.fail("connection", trouble.message, trouble.advice);
            return (section, None);
        }
    };
    let user = deployment.settings.username.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
    section.ok("connection", format!("connected{user}"));
    match link.info().await {
        Ok(info) => {
            server::check(&info, deployment, &mut section);
            memory::check(&info, &mut section);
            replication::check(&link, &info, deployment.settings.topology == Topology::Cluster, &mut section).await;
        }
        Err(error) => section.warn(
            "info",
            format!("the server does not tell about itself: {error}"),
            "let this user INFO; version, memory and replicas are not checked without",
        ),
    }
    let skew = clock::check(&link, &server.shown, &mut section).await;
    latency::check(&link, deployment.deadline, &mut section).await;
    let tag = server.slot_tag.as_deref().unwrap_or("0");
    if scripts::check(&link, deployment.prefix, tag, &mut section).await {
        notices::check(deployment, &link, &server.address, tag, &mut section).await;
    }
    link.close().await;
    (section, skew)
}
