//! One finding, and what events and people make of it. Pure: both stores run this.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Review, time};
use crate::anomaly::event::{Event, Kind, Reason, Verdict};
use crate::core::adjustment::Effect;
use crate::core::client::short_name;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// The most steps that a history has: the first, and the latest.
pub const MAX_HISTORY: usize = 50;
/// The most reasons of a step, the strongest first.
const MAX_REASONS: usize = 8;
/// The longest text of a reason, and the longest name of a domain, in bytes.
const MAX_TEXT: usize = 500;
/// The feature under which the engine tells why it held an action back.
const HELD: &str = "held";

/// A client, or a group of them, that behaved unusually.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The incident's number.
    pub id: u64,
    /// Its domain.
    pub domain: String,
    /// Whom it is about.
    pub subject: Subject,
    /// Requests in the intervals that it was scored on, all together.
    pub requests: u64,
    /// The highest score so far, 0 to 1.
    pub score: f64,
    /// When it was flagged: wall time, as all times here.
    pub flagged: Micros,
    /// When the anomaly was seen first.
    pub first_seen: Micros,
    /// When it was seen last.
    pub last_seen: Micros,
    /// When it ended.
    pub ended: Option<Micros>,
    /// What was done about it last.
    pub action: Action,
    /// How limits were changed.
    pub effect: Option<Effect>,
    /// Until when that holds, if nothing renews it.
    pub expires: Option<Micros>,
    /// Only told, not enforced.
    pub shadow: bool,
    /// Why no further action was taken, if one was held back since the last.
    pub held: Option<String>,
    /// Why; the latest, the strongest first.
    pub reasons: Vec<Reason>,
    /// What a person said of it.
    pub review: Option<Review>,
    /// What happened, from the first to the last; of more than [`MAX_HISTORY`] steps, the first and the latest.
    pub history: Vec<Step>,
}

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing.
    None,
    /// It was told.
    Flag,
    /// Its limits were lowered, or it got one of its own.
    Tighten,
    /// Nothing of it passed.
    Block,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It lasts.
    Open,
    /// It is over.
    Ended,
    /// A person said that it was an attack.
    Confirmed,
    /// A person said that it was none.
    Dismissed,
}

/// A step of an incident's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    #[serde(with = "time")]
    pub at: Micros,
    /// What.
    pub what: What,
    /// The score at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Requests in the interval that it was scored on.
    #[serde(default)]
    pub requests: u64,
    /// How limits were changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Until when that was to hold.
    #[serde(default, with = "time::option", skip_serializing_if = "Option::is_none")]
    pub expires: Option<Micros>,
    /// Only told, not enforced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, as that person put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What happened in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It was flagged.
    Flag,
    /// Its limits were lowered, or that was renewed.
    Tighten,
    /// It was blocked, or that was renewed.
    Block,
    /// An action was held back.
    Held,
    /// It ended.
    Release,
    /// A person said that it was an attack.
    Confirmed,
    /// A person said that it was none.
    Dismissed,
}

impl What {
    const fn is_review(self) -> bool {
        matches!(self, Self::Confirmed | Self::Dismissed)
    }
}

impl From<Verdict> for What {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Confirmed => Self::Confirmed,
            Verdict::Dismissed => Self::Dismissed,
        }
    }
}

impl Finding {
    /// What an event begins.
    #[must_use]
    pub fn opened(event: &Event) -> Self {
        let mut finding = Self {
            id: event.incident,
            domain: short_name(&plain(&event.domain), MAX_TEXT).into_owned(),
            subject: plain_subject(&event.subject),
            requests: 0,
            score: 0.0,
            flagged: event.at,
            first_seen: event.at,
            last_seen: event.at,
            ended: None,
            action: Action::None,
            effect: None,
            expires: None,
            shadow: false,
            held: None,
            reasons: Vec::new(),
            review: None,
            history: Vec::new(),
        };
        finding.apply(event);
        finding
    }

    /// Adds what happened; `false` when it was known, or is older than what is known, and changed nothing.
    pub fn apply(&mut self, event: &Event) -> bool {
        let step = Step::of(event);
        if self.knows(&step) {
            return false;
        }
        self.requests = self.requests.saturating_add(event.requests);
        self.score = self.score.max(step.score.unwrap_or_default());
        let (held, reasons): (Vec<_>, Vec<_>) = step.reasons.iter().cloned().partition(|reason| reason.feature == HELD);
        if !reasons.is_empty() {
            self.reasons = reasons;
        }
        match event.kind {
            Kind::Flag if self.action == Action::None => self.action = Action::Flag,
            Kind::Flag => {}
            Kind::Tighten { .. } | Kind::Block { .. } => {
                self.action = if step.what == What::Block { Action::Block } else { Action::Tighten };
                (self.effect, self.expires, self.shadow) = (step.effect, step.expires, step.shadow);
                self.held = None;
            }
            Kind::Held => self.held = held.into_iter().next().map(|reason| reason.text),
            Kind::Release => {}
        }
        if step.what == What::Release {
            self.ended = Some(event.at);
            self.expires = self.expires.map(|expires| expires.min(event.at));
        } else {
            self.ended = None;
            self.last_seen = self.last_seen.max(event.at);
        }
        self.remember(step);
        true
    }

    /// Records what a person says; `false` when that person, or another, said the same before.
    pub fn review(&mut self, review: &Review) -> bool {
        let same =
            |known: &Review| known.verdict == review.verdict && (review.note.is_none() || known.note == review.note);
        if self.review.as_ref().is_some_and(same) {
            return false;
        }
        let step = Step {
            at: review.at,
            what: review.verdict.into(),
            score: None,
            requests: 0,
            effect: None,
            expires: None,
            shadow: false,
            reasons: Vec::new(),
            by: Some(review.by.clone()),
            note: review.note.clone(),
        };
        self.remember(step);
        self.review = Some(review.clone());
        true
    }

    /// Where it stands. What a person said goes before whether it has ended.
    #[must_use]
    pub fn state(&self) -> State {
        match (&self.review, self.ended) {
            (Some(Review { verdict: Verdict::Confirmed, .. }), _) => State::Confirmed,
            (Some(Review { verdict: Verdict::Dismissed, .. }), _) => State::Dismissed,
            (None, Some(_)) => State::Ended,
            (None, None) => State::Open,
        }
    }

    /// Whether a step was noted before, or comes too late. Figures do not count: they may be rounded where they are kept.
    fn knows(&self, step: &Step) -> bool {
        let last = self.history.iter().rev().find(|known| !known.what.is_review());
        let same = |known: &Step| {
            let of = |step: &Step| (step.at, step.what, step.expires, step.requests);
            of(known) == of(step)
        };
        last.is_some_and(|last| step.at < last.at) || self.history.iter().any(same)
    }

    fn remember(&mut self, step: Step) {
        self.history.push(step);
        if self.history.len() > MAX_HISTORY {
            self.history.remove(1);
        }
    }
}

impl Step {
    fn of(event: &Event) -> Self {
        let (what, effect, expires, shadow) = match event.kind {
            Kind::Flag => (What::Flag, None, None, false),
            Kind::Tighten { effect, expires, shadow } => (What::Tighten, Some(effect), Some(expires), shadow),
            Kind::Block { expires, shadow } => (What::Block, Some(Effect::Block), Some(expires), shadow),
            Kind::Held => (What::Held, None, None, false),
            Kind::Release => (What::Release, None, None, false),
        };
        let reasons = event.reasons.iter().take(MAX_REASONS).map(|reason| Reason {
            feature: Cow::Owned(plain(&reason.feature)),
            usual: finite(reason.usual),
            present: finite(reason.present),
            text: short_name(&plain(&reason.text), MAX_TEXT).into_owned(),
        });
        Self {
            at: event.at,
            what,
            score: Some(finite(event.score).clamp(0.0, 1.0)),
            requests: event.requests,
            effect: effect.map(finite_effect),
            expires,
            shadow,
            reasons: reasons.collect(),
            by: None,
            note: None,
        }
    }
}

/// What events make of the findings that are known; tells which ones changed.
pub fn fold(known: &mut BTreeMap<u64, Finding>, events: &[Event]) -> BTreeSet<u64> {
    let mut changed = BTreeSet::new();
    for event in events {
        let news = match known.entry(event.incident) {
            Entry::Occupied(mut finding) => finding.get_mut().apply(event),
            Entry::Vacant(place) => {
                place.insert(Finding::opened(event));
                true
            }
        };
        if news {
            changed.insert(event.incident);
        }
    }
    changed
}

/// JSON has no other numbers.
const fn finite(figure: f64) -> f64 {
    if figure.is_nan() { 0.0 } else { figure.clamp(f64::MIN, f64::MAX) }
}

fn finite_effect(effect: Effect) -> Effect {
    match effect {
        Effect::Factor { factor, floor } => Effect::Factor { factor: finite(factor), floor },
        Effect::Limit { rate, burst } => Effect::Limit { rate: finite(rate), burst },
        Effect::Block => Effect::Block,
    }
}

/// Postgres has no texts with a NUL character.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn plain_subject(subject: &Subject) -> Subject {
    match subject {
        Subject::User(name) => Subject::User(plain(name).into()),
        Subject::Address(address) => Subject::Address(*address),
        Subject::Group(attributes) => {
            Subject::Group(attributes.iter().map(|(attribute, value)| (*attribute, plain(value).into())).collect())
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
