//! Who computes: asks for the seat again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::line::{Line, Place};
use super::status::Role;
use crate::anomaly::bus::Bus as _;
use crate::anomaly::bus::choice::AnyBus;
use crate::anomaly::bus::local::LocalBus;

/// How often the seat is asked for, or kept.
const INTERVAL: Duration = Duration::from_millis(250);
/// After so long without an answer the seat is lost, and the bus is away.
const AWAY: Duration = Duration::from_secs(1);

/// Asks for the seat. Never ends.
pub async fn run(line: Line) {
    line.connected().await;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = Instant::now();
    loop {
        ticks.tick().await;
        // When it was asked, since it lasts from then at most.
        let asked = Instant::now();
        let place = match line.shared.lead().await {
            Ok(leads) => {
                answered = asked;
                line.answered();
                if leads { Place::Leader } else { Place::Follower }
            }
            Err(error) => {
                line.failed(&error);
                if answered.elapsed() < AWAY {
                    continue;
                }
                match &*line.place.borrow() {
                    Place::Alone(own) => Place::Alone(Arc::clone(own)),
                    Place::Follower | Place::Leader => Place::Alone(own_bus()),
                }
            }
        };
        if let Place::Alone(own) = &place {
            // Its own seat needs keeping, too.
            let _ = own.lead().await;
        }
        take(&line, place);
    }
}

fn own_bus() -> Arc<AnyBus> {
    Arc::new(AnyBus::Local(LocalBus::default()))
}

/// Takes a place; tells of it when it is another.
pub fn take(line: &Line, place: Place) {
    let role = match &place {
        Place::Follower => Role::Follower,
        Place::Leader => Role::Leader,
        Place::Alone(_) => Role::Alone,
    };
    let changed = line.place.send_if_modified(|present| {
        let changed = *present != place;
        *present = place;
        changed
    });
    if changed {
        line.status.became(role, line.now());
        if role == Role::Follower {
            line.status.clients.set(0);
            line.status.incidents.set(0);
        }
        match role {
            Role::Follower => tracing::info!("another replica's anomaly worker computes"),
            Role::Leader => tracing::info!("this replica's anomaly worker computes for all"),
            Role::Alone => {
                tracing::warn!("the anomaly worker's bus is away: this replica computes for itself until it is back");
            }
        }
    }
}
