//! The wheel: line by line, interval by interval.

use hashbrown::HashMap;

use super::enforcement::Enforcement;
use super::log::{Ahead, Entry, LogError, Lost, Reader};
use super::report::Report;
use super::subjects::BySubject;
use super::timeline::Timeline;
use crate::anomaly::engine::Engine;
use crate::anomaly::event::{Event, Kind};
use crate::anomaly::observation::Observation;
use crate::core::adjustment::set::AdjustmentSet;
use crate::core::adjustment::{Adjustment, Effect};
use crate::core::client::{MAX_USER, MAX_USER_AGENT, short_name, short_path};
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// Silence in a log that is longer than this is cut short.
const QUIET: Micros = Micros::from_secs(3600);
/// Lines between two calls of the progress function.
const STEP: u64 = 8_192;
/// The most events kept; later ones have their effect, but are only counted.
pub const MAX_EVENTS: usize = 100_000;
/// Requests are told apart by so many labels; those of further ones belong to `other`.
const MAX_LABELS: usize = 1_000;
/// The most flagged subjects that requests are compared with.
const MAX_FLAGGED: usize = 100_000;

/// What finds anomalies: the [`Engine`].
pub trait Worker {
    /// How often [`Worker::tick`] wants to be called.
    fn interval(&self) -> Micros;
    /// One request.
    fn observe(&mut self, observation: &Observation<'_>);
    /// The end of an interval.
    fn tick(&mut self, now: Micros) -> Vec<Event>;
}

impl Worker for Engine {
    fn interval(&self) -> Micros {
        Engine::interval(self)
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        Engine::observe(self, observation);
    }

    fn tick(&mut self, now: Micros) -> Vec<Event> {
        let events = Engine::tick(self, now);
        // Nobody waits, and the same log has the same outcome.
        self.train_in_place();
        events
    }
}

/// What happened in a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// For programs.
    pub report: Report,
    /// Requests over time.
    pub timeline: Timeline,
    /// Everything the worker said; at most [`MAX_EVENTS`].
    pub events: Vec<Event>,
    /// Events beyond that.
    pub events_left_out: u64,
    /// What of the log could not be used.
    pub lost: Lost,
    /// Why the log could not be read to its end, when it could not.
    pub broken: Option<LogError>,
}

/// Replays a log, which is read on a thread of its own. `progress` is called now and then.
///
/// # Errors
/// When nothing of the log can be read. Where it breaks off later, what comes before is replayed.
pub fn run(
    reader: Reader,
    worker: &mut impl Worker,
    enforcement: &mut Enforcement,
    mut progress: impl FnMut(&Ahead),
) -> Result<Replayed, LogError> {
    let mut log = Ahead::new(reader)?;
    let domain = enforcement.domain().to_owned();
    let mut wheel =
        Wheel { worker, enforcement, tick: None, actions: Actions::default(), flagged: BySubject::default() };
    let mut replayed = Replayed::default();
    let mut entries: u64 = 0;
    let mut first = None;
    let mut last = Micros::ZERO;
    loop {
        let entry = match log.read() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) if first.is_none() => return Err(error),
            Err(error) => {
                replayed.broken = Some(error);
                break;
            }
        };
        first.get_or_insert(entry.at);
        last = entry.at;
        wheel.turn_to(entry.at, &mut replayed);
        wheel.serve(&entry, &domain, &mut replayed);
        log.recycle(entry);
        entries += 1;
        if entries.is_multiple_of(STEP) {
            progress(&log);
        }
    }
    // The last interval ends after the last line.
    wheel.turn_to(last + wheel.worker.interval(), &mut replayed);
    progress(&log);
    replayed.report.lines = log.lines();
    replayed.lost = log.lost();
    replayed.report.span_s = (last - first.unwrap_or(last)).0 as f64 / 1e6;
    Ok(replayed)
}

struct Wheel<'a, W> {
    worker: &'a mut W,
    enforcement: &'a mut Enforcement,
    /// The end of the present interval.
    tick: Option<Micros>,
    actions: Actions,
    /// When each subject was first flagged, and when an action was first taken.
    flagged: BySubject<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    flag: Option<Micros>,
    action: Option<Micros>,
}

impl<W: Worker> Wheel<'_, W> {
    /// Ends every interval up to `now`.
    fn turn_to(&mut self, now: Micros, replayed: &mut Replayed) {
        let interval = self.worker.interval().0.max(1);
        let ended = Micros(now.0 / interval * interval);
        let mut tick = self.tick.unwrap_or(ended + Micros(interval));
        let quiet_since = tick;
        while tick <= now {
            for event in self.worker.tick(tick) {
                self.happen(event, replayed);
            }
            if let Some(adjustments) = self.actions.changed(tick) {
                self.enforcement.adjust(adjustments);
            }
            tick = tick + Micros(interval);
            if tick - quiet_since > QUIET {
                tick = tick.max(ended);
            }
        }
        self.tick = Some(tick);
    }

    fn happen(&mut self, event: Event, replayed: &mut Replayed) {
        self.actions.take(&event);
        if self.flagged.len() < MAX_FLAGGED {
            let noted = self.flagged.entry(&event.subject, Noted::default);
            match event.kind {
                Kind::Flag => noted.flag = noted.flag.or(Some(event.at)),
                Kind::Tighten { shadow: false, .. } | Kind::Block { shadow: false, .. } => {
                    noted.action = noted.action.or(Some(event.at));
                }
                _ => {}
            }
        }
        if replayed.events.len() < MAX_EVENTS {
            replayed.report.add(&event);
            replayed.events.push(event);
        } else {
            replayed.events_left_out += 1;
        }
    }

    fn serve(&mut self, entry: &Entry, domain: &str, replayed: &mut Replayed) {
        let outcome = self.enforcement.decide(entry);
        // The engine knows clients by their short forms, as those who leave observations of a server do.
        let user = entry.user().map(|user| short_name(user, MAX_USER));
        let user_agent = entry.user_agent().map(|agent| short_name(agent, MAX_USER_AGENT));
        let whole = entry.observation(domain, outcome);
        self.worker.observe(&Observation {
            user: user.as_deref(),
            path: short_path(whole.path),
            user_agent: user_agent.as_deref(),
            ..whole
        });
        replayed.timeline.add(entry.at, entry.label(), outcome);
        let Some(label) = entry.label() else { return };
        let labels = &mut replayed.report.labels;
        let label = if labels.len() < MAX_LABELS || labels.contains_key(label) { label } else { "other" };
        if !labels.contains_key(label) {
            labels.insert(label.to_owned(), Default::default());
        }
        let Some(figures) = labels.get_mut(label) else { return };
        figures.count(entry.at, outcome);
        if self.flagged.len() > 0 {
            self.flagged.of(entry, |noted| figures.note(noted.flag, noted.action));
        }
    }
}

/// The adjustments that events have made.
#[derive(Debug, Default)]
struct Actions {
    in_force: HashMap<Subject, Adjustment>,
    dirty: bool,
}

impl Actions {
    fn take(&mut self, event: &Event) {
        let (effect, expires, shadow) = match event.kind {
            Kind::Tighten { effect, expires, shadow } => (effect, expires, shadow),
            Kind::Block { expires, shadow } => (Effect::Block, expires, shadow),
            Kind::Release => {
                self.dirty |= self.in_force.remove(&event.subject).is_some();
                return;
            }
            Kind::Flag | Kind::Held => return,
        };
        self.dirty = true;
        let adjustment = Adjustment {
            id: event.incident.to_string().into(),
            subject: event.subject.clone(),
            domain: Some(event.domain.as_str().into()),
            effect,
            expires,
            shadow,
        };
        self.in_force.insert(event.subject.clone(), adjustment);
    }

    /// All that are in force, if they are others than before.
    fn changed(&mut self, now: Micros) -> Option<AdjustmentSet> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        // Those that have ended need no room.
        self.in_force.retain(|_, adjustment| adjustment.expires > now);
        Some(AdjustmentSet::new(self.in_force.values().cloned()))
    }
}
