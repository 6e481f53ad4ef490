//! Puts in force what deeds say, in every replica that decides.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::fold::Fold;
use super::line::Line;
use super::note::Waiting;
use crate::anomaly::bus::choice::AnyBus;
use crate::anomaly::bus::{Bus as _, BusError, Deed, Position, Standing};
use crate::core::adjustment::set::AdjustmentSet;
use crate::core::clock::Micros;

/// At least so long between two sets; after a large one, longer.
const PAUSE: Duration = Duration::from_millis(50);
/// How many times as long as making a set took.
const REST: u32 = 4;
/// How long deeds are waited for at once; and how often what has ended is taken away.
const PATIENCE: Duration = Duration::from_millis(500);
/// How soon a bus that is away is asked again.
const RETRY: Duration = Duration::from_millis(250);

/// Takes a set of adjustments, to put it in force.
pub type PutInForce = Arc<dyn Fn(AdjustmentSet) + Send + Sync>;

/// Follows deeds until the end. `noting` has those that are to be noted by all.
pub async fn run(mut fold: Fold, put: PutInForce, noting: Option<Arc<Waiting>>, line: Line) {
    line.connected().await;
    let (mut bus, mut since) = (line.bus(), None);
    // What was in force when the shared bus went away: what is done alone ends when it is back.
    let mut before: Option<Standing> = None;
    let mut next = Instant::now();
    while !line.has_ended() {
        if !Arc::ptr_eq(&bus, &line.bus()) {
            if Arc::ptr_eq(&bus, &line.shared) {
                before = Some(fold.standing(Position::START, line.now()));
            } else if let Some(before) = before.take() {
                fold.replace(&before);
            }
            (bus, since) = (line.bus(), None);
        }
        match follow(&bus, &mut since, &mut fold, noting.as_deref(), &line).await {
            Ok(newest) => {
                fold.expire(line.now());
                if fold.take_changed() {
                    sleep_until(next).await;
                    let began = Instant::now();
                    put(AdjustmentSet::new(fold.adjustments()));
                    next = began + PAUSE.max(began.elapsed() * REST);
                    line.status.refused.set(fold.refused());
                }
                if let Some(at) = newest {
                    line.status.deed_age.set((line.now() - at).0);
                }
            }
            Err(error) => {
                line.failed(&error);
                fold.expire(line.now());
                if fold.take_changed() {
                    put(AdjustmentSet::new(fold.adjustments()));
                }
                sleep(RETRY).await;
            }
        }
    }
}

/// Reads what is new; begins with what stands, where nothing is known. Returns the time of the newest deed.
async fn follow(
    bus: &Arc<AnyBus>,
    since: &mut Option<Position>,
    fold: &mut Fold,
    noting: Option<&Waiting>,
    line: &Line,
) -> Result<Option<Micros>, BusError> {
    let position = match *since {
        Some(position) => position,
        None => {
            let standing = bus.standing().await?;
            // Where nothing stands, what is in force stays until it ends.
            if let Some(standing) = &standing {
                fold.replace(standing);
            }
            let position = standing.map_or(Position::START, |standing| standing.position);
            *since = Some(position);
            position
        }
    };
    let part = bus.deeds(position, PATIENCE).await?;
    if Arc::ptr_eq(bus, &line.shared) {
        line.answered();
    }
    if part.gap && position != Position::START {
        // What stands is left again soon after many deeds; until it leads on to what is kept, it is asked for again.
        line.status.gaps.add(1);
        *since = None;
        sleep(RETRY).await;
    }
    let mut newest = None;
    line.status.deeds.add(part.items.len() as u64);
    let mut events = Vec::new();
    if since.is_some() {
        *since = Some(part.upto);
    }
    for (_, deed) in part.items {
        fold.apply(&deed);
        match deed {
            Deed::Event(event) => {
                newest = Some(event.at);
                events.push(event);
            }
            Deed::Feedback(feedback) => newest = Some(feedback.at),
        }
    }
    if let Some(noting) = noting {
        noting.push(events);
    }
    Ok(newest)
}
