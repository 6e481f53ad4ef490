//! An engine at work: what it sees, and what it still has to tell.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::beat::Beat;
use super::status::Status;
use crate::anomaly::bus::{Deed, Position};
use crate::anomaly::engine::Engine;
use crate::anomaly::engine::models::Trained;
use crate::anomaly::event::{Event, Feedback, Kind};
use crate::anomaly::observe::batch;
use crate::core::clock::Micros;

/// So many deeds wait to be told at most; the oldest give way.
const MOST_PENDING: usize = 200_000;

/// An engine, and where it is in the order of things.
#[derive(Debug)]
pub struct Ruler {
    engine: Option<Engine>,
    /// Models that are being trained, on a thread of their own.
    training: Option<JoinHandle<Trained>>,
    beat: Beat,
    /// Found or done, and not told yet.
    pub pending: Vec<Deed>,
    /// The last batch that it saw, of the bus that it works on.
    pub observed: Position,
    /// The last deed that it heard of there.
    pub heard: Position,
    /// While it reads what came before it began: observations from before are left out.
    pub since: Micros,
    /// What it did of each incident since it is alone.
    pub open: HashMap<u64, Done>,
}

/// What was done alone about an incident.
#[derive(Debug)]
pub struct Done {
    /// The last event.
    pub last: Event,
    /// It began alone, so that nobody else knows it.
    pub opened: bool,
}

/// What came of some batches.
#[derive(Debug, Default)]
pub struct Seen {
    /// The time of the newest observation.
    pub newest: Option<Micros>,
    /// Observations.
    pub count: u64,
    /// Batches that could not be read.
    pub damaged: u64,
}

impl Ruler {
    /// Puts an engine to work.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine: Some(engine),
            training: None,
            beat: Beat::default(),
            pending: Vec::new(),
            observed: Position::START,
            heard: Position::START,
            since: Micros::ZERO,
            open: HashMap::new(),
        }
    }

    /// The engine works on a thread where that disturbs no request.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Engine, &mut Beat) -> T + Send + 'static,
    ) -> Result<Option<T>, JoinError> {
        // Without one, a panic has taken it.
        let Some(mut engine) = self.engine.take() else { return Ok(None) };
        let mut beat = std::mem::take(&mut self.beat);
        let (engine, beat, made) = spawn_blocking(move || {
            let made = work(&mut engine, &mut beat);
            (engine, beat, made)
        })
        .await?;
        self.engine = Some(engine);
        self.beat = beat;
        Ok(Some(made))
    }

    /// Shows it batches, in their order.
    ///
    /// # Errors
    /// When the engine ended in a panic; it is gone then. So with all that follows.
    pub async fn observe(&mut self, batches: Vec<Bytes>) -> Result<Seen, JoinError> {
        let since = self.since;
        let made = self
            .work(move |engine, beat| {
                let (mut seen, mut events) = (Seen::default(), Vec::new());
                for bytes in &batches {
                    let Ok(observations) = batch::read(bytes) else {
                        seen.damaged += 1;
                        continue;
                    };
                    for observation in observations.into_iter().filter(|observation| observation.at >= since) {
                        while let Some(end) = beat.before(observation.at) {
                            events.extend(engine.tick(end));
                        }
                        engine.observe(&observation);
                        seen.newest = seen.newest.max(Some(observation.at));
                        seen.count += 1;
                    }
                }
                (seen, events)
            })
            .await?;
        let (seen, events) = made.unwrap_or_default();
        self.found(events);
        Ok(seen)
    }

    /// Ends the interval, when its time has come.
    ///
    /// # Errors
    /// As [`Ruler::observe`].
    pub async fn tick(&mut self, now: Micros, status: &Status) -> Result<(), JoinError> {
        self.since = Micros::ZERO;
        let Some(end) = self.beat.by(now) else { return Ok(()) };
        let made = self
            .work(move |engine, _| {
                let began = Instant::now();
                let events = engine.tick(end);
                (events, began.elapsed(), engine.clients(), engine.incidents())
            })
            .await?;
        if let Some((events, length, clients, incidents)) = made {
            status.ticks.add(1);
            status.tick.set(Micros::from(length).0);
            status.clients.set(clients as u64);
            status.incidents.set(incidents as u64);
            self.found(events);
        }
        self.train().await
    }

    /// Puts models in force that have been trained, and has others trained when it is time.
    async fn train(&mut self) -> Result<(), JoinError> {
        if let Some(training) = self.training.take_if(|training| training.is_finished()) {
            // A panic leaves the old models in force; the engine asks again when it has waited for long.
            match training.await {
                Ok(trained) => {
                    if let Some(error) = trained.error() {
                        tracing::warn!(%error, "models of calm traffic could not be trained");
                    }
                    self.work(move |engine, _| engine.trained(trained)).await?;
                }
                Err(error) => tracing::error!(%error, "training models failed"),
            }
        }
        if self.training.is_none()
            && let Some(job) = self.work(|engine, _| engine.training()).await?.flatten()
        {
            self.training = Some(spawn_blocking(move || job.run()));
        }
        Ok(())
    }

    /// How long it is until then.
    #[must_use]
    pub fn left(&self, now: Micros) -> Micros {
        self.beat.left(now)
    }

    /// Tells it what people said.
    ///
    /// # Errors
    /// As [`Ruler::observe`].
    pub async fn hear(&mut self, said: Vec<Feedback>) -> Result<(), JoinError> {
        let made = self.work(move |engine, _| said.iter().flat_map(|feedback| engine.hear(feedback)).collect()).await?;
        self.found(made.unwrap_or_default());
        Ok(())
    }

    /// Tells it what others did, or people said, before it began.
    ///
    /// # Errors
    /// As [`Ruler::observe`].
    pub async fn catch_up(&mut self, deeds: Vec<Deed>) -> Result<(), JoinError> {
        let made = self
            .work(move |engine, _| {
                let mut events = Vec::new();
                for deed in &deeds {
                    match deed {
                        Deed::Event(event) => engine.adopt(event),
                        Deed::Feedback(feedback) => events.extend(engine.hear(feedback)),
                    }
                }
                events
            })
            .await?;
        self.found(made.unwrap_or_default());
        Ok(())
    }

    /// What it knows.
    ///
    /// # Errors
    /// As [`Ruler::observe`].
    pub async fn checkpoint(&mut self) -> Result<Option<Bytes>, JoinError> {
        self.work(|engine, _| Bytes::from(engine.checkpoint())).await
    }

    fn found(&mut self, events: Vec<Event>) {
        self.pending.extend(events.into_iter().map(Deed::Event));
        let beyond = self.pending.len().saturating_sub(MOST_PENDING);
        self.pending.drain(..beyond);
    }

    /// Remembers what is open, for when it is no longer alone.
    pub fn remember(&mut self, event: &Event) {
        let opened = event.kind == Kind::Flag || self.open.get(&event.incident).is_some_and(|done| done.opened);
        if opened && event.kind == Kind::Release {
            self.open.remove(&event.incident);
        } else {
            self.open.insert(event.incident, Done { last: event.clone(), opened });
        }
    }
}
