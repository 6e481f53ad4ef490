//! Sentinels: whether they are there, and agree on the primary.

use futures_util::future::join_all;

use super::Deployment;
use super::link::Link;
use crate::cli::doctor::report::Section;
use crate::config::redis::{RedisConnection, Topology};
use crate::counters::redis::connect::Connector;
use crate::counters::redis::topology::NodeAddress;

/// Asks every sentinel for the primary, and says where it is.
pub async fn check(
    deployment: &Deployment<'_>,
    primary: &NodeAddress,
    sentinels: &[NodeAddress],
) -> (Section, Option<NodeAddress>) {
    let mut section = deployment.section_for(format_args!("sentinels of {}", primary.host));
    let settings = deployment.section;
    let asked = join_all(sentinels.iter().map(|sentinel| ask(deployment, sentinel, &primary.host))).await;
    let mut primaries: Vec<NodeAddress> = Vec::new();
    for (sentinel, answer) in sentinels.iter().zip(asked) {
        match answer {
            Ok(found) => {
                section.ok("sentinel", format!("{sentinel} names {found}"));
                if !primaries.contains(&found) {
                    primaries.push(found);
                }
            }
            Err(error) => section.warn("sentinel", format!("{sentinel}: {error}"), format!("check {settings}.urls")),
        }
    }
    match primaries.as_slice() {
        [] => section.fail(
            "primary",
            format!("no sentinel knows a primary {}", primary.host),
            format!("check {settings}.urls and {settings}.sentinel.master"),
        ),
        [one] => section.ok("primary", one.to_string()),
        _ => section.fail("primary", "the sentinels do not agree", "wait for a failover to end, and check again"),
    }
    (section, primaries.into_iter().next())
}

async fn ask(deployment: &Deployment<'_>, sentinel: &NodeAddress, name: &str) -> Result<NodeAddress, String> {
    let own = deployment.settings.sentinel.clone().unwrap_or_default();
    let settings = RedisConnection {
        topology: Topology::Single,
        urls: vec![sentinel.to_string()],
        username: own.username,
        password: own.password,
        password_file: None,
        database: 0,
        sentinel: None,
        ..deployment.settings.clone()
    };
    let connector = Connector::new(&settings, super::link::PATIENCE).map_err(|error| error.to_string())?;
    let link = Link::connect(&connector, sentinel, settings.connect_timeout, deployment.section)
        .await
        .map_err(|trouble| trouble.message)?;
    let answer = link.ask("SENTINEL", &["GET-MASTER-ADDR-BY-NAME", name]).await;
    let quorum = link.ask("SENTINEL", &["CKQUORUM", name]).await;
    link.close().await;
    match answer?.list() {
        [host, port] => {
            quorum?;
            let port = port.number().and_then(|port| u16::try_from(port).ok());
            let (Some(host), Some(port)) = (host.text(), port) else { return Err("no address".to_owned()) };
            Ok(NodeAddress { host: host.into(), port })
        }
        _ => Err(format!("knows no primary {name}")),
    }
}
