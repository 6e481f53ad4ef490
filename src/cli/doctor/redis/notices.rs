//! Whether notices between replicas arrive: published by a script, heard by a subscriber.

use std::time::{Duration, Instant};

use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use fred::types::Value;
use tokio::time::timeout;

use super::Deployment;
use super::link::{Link, PATIENCE};
use super::scripts::probe_key;
use crate::cli::doctor::report::Section;
use crate::counters::redis::notices::{channel, encode};
use crate::counters::redis::topology::NodeAddress;

/// Publishes as the scripts of counters do.
const PUBLISH: &str = "return redis.call('PUBLISH', ARGV[1], ARGV[2])";

/// Subscribes, publishes, and waits for the notice.
pub async fn check(deployment: &Deployment<'_>, link: &Link, address: &NodeAddress, tag: &str, section: &mut Section) {
    let prefix = deployment.prefix;
    let advice = format!("ACL SETUSER <user> &{prefix}:forget +subscribe +publish; without, nobody hears of refunds");
    match hear(deployment, link, address, tag).await {
        Ok(trip) => section.ok("notices", format!("arrive after {trip:.1?}")),
        Err(error) => section.fail("notices", error, advice),
    }
}

async fn hear(deployment: &Deployment<'_>, link: &Link, address: &NodeAddress, tag: &str) -> Result<Duration, String> {
    let channel = channel(deployment.prefix);
    let subscriber = deployment.connector.subscriber(address);
    let task = subscriber.connect();
    let heard = async {
        let failed = |error: fred::error::Error| error.details().to_owned();
        let silent = |_| format!("no answer within {PATIENCE:?}");
        let wait = deployment.settings.connect_timeout + PATIENCE;
        timeout(wait, subscriber.wait_for_connect()).await.map_err(silent)?.map_err(failed)?;
        let mut messages = subscriber.message_rx();
        timeout(PATIENCE, subscriber.subscribe(channel.as_str())).await.map_err(silent)?.map_err(failed)?;
        // Names a counter that there is not, so that replicas that hear it have nothing to forget.
        let notice = encode(fastrand::u128(..), &[]);
        let key = probe_key(deployment.prefix, tag);
        let publish = || {
            let [script, count, key, channel] = [PUBLISH, "1", &key, &channel].map(Value::from);
            vec![script, count, key, channel, Value::Bytes(notice.clone())]
        };
        let sent = Instant::now();
        let mut trip = None;
        // The subscription may stand a little after it was asked for: say it again until it is heard.
        while trip.is_none() && sent.elapsed() < PATIENCE {
            let said = Instant::now();
            link.ask_bytes("EVAL", publish()).await?;
            let listen = async {
                while let Ok(message) = messages.recv().await {
                    if message.value.as_bytes() == Some(&notice[..]) {
                        break;
                    }
                }
            };
            trip = timeout(PATIENCE / 10, listen).await.ok().map(|()| said.elapsed());
        }
        trip.ok_or_else(|| format!("nothing published on {channel} arrives; may this user SUBSCRIBE to it?"))
    };
    let heard = heard.await;
    let _ = timeout(PATIENCE, subscriber.quit()).await;
    task.abort();
    heard
}
