//! Computing: with the seat for all, alone for oneself.

mod reign;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::{Instant, sleep};

use self::reign::Reign;
use super::fold::Fold;
use super::line::{Line, Place};
use super::note::{Noted, Waiting};
use super::ruler::{Done, Ruler};
use crate::anomaly::bus::choice::AnyBus;
use crate::anomaly::bus::{Bus as _, BusError, Checkpoint, Deed, Position};
use crate::anomaly::engine::{Engine, models};
use crate::anomaly::event::{Event, Kind};
use crate::config::anomaly::Anomaly;
use crate::core::clock::Micros;

/// How soon a bus that failed is asked again.
const RETRY: Duration = Duration::from_millis(100);
/// How often a checkpoint is left, and how soon the first.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
const FIRST_CHECKPOINT: Duration = Duration::from_secs(1);
/// How often one that has not the seat reads the checkpoint, to have it when the bus goes away.
const READ_EVERY: Duration = Duration::from_secs(60);
/// How long after a failure of the engine itself another begins.
const AFTER_PANIC: Duration = Duration::from_secs(10);
/// Incidents of a replica that is alone have numbers that begin within so many microseconds (12 days) from now, so that
/// no two replicas use the same.
const NUMBERS: u64 = 1 << 40;

/// Why it no longer computes.
enum End {
    /// The place is another, or the end has come.
    Place,
    /// The engine ended in a panic.
    Panic(JoinError),
}

impl From<JoinError> for End {
    fn from(error: JoinError) -> Self {
        Self::Panic(error)
    }
}

/// What computing needs.
pub struct Computing {
    /// The section `anomaly`.
    pub settings: Arc<Anomaly>,
    /// Where findings go.
    pub notes: Option<(Arc<Waiting>, Noted)>,
    /// The rest.
    pub line: Line,
    /// The last checkpoint of the shared bus that was left or read here.
    known: Option<Checkpoint>,
}

impl Computing {
    /// With these settings.
    #[must_use]
    pub const fn new(settings: Arc<Anomaly>, notes: Option<(Arc<Waiting>, Noted)>, line: Line) -> Self {
        Self { settings, notes, line, known: None }
    }

    /// Computes whenever it is to, until the end.
    pub async fn run(mut self) {
        self.line.connected().await;
        let mut places = self.line.place.subscribe();
        let mut kept: Option<Ruler> = None;
        while !self.line.has_ended() {
            let place = places.borrow_and_update().clone();
            let (bus, alone) = match place {
                Place::Follower => {
                    if let Some(ruler) = kept.take() {
                        self.end_what_was_done_alone(ruler.open);
                    }
                    self.look_on(&place).await;
                    continue;
                }
                Place::Leader => (Arc::clone(&self.line.shared), false),
                Place::Alone(bus) => (bus, true),
            };
            let mut reign = match self.begin(&bus, alone, kept.take()).await {
                Ok(Some(reign)) => reign,
                Ok(None) => continue,
                Err(error) => {
                    self.failed(&error).await;
                    continue;
                }
            };
            match reign.go_on().await {
                End::Place => {
                    if reign.computing.line.has_ended() {
                        reign.say_farewell().await;
                        return;
                    }
                    kept = Some(reign.ruler);
                }
                End::Panic(error) => {
                    let open = reign.ruler.open;
                    self.end_what_was_done_alone(open);
                    self.failed(&error).await;
                }
            }
        }
    }

    async fn failed(&self, error: &JoinError) {
        tracing::error!(%error, "the anomaly worker's engine failed; another begins in {AFTER_PANIC:?}");
        tokio::select! {
            () = sleep(AFTER_PANIC) => {}
            () = self.line.ended() => {}
        }
    }

    /// Reads the checkpoint now and then, until the place is another.
    async fn look_on(&mut self, place: &Place) {
        let mut places = self.line.place.subscribe();
        while !self.line.has_ended() && *places.borrow_and_update() == *place {
            match self.line.shared.checkpoint().await {
                Ok(Some(checkpoint)) => self.known = Some(checkpoint),
                Ok(None) => {}
                Err(error) => self.line.failed(&error),
            }
            tokio::select! {
                _ = places.changed() => {}
                () = sleep(READ_EVERY) => {}
                () = self.line.ended() => {}
            }
        }
    }

    fn is_place(&self, bus: &Arc<AnyBus>, alone: bool) -> bool {
        if self.line.has_ended() {
            return false;
        }
        match &*self.line.place.borrow() {
            Place::Follower => false,
            Place::Leader => !alone,
            Place::Alone(own) => alone && Arc::ptr_eq(own, bus),
        }
    }

    /// Takes over; `None` when the place was lost meanwhile.
    async fn begin(
        &mut self,
        bus: &Arc<AnyBus>,
        alone: bool,
        kept: Option<Ruler>,
    ) -> Result<Option<Reign<'_>>, JoinError> {
        let (mut ruler, mut fold, goes_on, stood) = if alone {
            (self.begin_alone(kept), Fold::new(self.settings.policy.max_actions), true, Position::START)
        } else {
            let mut kept = kept;
            loop {
                match self.begin_shared(&mut kept).await {
                    Ok(begun) => break begun,
                    Err(error) => self.line.failed(&error),
                }
                sleep(RETRY).await;
                if !self.is_place(bus, alone) {
                    // What was done alone is still known, so that it can be ended.
                    if let Some(ruler) = kept {
                        self.end_what_was_done_alone(ruler.open);
                    }
                    return Ok(None);
                }
            }
        };
        fold.expire(self.line.now());
        if !alone {
            let mut missed = self.missed_deeds(bus, &mut ruler, &mut fold, stood).await;
            self.note_again(&missed);
            if !goes_on && self.known.is_none() {
                // It begins with the first deed. What was before would be a clock that was set back by as much.
                ruler.since = missed.iter().find_map(begin_of).unwrap_or_default();
            }
            if goes_on {
                // What happened is its own doing.
                missed.retain(|deed| matches!(deed, Deed::Feedback(_)));
            }
            ruler.catch_up(missed).await?;
        }
        let now = Instant::now();
        Ok(Some(Reign {
            bus: Arc::clone(bus),
            alone,
            told: ruler.heard,
            ruler,
            fold,
            burst: 0,
            began: now,
            catching_up: true,
            left_standing: now,
            next_checkpoint: now + FIRST_CHECKPOINT,
            next_upkeep: now,
            upload: None,
            computing: self,
        }))
    }

    /// An engine that goes on with what this replica knows.
    fn begin_alone(&self, kept: Option<Ruler>) -> Ruler {
        let mut ruler = match kept {
            Some(ruler) => ruler,
            None => {
                let engine = self.resume(self.known.as_ref());
                Ruler::new(engine.numbered_from(self.line.now().0 + fastrand::u64(..NUMBERS)))
            }
        };
        (ruler.observed, ruler.heard) = (Position::START, Position::START);
        ruler
    }

    /// An engine that goes on where the last holder of the seat stopped, and what stands. One that was alone goes on
    /// itself, unless somebody else had the seat meanwhile; then the third is true. The last is
    /// the position of what stands.
    async fn begin_shared(&mut self, kept: &mut Option<Ruler>) -> Result<(Ruler, Fold, bool, Position), BusError> {
        let bus = Arc::clone(&self.line.shared);
        let standing = readable(bus.standing().await)?;
        let checkpoint = readable(bus.checkpoint().await)?;
        let mut fold = Fold::new(self.settings.policy.max_actions);
        if let Some(standing) = &standing {
            fold.replace(standing);
        }
        let last = self.known.as_ref().map(|known| known.observations);
        let is_newer = checkpoint.as_ref().is_some_and(|found| last.is_none_or(|last| found.observations > last));
        let mut goes_on = false;
        let ruler = match kept.take() {
            Some(mut ruler) if !is_newer => {
                // All that it did is news to the others.
                let open = std::mem::take(&mut ruler.open).into_values();
                let mut open: Vec<Event> = open.map(|done| done.last).collect();
                open.sort_by_key(|event| (event.at, event.incident));
                goes_on = true;
                ruler.pending = open.into_iter().map(Deed::Event).collect();
                ruler.observed = last.unwrap_or_default();
                ruler.heard = self.known.as_ref().map(|known| known.deeds).unwrap_or_default();
                ruler
            }
            gone => {
                if let Some(ruler) = gone {
                    self.end_what_was_done_alone(ruler.open);
                }
                if checkpoint.is_some() {
                    self.known = checkpoint;
                }
                let engine = self.resume(self.known.as_ref());
                let mut ruler = Ruler::new(engine.numbered_from(self.line.now().0));
                if let Some(known) = &self.known {
                    (ruler.observed, ruler.heard) = (known.observations, known.deeds);
                }
                ruler
            }
        };
        self.line.answered();
        let stood = standing.map_or(Position::START, |standing| standing.position);
        Ok((ruler, fold, goes_on, stood))
    }

    /// An engine that knows nothing but the models of the settings.
    fn begins(&self) -> Engine {
        let mut engine = Engine::new(&self.settings);
        if let Some(path) = &self.settings.models_file
            && let Err(error) = models::file::load(&mut engine, path)
        {
            // They were there at the start.
            tracing::error!("anomaly.models_file: {error}; the anomaly worker begins without");
        }
        engine
    }

    fn resume(&self, checkpoint: Option<&Checkpoint>) -> Engine {
        let Some(checkpoint) = checkpoint else { return self.begins() };
        match Engine::resume(&self.settings, &checkpoint.engine) {
            Ok(engine) => {
                tracing::info!(bytes = checkpoint.engine.len(), "the anomaly worker goes on from a checkpoint");
                engine
            }
            Err(error) => {
                tracing::warn!("{error}; the anomaly worker learns anew");
                self.begins()
            }
        }
    }

    /// What happened since the checkpoint. The fold takes what happened since what stands was left, which may be longer ago.
    async fn missed_deeds(&self, bus: &AnyBus, ruler: &mut Ruler, fold: &mut Fold, stood: Position) -> Vec<Deed> {
        let known = ruler.heard;
        ruler.heard = known.min(stood);
        let mut missed = Vec::new();
        loop {
            match bus.deeds(ruler.heard, Duration::ZERO).await {
                Ok(part) => {
                    ruler.heard = part.upto;
                    if part.items.is_empty() {
                        return missed;
                    }
                    for (position, deed) in part.items {
                        // Again what it has is the same in the end.
                        fold.apply(&deed);
                        if position > known {
                            missed.push(deed);
                        }
                    }
                }
                Err(error) => {
                    self.line.failed(&error);
                    return missed;
                }
            }
        }
    }

    /// Notes what the last holder of the seat told, as it may have gone before it was noted. What was noted stays as it is.
    fn note_again(&self, missed: &[Deed]) {
        let Some((waiting, Noted::ByWhoComputes)) = &self.notes else { return };
        waiting.push(missed.iter().filter_map(|deed| match deed {
            Deed::Event(event) => Some(event.clone()),
            Deed::Feedback(_) => None,
        }));
    }

    /// Tells whoever keeps findings that what was done alone has ended.
    fn end_what_was_done_alone(&self, open: HashMap<u64, Done>) {
        let Some((waiting, _)) = &self.notes else { return };
        let now = self.line.now();
        let ended = |event| Event { at: now, kind: Kind::Release, requests: 0, reasons: Vec::new(), ..event };
        waiting.push(open.into_values().filter(|done| done.opened).map(|done| ended(done.last)));
    }
}

/// When an engine begins that knows nothing but a deed and what comes after it.
fn begin_of(deed: &Deed) -> Option<Micros> {
    match deed {
        Deed::Event(event) => Some(event.at - Micros::SECOND),
        Deed::Feedback(_) => None,
    }
}

/// What is damaged is as if it were not there: better to begin without than never.
fn readable<T>(read: Result<Option<T>, BusError>) -> Result<Option<T>, BusError> {
    match read {
        Err(error) if !matches!(error, BusError::Away(_)) => {
            tracing::warn!("{error}");
            Ok(None)
        }
        other => other,
    }
}
