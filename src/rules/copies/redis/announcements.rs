//! Who changes the copy announces it, and this listens. Whoever may publish on the channel may say anything, so what is
//! heard is only a reason to look.

use std::sync::Arc;

use fred::types::Message;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::redis::connect::Connector;
use crate::redis::subscription::{Gap, Heard, Pauses, Subscription};
use crate::redis::topology::{Kind, NodeAddress};
use crate::rules::repository::{Epoch, Revision};

type Told = watch::Sender<Option<(Epoch, Revision)>>;

/// Listens, at one node after the other, as each fails.
pub(super) async fn listen(connector: Arc<Connector>, channel: String, told: Told) {
    // In a cluster every node hears of everything.
    let nodes = match connector.kind() {
        Kind::Single(node) | Kind::Sentinel { primary: node, .. } => vec![node],
        Kind::Cluster(nodes) => nodes,
    };
    let mut pauses = Pauses::default();
    for turn in fastrand::usize(..1_024).. {
        if let Some(node) = nodes.get(turn % nodes.len().max(1)) {
            let mut stood = false;
            let Err(gap) = listen_to(&connector, node, &channel, &told, &mut stood).await;
            if stood {
                pauses = Pauses::default();
                tracing::info!(%node, %gap, "not told of changed copies of the rules for a moment");
            } else {
                tracing::debug!(%node, %gap, "cannot subscribe to changes of the copy of the rules");
            }
        }
        sleep(pauses.next_pause()).await;
    }
}

async fn listen_to(
    connector: &Connector,
    node: &NodeAddress,
    channel: &str,
    told: &Told,
    stood: &mut bool,
) -> Result<std::convert::Infallible, Gap> {
    let mut subscription = Subscription::open(connector.subscriber(node), channel.as_bytes()).await?;
    *stood = true;
    // Whatever was announced before was missed.
    told.send_replace(None);
    loop {
        match subscription.hear().await? {
            Heard::Message(message) => drop(told.send_replace(read(&message))),
            Heard::TooMuch => drop(told.send_replace(None)),
            Heard::Nothing => {}
        }
    }
}

fn read(message: &Message) -> Option<(Epoch, Revision)> {
    let text = message.value.as_str()?;
    let (epoch, revision) = text.split_once(' ')?;
    Some((epoch.parse().ok()?, Revision(revision.parse().ok()?)))
}
