//! What the anomaly worker finds and does, told as it happens: when attacks begin and end, whom it flags, limits and
//! releases, and why.

use std::collections::{HashMap, HashSet, VecDeque};
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
    /// What was told of whom with reasons.
    explained: Vec<(&'static str, &'static str)>,
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
        let acted: HashSet<u64> = events.iter().filter(|event| is_action(event)).map(|event| event.incident).collect();
        for event in events {
            let Some(new) = self.note(event, traffic) else { continue };
            // Who is limited at once needs not be told of twice.
            if event.kind == Kind::Flag && acted.contains(&event.incident) {
                continue;
            }
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
    fn note<'e>(&mut self, event: &'e Event, traffic: &Traffic) -> Option<Told<'e>> {
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
                return Some(Told {
                    event,
                    what: "released",
                    who: who(incident.attack, &event.subject),
                    attack: incident.attack,
                });
            }
        };
        let number = match self.incidents.get(&event.incident) {
            Some(incident) => incident.attack,
            None => {
                let number = traffic.attack_of(&event.subject);
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
        (!again).then(|| Told { event, what, who: who(number, &event.subject), attack: number })
    }

    fn chapter(&mut self, number: Option<u64>) -> Option<&mut Chapter> {
        let number = number?;
        self.chapters.iter_mut().rev().find(|chapter| chapter.number == number)
    }

    /// Whether the reasons were told of others of the same attack.
    fn is_explained(&mut self, told: &Told<'_>) -> bool {
        let about = (told.what, told.who);
        let Some(chapter) = self.chapter(told.attack) else { return false };
        let known = chapter.explained.contains(&about);
        if !known {
            chapter.explained.push(about);
        }
        known
    }

    fn tell(&mut self, told: &Told<'_>, more: u64) -> String {
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
        if event.kind != Kind::Release && !self.is_explained(told) {
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
    attack: Option<u64>,
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
            explained: Vec::new(),
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

const fn is_action(event: &Event) -> bool {
    matches!(event.kind, Kind::Tighten { .. } | Kind::Block { .. })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::simulate::{Options, START, Scenario, Simulation};

    const STRANGER: &str = "192.0.2.1";

    /// Traffic in the midst of a flood, the story so far, and the attacker's address.
    fn flood() -> (Traffic, Story, Subject) {
        let options = Options { rate: 20.0, duration: Micros::from_secs(3_600), ..Options::default() };
        let calm = Simulation::new(&options).unwrap();
        let mut traffic = Traffic::new(calm, vec![Scenario::SingleSourceFlood], options, START);
        let visits = traffic.due(START + Micros::from_secs(4)).unwrap();
        let attacker = visits.iter().find(|visit| visit.record.is_attack()).unwrap().record.address;
        let mut story = Story::new(START);
        assert_eq!(
            story.look(START + Micros::from_secs(4), &traffic),
            ["  3.0 s  attack      begins: single_source_flood, one address, three times all calm traffic"]
        );
        (traffic, story, Subject::Address(crate::core::client::network(attacker)))
    }

    fn event(second: u64, incident: u64, subject: &Subject, kind: Kind) -> Event {
        Event {
            at: START + Micros::from_secs(second),
            incident,
            domain: "edge".to_owned(),
            subject: subject.clone(),
            kind,
            score: 0.8,
            requests: 10,
            reasons: vec![Reason { feature: "rate_10s".into(), usual: 0.2, present: 60.0, text: "many".to_owned() }],
        }
    }

    fn tighten(until: u64) -> Kind {
        let effect = Effect::Factor { factor: 0.25, floor: 1 };
        Kind::Tighten { effect, expires: START + Micros::from_secs(until), shadow: false }
    }

    #[test]
    fn an_attacker_is_followed_from_flag_to_release() {
        let (traffic, mut story, attacker) = flood();
        let told = |story: &mut Story, event: Event| story.hear(&[event], &traffic);
        let flagged = told(&mut story, event(5, 1, &attacker, Kind::Flag));
        assert_eq!(flagged, [format!("  5.0 s  flagged     {attacker} (attacker), score 0.80: many")]);
        let limited = told(&mut story, event(6, 1, &attacker, tighten(26)));
        assert_eq!(limited, [format!("  6.0 s  limited     {attacker} (attacker), limits x 0.25, score 0.80: many")]);
        assert_eq!(told(&mut story, event(16, 1, &attacker, tighten(36))), [""; 0], "renewed");
        let sentence = story.attacks().next().unwrap();
        assert!(sentence.contains("flagged after 2.0 s, limited after 3.0 s; "), "{sentence}");
        assert!(sentence.ends_with("; 1 still limited or flagged"), "{sentence}");
        let released = told(&mut story, event(30, 1, &attacker, Kind::Release));
        assert_eq!(released, [format!(" 30.0 s  released    {attacker} (attacker)")]);
        let sentence = story.attacks().next().unwrap();
        assert!(sentence.ends_with("; all released 7.0 s after its end"), "{sentence}");
    }

    #[test]
    fn somebody_legitimate_is_told_of_as_such() {
        let (traffic, mut story, _) = flood();
        let stranger = Subject::Address(STRANGER.parse().unwrap());
        let new = story.hear(&[event(5, 9, &stranger, Kind::Flag)], &traffic);
        assert!(new[0].contains("192.0.2.1 (legitimate)"), "{new:?}");
        let figures = Figures { passed: 7, by_rules: 0, by_worker: 1 };
        assert_eq!(
            story.legitimate(figures),
            "Legitimate: 8 requests, 1 limited by the anomaly worker, 0 by the rules; 1 flagged"
        );
        assert!(story.attacks().next().unwrap().contains(", not found; "));
    }

    #[test]
    fn many_at_once_are_one_line() {
        let (traffic, mut story, attacker) = flood();
        let events: Vec<_> = (1..=50)
            .flat_map(|incident| {
                let block = Kind::Block { expires: START + Micros::from_secs(60), shadow: false };
                [event(5, incident, &attacker, Kind::Flag), event(5, incident, &attacker, block)]
            })
            .collect();
        let new = story.hear(&events, &traffic);
        assert_eq!(new, [format!("  5.0 s  blocked     {attacker} (attacker) and 49 more, score 0.80: many")]);
        assert!((0..100).all(|_| {
            story.remember(&new);
            story.lines.len() <= LINES
        }));
    }
}
