//! Sends what decisions left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::draft::{Budget, Draft};
use super::line::Line;
use crate::anomaly::bus::Bus as _;
use crate::anomaly::geo::Geo;
use crate::anomaly::observe::Reader;

/// How often buffers are emptied.
const INTERVAL: Duration = Duration::from_millis(100);

/// Empties the buffers, adds what `geo` knows of addresses, and sends what was in them, at most `rate` bytes a second, until the end. While the bus takes
/// its time, observations wait in the buffers, and are lost there beyond their size.
pub async fn run(mut reader: Reader, geo: Arc<Geo>, rate: u64, line: Line) {
    line.connected().await;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut draft, mut budget) = (Draft::default(), Budget::new(rate));
    let mut last = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = line.ended() => return,
        }
        reader.drain(|observation| {
            let mut observation = *observation;
            geo.fill(&mut observation);
            line.status.saw(&observation);
            draft.push(&observation);
        });
        budget.pass(last.elapsed());
        last = Instant::now();
        let (batches, lost) = draft.cut(&mut budget, fastrand::f64);
        reader.give_up(lost);
        for batch in batches {
            match line.bus().send(batch).await {
                Ok(()) => line.status.batches_sent.add(1),
                Err(error) => {
                    line.status.batches_dropped.add(1);
                    line.failed(&error);
                }
            }
        }
    }
}
