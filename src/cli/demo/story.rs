//! What the anomaly worker finds and does, told as it happens: when attacks begin and end, whom it flags, limits and
//! releases, and why.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use super::fate::Figures;
use super::traffic::{Attack, Traffic};
use crate::anomaly::event::{Event, Kind, Reason};
use crate::cli::descriptor::plain;
use crate::core::adjustment::Effect;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

// Writing to a String cannot fail, so its results are dropped below.

/// Lines and attacks that are remembered.
const LINES: usize = 8;
const ATTACKS: usize = 10;
/// The most reasons of a line, and characters of a reason.
const REASONS: usize = 3;
const REASON: usize = 90;

/// The whole story, so far.
#[derive(Debug)]
pub struct Story {
    start: Micros,
    incidents: HashMap<u64, Incident>,
    /// The latest attacks.
    chapters: VecDeque<Chapter>,
    /// The latest lines.
    pub lines: VecDeque<String>,
    /// Incidents of those who mean no harm.
    wronged: u64,
}

/// What is known of an open incident.
#[derive(Debug)]
struct Incident {
    /// The attack that it belongs to.
    attack: Option<u64>,
    rung: Rung,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rung {
    Flagged,
    Limited,
    Blocked,
}

/// One attack, as far as it was told.
#[derive(Debug)]
struct Chapter {
    number: u64,
    name: &'static str,
    summary: &'static str,
    begins: Micros,
    ends: Micros,
    has_ended: bool,
    flagged: Option<Micros>,
    limited: Option<Micros>,
    blocked: Option<Micros>,
    /// The last release, and how many incidents are open.
    released: Option<Micros>,
    open: u64,
    figures: Figures,
}

impl Story {
    /// One that begins at `start`: wall time.
    pub fn new(start: Micros) -> Self {
        Self { start, incidents: HashMap::new(), chapters: VecDeque::new(), lines: VecDeque::new(), wronged: 0 }
    }

    /// Looks at the traffic. Returns new lines.
    pub fn look(&mut self, now: Micros, traffic: &Traffic) -> Vec<String> {
        let mut new = Vec::new();
        let Some(attack) = traffic.attack() else { return new };
        if self.chapters.back().is_none_or(|chapter| chapter.number != attack.number) {
            let chapter = Chapter::of(attack);
            new.push(self.line(attack.begins, "attack", &format!("begins: {}, {}", chapter.name, chapter.summary)));
            self.chapters.push_back(chapter);
            if self.chapters.len() > ATTACKS {
                self.chapters.pop_front();
            }
        }
        let ended = self.chapters.back_mut().filter(|chapter| chapter.number == attack.number).is_some_and(|chapter| {
            chapter.figures = attack.fate.figures();
            now >= attack.ends && !std::mem::replace(&mut chapter.has_ended, true)
        });
        if ended {
            new.push(self.line(attack.ends, "attack", "ends"));
        }
        self.remember(&new);
        new
    }

    /// Hears what the worker tells. Returns new lines; of several about the same, one.
    pub fn hear(&mut self, events: &[Event], traffic: &Traffic) -> Vec<String> {
        let mut told: Vec<(Told<'_>, u64)> = Vec::new();
        for event in events {
            let Some(new) = self.note(event, traffic.attack()) else { continue };
            match told.iter_mut().find(|(known, _)| (known.what, known.who) == (new.what, new.who)) {
                Some((_, more)) => *more += 1,
                None => told.push((new, 0)),
            }
        }
        let new: Vec<String> = told.iter().map(|(told, more)| self.tell(told, *more)).collect();
        self.remember(&new);
        new
    }

    /// What an event means; `None` when that was told.
    fn note<'e>(&mut self, event: &'e Event, attack: Option<&Attack>) -> Option<Told<'e>> {
        let known = self.incidents.get(&event.incident).map(|incident| incident.rung);
        let (rung, what) = match event.kind {
            Kind::Flag => (Rung::Flagged, "flagged"),
            Kind::Tighten { .. } => (Rung::Limited, "limited"),
            Kind::Block { .. } => (Rung::Blocked, "blocked"),
            Kind::Held => (known.unwrap_or(Rung::Flagged), "not limited"),
            Kind::Release => {
                let incident = self.incidents.remove(&event.incident)?;
                if let Some(chapter) = self.chapter(incident.attack) {
                    chapter.open = chapter.open.saturating_sub(1);
                    chapter.released = Some(event.at);
                }
                return Some(Told { event, what: "released", who: who(incident.attack, &event.subject) });
            }
        };
        let number = match self.incidents.get(&event.incident) {
            Some(incident) => incident.attack,
            None => {
                let number = attack.filter(|attack| belongs(&event.subject, attack)).map(|attack| attack.number);
                match self.chapter(number) {
                    Some(chapter) => chapter.open += 1,
                    None => self.wronged += 1,
                }
                number
            }
        };
        self.incidents.insert(event.incident, Incident { attack: number, rung });
        if let Some(chapter) = self.chapter(number) {
            chapter.flagged.get_or_insert(event.at);
            if rung >= Rung::Limited {
                chapter.limited.get_or_insert(event.at);
            }
            if rung == Rung::Blocked {
                chapter.blocked.get_or_insert(event.at);
            }
        }
        // What is renewed was told.
        let again = known.is_some_and(|known| known >= rung) && event.kind != Kind::Held;
        (!again).then(|| Told { event, what, who: who(number, &event.subject) })
    }

    fn chapter(&mut self, number: Option<u64>) -> Option<&mut Chapter> {
        let number = number?;
        self.chapters.iter_mut().rev().find(|chapter| chapter.number == number)
    }

    fn tell(&self, told: &Told<'_>, more: u64) -> String {
        let event = told.event;
        let mut text = format!("{}{}", short(&plain(&event.subject.to_string())), told.who);
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
        match event.kind {
            Kind::Tighten { effect: Effect::Factor { factor, .. }, .. } => {
                let _ = write!(text, ", limits x {factor}");
            }
            Kind::Tighten { effect: Effect::Limit { rate, .. }, .. } => {
                let _ = write!(text, ", at most {rate:.1} requests a second");
            }
            _ => {}
        }
        if event.kind != Kind::Release {
            let _ = write!(text, ", score {:.2}: {}", event.score, reasons(&event.reasons));
        }
        self.line(event.at, told.what, &text)
    }

    fn line(&self, at: Micros, what: &str, text: &str) -> String {
        format!("{:>5.1} s  {what:<11} {text}", seconds(at - self.start))
    }

    fn remember(&mut self, new: &[String]) {
        self.lines.extend(new.iter().cloned());
        let beyond = self.lines.len().saturating_sub(LINES);
        self.lines.drain(..beyond);
    }

    /// What became of each of the latest attacks, in a sentence.
    pub fn attacks(&self) -> impl Iterator<Item = String> {
        self.chapters.iter().map(Chapter::describe)
    }

    /// What became of those who mean no harm, in a sentence.
    pub fn legitimate(&self, figures: Figures) -> String {
        let Figures { by_rules, by_worker, .. } = figures;
        let mut text = format!(
            "Legitimate: {} requests, {by_worker} limited by the anomaly worker, {by_rules} by the rules",
            figures.all()
        );
        if self.wronged > 0 {
            let _ = write!(text, "; {} flagged", self.wronged);
        }
        text
    }
}

/// An event that is news.
#[derive(Debug)]
struct Told<'e> {
    event: &'e Event,
    what: &'static str,
    who: &'static str,
}

impl Chapter {
    fn of(attack: &Attack) -> Self {
        Self {
            number: attack.number,
            name: attack.scenario.name(),
            summary: attack.scenario.summary(),
            begins: attack.begins,
            ends: attack.ends,
            has_ended: false,
            flagged: None,
            limited: None,
            blocked: None,
            released: None,
            open: 0,
            figures: Figures::default(),
        }
    }

    fn describe(&self) -> String {
        let mut text = format!("Attack {}: {}", self.number, self.name);
        for (what, at) in [("flagged", self.flagged), ("limited", self.limited), ("blocked", self.blocked)] {
            let _ = match at {
                Some(at) => write!(text, ", {what} after {:.1} s", seconds(at - self.begins)),
                None => Ok(()),
            };
        }
        if self.flagged.is_none() {
            text.push_str(", not found");
        }
        let _ = write!(text, "; {} % of {} requests stopped", self.figures.stopped_percent(), self.figures.all());
        if let Some(released) = self.released.filter(|released| self.open == 0 && *released >= self.ends) {
            let _ = write!(text, "; all released {:.1} s after its end", seconds(released - self.ends));
        } else if self.open > 0 {
            let _ = write!(text, "; {} still limited or flagged", self.open);
        }
        text
    }
}

/// Whether it is about an attack's sources. Groups are made of what an attack has in common.
fn belongs(subject: &Subject, attack: &Attack) -> bool {
    match subject {
        Subject::Address(address) => attack.is_source(*address),
        Subject::Group(_) => true,
        Subject::User(_) => false,
    }
}

/// Whom a line is about, as only a simulation knows.
const fn who(attack: Option<u64>, subject: &Subject) -> &'static str {
    match (attack, subject) {
        (_, Subject::Group(_)) => "",
        (Some(_), _) => " (attacker)",
        (None, _) => " (legitimate)",
    }
}

fn reasons(reasons: &[Reason]) -> String {
    let texts: Vec<_> = reasons.iter().take(REASONS).map(|reason| short(&plain(&reason.text))).collect();
    texts.join("; ")
}

fn short(text: &str) -> String {
    match text.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn seconds(length: Micros) -> f64 {
    length.as_duration().as_secs_f64()
}
