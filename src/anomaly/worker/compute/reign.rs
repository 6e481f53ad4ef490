//! One reign on one bus: batches in, deeds out, what stands and checkpoints left behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, timeout};

use super::{CHECKPOINT_EVERY, Computing, End, RETRY};
use crate::anomaly::bus::choice::AnyBus;
use crate::anomaly::bus::{Bus as _, BusError, Checkpoint, Deed, Position};
use crate::anomaly::worker::fold::Fold;
use crate::anomaly::worker::line::{Line, Place};
use crate::anomaly::worker::note::Noted;
use crate::anomaly::worker::ruler::Ruler;
use crate::anomaly::worker::seat;
use crate::core::clock::Micros;

/// How long batches are waited for at once; so soon another place is noticed, too.
const PATIENCE: Duration = Duration::from_millis(100);
/// Deeds that are told at once.
const AT_ONCE: usize = 500;
/// How often deeds are read, for what people say; and how often it is looked whether something is to be left.
const UPKEEP_EVERY: Duration = Duration::from_millis(500);
/// How often what stands is left, when it has changed; after a lot of deeds, at once.
const STANDING_EVERY: Duration = Duration::from_secs(2);
/// How long the last checkpoint may take at the end.
const FAREWELL: Duration = Duration::from_secs(5);
/// Observations that are so old are read late; and so long, at most, what came before the beginning is read.
const LATE: Micros = Micros::from_millis(1_500);
const CATCHING_UP: Duration = Duration::from_secs(10);

/// One reign on one bus.
pub(super) struct Reign<'a> {
    pub(super) bus: Arc<AnyBus>,
    pub(super) alone: bool,
    pub(super) ruler: Ruler,
    pub(super) fold: Fold,
    pub(super) told: Position,
    pub(super) burst: usize,
    pub(super) began: Instant,
    /// It still reads what came before it began.
    pub(super) catching_up: bool,
    pub(super) left_standing: Instant,
    pub(super) next_checkpoint: Instant,
    pub(super) next_upkeep: Instant,
    pub(super) upload: Option<JoinHandle<()>>,
    pub(super) computing: &'a mut Computing,
}

impl Reign<'_> {
    /// Sees, finds and tells, while the place is ours.
    pub(super) async fn go_on(&mut self) -> End {
        loop {
            match self.turn().await {
                Ok(true) => {}
                Ok(false) => return End::Place,
                Err(End::Panic(error)) => return End::Panic(error),
                Err(End::Place) => return End::Place,
            }
        }
    }

    async fn turn(&mut self) -> Result<bool, End> {
        if !self.computing.is_place(&self.bus, self.alone) {
            return Ok(false);
        }
        let line = &self.computing.line;
        let patience = PATIENCE.min(self.ruler.left(line.now()).as_duration());
        match self.bus.receive(self.ruler.observed, patience).await {
            Ok(part) => {
                self.ruler.observed = part.upto;
                self.catching_up &= !part.items.is_empty() && self.began.elapsed() < CATCHING_UP;
                let batches: Vec<_> = part.items.into_iter().map(|(_, batch)| batch).collect();
                if !batches.is_empty() {
                    let seen = self.ruler.observe(batches).await?;
                    let status = &self.computing.line.status;
                    status.observed.add(seen.count);
                    status.batches_damaged.add(seen.damaged);
                    if let Some(newest) = seen.newest {
                        let lag = self.computing.line.now() - newest;
                        status.lag.set(lag.0);
                        self.catching_up &= lag > LATE;
                    }
                }
            }
            Err(error) => {
                line.failed(&error);
                sleep(RETRY).await;
            }
        }
        let line = self.computing.line.clone();
        if !self.catching_up {
            self.ruler.tick(line.now(), &line.status).await?;
        }
        if let Err(error) = self.tell().await {
            line.failed(&error);
        }
        if Instant::now() >= self.next_upkeep {
            self.next_upkeep = Instant::now() + UPKEEP_EVERY;
            self.hear().await?;
            if let Err(error) = self.tell().await {
                line.failed(&error);
            }
            self.leave().await?;
        }
        Ok(true)
    }

    /// Tells what waits to be told.
    async fn tell(&mut self) -> Result<(), BusError> {
        while !self.ruler.pending.is_empty() {
            let count = self.ruler.pending.len().min(AT_ONCE);
            let deeds: Vec<Deed> = self.ruler.pending.iter().take(count).cloned().collect();
            let told = match self.bus.tell(deeds).await {
                Err(error @ BusError::TooLarge { .. }) => {
                    // They would be again.
                    self.computing.line.failed(&error);
                    self.ruler.pending.drain(..count);
                    continue;
                }
                told => told?,
            };
            let Some(position) = told else {
                // Somebody else has the seat, though nobody has said so yet.
                if !self.alone {
                    seat::take(&self.computing.line, Place::Follower);
                }
                return Ok(());
            };
            self.told = position;
            self.burst += count;
            let told: Vec<Deed> = self.ruler.pending.drain(..count).collect();
            let mut events = Vec::with_capacity(told.len());
            for deed in told {
                self.fold.apply(&deed);
                if let Deed::Event(event) = deed {
                    self.computing.line.status.said(&event);
                    if self.alone {
                        self.ruler.remember(&event);
                    }
                    events.push(event);
                }
            }
            if let Some((waiting, Noted::ByWhoComputes)) = &self.computing.notes {
                waiting.push(events);
            }
        }
        Ok(())
    }

    /// Hears what people say, and its own deeds as all replicas do.
    async fn hear(&mut self) -> Result<(), End> {
        match self.bus.deeds(self.ruler.heard, Duration::ZERO).await {
            Ok(part) => {
                let mut said = Vec::new();
                if part.upto < self.ruler.heard {
                    // The bus has lost what it had, so also what stands.
                    self.told = part.upto;
                    self.fold.again();
                    self.next_checkpoint = Instant::now();
                }
                self.ruler.heard = part.upto;
                for (_, deed) in part.items {
                    self.fold.apply(&deed);
                    if let Deed::Feedback(feedback) = deed {
                        said.push(feedback);
                    }
                }
                if !said.is_empty() {
                    self.ruler.hear(said).await?;
                }
            }
            Err(error) => self.computing.line.failed(&error),
        }
        Ok(())
    }

    /// Leaves what stands, and a checkpoint, now and then. Alone there is nobody to leave them to.
    async fn leave(&mut self) -> Result<(), End> {
        if self.alone {
            return Ok(());
        }
        let now = self.computing.line.now();
        self.fold.expire(now);
        let due = self.burst >= AT_ONCE || self.left_standing.elapsed() >= STANDING_EVERY;
        if due && self.ruler.heard >= self.told && self.fold.take_changed() {
            let standing = self.fold.standing(self.ruler.heard, now);
            match self.bus.leave_standing(&standing).await {
                Ok(()) => (self.burst, self.left_standing) = (0, Instant::now()),
                Err(error) => {
                    self.fold.again();
                    self.computing.line.failed(&error);
                }
            }
        }
        let idle = self.upload.as_ref().is_none_or(JoinHandle::is_finished);
        if idle && Instant::now() >= self.next_checkpoint && self.ruler.pending.is_empty() {
            self.next_checkpoint = Instant::now() + CHECKPOINT_EVERY;
            if let Some(checkpoint) = self.checkpoint().await? {
                let (bus, line) = (Arc::clone(&self.bus), self.computing.line.clone());
                self.upload = Some(tokio::spawn(async move { leave_checkpoint(&bus, &checkpoint, &line).await }));
            }
        }
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<Option<Checkpoint>, JoinError> {
        let Some(engine) = self.ruler.checkpoint().await? else { return Ok(None) };
        let checkpoint = Checkpoint { observations: self.ruler.observed, deeds: self.ruler.heard, engine };
        self.computing.known = Some(checkpoint.clone());
        Ok(Some(checkpoint))
    }

    /// Leaves all that the next one needs.
    pub(super) async fn say_farewell(&mut self) {
        if self.alone {
            return;
        }
        let all = async {
            let _ = self.tell().await;
            let _ = self.hear().await;
            if let Some(upload) = self.upload.take() {
                let _ = upload.await;
            }
            if let Ok(Some(checkpoint)) = self.checkpoint().await {
                leave_checkpoint(&self.bus, &checkpoint, &self.computing.line).await;
            }
            let standing = self.fold.standing(self.ruler.heard, self.computing.line.now());
            if self.ruler.heard >= self.told {
                let _ = self.bus.leave_standing(&standing).await;
            }
        };
        if timeout(FAREWELL, all).await.is_err() {
            tracing::warn!("the anomaly worker's last checkpoint took longer than {FAREWELL:?} and was left out");
        }
    }
}

async fn leave_checkpoint(bus: &AnyBus, checkpoint: &Checkpoint, line: &Line) {
    match bus.leave_checkpoint(checkpoint).await {
        Ok(()) => {
            line.status.checkpoint_at.set(line.now().0);
            line.status.checkpoint_bytes.set(checkpoint.engine.len() as u64);
        }
        Err(error) => line.failed(&error),
    }
}
