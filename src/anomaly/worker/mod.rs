//! The anomaly worker at work: what stands around the engine, and does the waiting and sending for it.
//!
//! Four tasks beside all requests, and none that a decision waits for:
//!
//! - [`send`] empties the buffers of observations and sends them to the bus, in every replica that decides;
//! - [`seat`] asks for the seat, in every replica that may compute;
//! - [`compute`] runs the engine where the seat is, and tells what it finds;
//! - [`apply`] puts in force what was told, in every replica that decides.
//!
//! Findings go to where they are kept over a queue of their own ([`note`]).
//!
//! **When the bus is away.** What is in force stays until it ends by itself. After a second, every replica that may
//! compute does so for itself, over a bus of its own ([`line`]): the one that had the seat with its engine, the others
//! from the last checkpoint that they have read. When the bus is back, who gets the seat goes on with the engine that it
//! has, and tells what it did meanwhile, unless somebody has left a newer checkpoint; what the others did ends.
//!
//! Nothing is believed twice: who has lost the seat cannot tell deeds any more, whatever it thinks ([`Bus::tell`]).
//!
//! [`Bus::tell`]: crate::anomaly::bus::Bus::tell

pub mod apply;
pub mod beat;
pub mod compute;
pub mod draft;
pub mod fold;
pub mod line;
pub mod note;
mod ruler;
pub mod seat;
pub mod send;
pub mod status;

use crate::anomaly::geo::Geo;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::apply::PutInForce;
use self::compute::Computing;
use self::fold::Fold;
use self::line::{Line, Place};
use self::note::{Note, Noted, Waiting};
use self::status::{State, Status};
use super::bus::choice::AnyBus;
use super::bus::{Bus as _, BusError, Deed, Part, Position};
use super::event::Feedback;
use super::findings::Tell;
use super::observe::Reader;
use crate::config::anomaly::Anomaly;
use crate::core::clock::{Clock, Micros};

/// What a worker works with.
pub struct Parts {
    /// The section `anomaly`.
    pub settings: Arc<Anomaly>,
    /// What it shares with others.
    pub bus: AnyBus,
    /// Where findings are kept, and by whom.
    pub findings: Option<(Arc<dyn Note>, Noted)>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

/// What a process that decides gives and takes; one that only computes does neither.
pub struct Deciding {
    /// What decisions leave.
    pub observations: Reader,
    /// Where addresses are, as far as databases tell.
    pub geo: Arc<Geo>,
    /// Puts adjustments in force.
    pub put: PutInForce,
}

/// A worker, as others see it. When it goes, the worker stops where it is; see [`Handle::stop`].
pub struct Handle {
    line: Line,
    settings: Arc<Anomaly>,
    notes: Option<(Arc<Waiting>, Arc<dyn Note>, Noted)>,
    end: watch::Sender<bool>,
    tasks: Mutex<Tasks>,
}

/// What runs.
#[derive(Debug, Default)]
struct Tasks {
    /// Ends by itself when it is to.
    ending: Vec<JoinHandle<()>>,
    /// Keeps the seat until the others have ended.
    seat: Option<JoinHandle<()>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("status", &self.line.status).finish_non_exhaustive()
    }
}

impl Handle {
    /// A worker that does not work yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { settings, bus, findings, clock } = parts;
        let (end, ended) = watch::channel(false);
        let status = Arc::new(Status::default());
        status.became(status::Role::Follower, clock.wall());
        let line = Line {
            shared: Arc::new(bus),
            place: watch::Sender::new(Place::Follower),
            status: Arc::clone(&status),
            clock,
            end: ended,
        };
        let notes = findings.map(|(store, noted)| (Arc::new(Waiting::new(status)), store, noted));
        Self { line, settings, notes, end, tasks: Mutex::default() }
    }

    /// Starts it on a runtime where no request waits.
    pub fn start(&self, deciding: Option<Deciding>, background: &runtime::Handle) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((waiting, store, _)) = &self.notes {
            tasks.ending.push(background.spawn(note::run(Arc::clone(waiting), Arc::clone(store), self.line.clone())));
        }
        if let Some(Deciding { observations, geo, put }) = deciding {
            let rate = self.settings.max_bytes_per_second;
            tasks.ending.push(background.spawn(send::run(observations, geo, rate, self.line.clone())));
            let noting = self.notes.as_ref().filter(|(_, _, noted)| *noted == Noted::ByAll);
            let noting = noting.map(|(waiting, ..)| Arc::clone(waiting));
            let fold = Fold::new(self.settings.policy.max_actions);
            tasks.ending.push(background.spawn(apply::run(fold, put, noting, self.line.clone())));
        }
        if self.settings.compute {
            let notes = self.notes.as_ref().map(|(waiting, _, noted)| (Arc::clone(waiting), *noted));
            let computing = Computing::new(Arc::clone(&self.settings), notes, self.line.clone());
            tasks.seat = Some(background.spawn(seat::run(self.line.clone())));
            tasks.ending.push(background.spawn(computing.run()));
        }
    }

    /// Stops it: leaves a checkpoint, gives up the seat, and waits until that is done, which takes some seconds at most.
    pub async fn stop(&self) {
        self.end.send_replace(true);
        let Tasks { ending, seat } = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in ending {
            let _ = task.await;
        }
        if let Some(seat) = seat {
            // Only now, since what the next one needs is taken from the seat's holder only.
            seat.abort();
            let _ = seat.await;
            let _ = self.line.shared.resign().await;
        }
    }

    /// Tells all replicas what a person said. While the shared bus is away it is heard here only, and that is an error.
    ///
    /// # Errors
    /// [`BusError`], when the others did not hear of it.
    pub async fn feedback(&self, feedback: Feedback) -> Result<(), BusError> {
        let own = self.line.bus();
        if !Arc::ptr_eq(&own, &self.line.shared) {
            own.tell(vec![Deed::Feedback(feedback.clone())]).await?;
        }
        self.line.shared.tell(vec![Deed::Feedback(feedback)]).await.map(drop)
    }

    /// What was found, done and said behind a position, for those who show it. Does not wait.
    ///
    /// # Errors
    /// [`BusError`], when the bus does not answer.
    pub async fn deeds(&self, since: Position) -> Result<Part<Deed>, BusError> {
        self.line.bus().deeds(since, Duration::ZERO).await
    }

    /// The figures.
    #[must_use]
    pub const fn status(&self) -> &Arc<Status> {
        &self.line.status
    }

    /// How it stands, for people.
    #[must_use]
    pub fn standing(&self) -> State {
        let status = &self.line.status;
        let checkpoint = status.checkpoint_at.get();
        State {
            role: status.role(),
            since: status.since(),
            bus_away_since: status.away_since(),
            shadow: self.settings.shadow,
            clients: status.clients.get(),
            incidents: status.incidents.get(),
            checkpoint: (checkpoint > 0).then_some(Micros(checkpoint)),
            findings_away: status.findings_away.load(Ordering::Relaxed),
            blind_to: status.blind_to().collect(),
        }
    }
}

impl Tell for Handle {
    fn tell(&self, feedback: Feedback) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(self.feedback(feedback))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.ending.iter().chain(&tasks.seat).for_each(JoinHandle::abort);
    }
}
