//! A service that obeys the engine: rules of its own, and adjustments in force.

use std::collections::HashMap;

use tidegate::anomaly::engine::Engine;
use tidegate::anomaly::event::{Event, Kind};
use tidegate::anomaly::features::template::template;
use tidegate::anomaly::observation::{Observation, Outcome};
use tidegate::config::anomaly::Anomaly;
use tidegate::core::adjustment::Effect;
use tidegate::core::clock::Micros;
use tidegate::core::subject::{Attribute, Subject};

use crate::world::{Line, Shape, World};

/// Rules: so many requests a second of a user, and of an address, on average over ten seconds.
const USER: f64 = 10.0;
const ADDRESS: f64 = 50.0;
const EPOCH: f64 = 1_700_000_000.0;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub legit: u64,
    pub legit_limited: u64,
    pub legit_adjusted: u64,
    pub attack: u64,
    pub attack_stopped: u64,
    /// After the first minute of the attack.
    pub late: u64,
    pub late_stopped: u64,
    /// Seconds from the attack's beginning to the first flag and to the first action that touch it.
    pub flagged: Option<f64>,
    pub acted: Option<f64>,
    pub events: Vec<Event>,
    /// Attackers flagged, or groups in an attack.
    pub true_flags: usize,
    /// Legit clients flagged.
    pub false_flags: usize,
}

impl Outcomes {
    pub fn legit_share(&self) -> f64 {
        self.legit_limited as f64 / self.legit.max(1) as f64
    }
    pub fn adjusted_share(&self) -> f64 {
        self.legit_adjusted as f64 / self.legit.max(1) as f64
    }
    pub fn late_share(&self) -> f64 {
        self.late_stopped as f64 / self.late.max(1) as f64
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    level: f64,
    at: f64,
}

impl Bucket {
    fn take(&mut self, now: f64, rate: f64, burst: f64) -> bool {
        self.level = (self.level + (now - self.at).max(0.0) * rate).min(burst);
        self.at = now;
        let has = self.level >= 1.0;
        self.level -= f64::from(u8::from(has));
        has
    }
}

#[derive(Clone, Debug)]
struct InForce {
    effect: Effect,
    expires: u64,
    bucket: Bucket,
}

#[derive(Default)]
pub struct Service {
    in_force: HashMap<Subject, InForce>,
    groups: Vec<Subject>,
    rules: HashMap<Subject, Bucket>,
}

impl Service {
    fn apply(&mut self, event: &Event) {
        let (effect, expires) = match event.kind {
            Kind::Tighten { effect, expires, shadow: false } => (effect, expires),
            Kind::Block { expires, shadow: false } => (Effect::Block, expires),
            Kind::Release => {
                self.in_force.remove(&event.subject);
                return;
            }
            _ => return,
        };
        let full = Bucket { level: 1.0, at: event.at.0 as f64 / 1e6 - EPOCH };
        let bucket = self.in_force.get(&event.subject).map_or(full, |old| old.bucket.clone());
        self.in_force.insert(event.subject.clone(), InForce { effect, expires: expires.0, bucket });
        if matches!(event.subject, Subject::Group(_)) && !self.groups.contains(&event.subject) {
            self.groups.push(event.subject.clone());
        }
    }

    fn decide(&mut self, line: &Line, path: &str) -> Outcome {
        let at = micros(line.at).0;
        let mut factors = (1.0_f64, 1.0_f64);
        let mut stopped = false;
        let user = line.user.as_deref().map(|user| Subject::User(user.into()));
        let address = Subject::Address(line.address);
        let groups: Vec<&Subject> = self.groups.iter().filter(|group| in_group(group, line, path)).collect();
        let clients = user.iter().chain([&address]);
        for (index, subject) in clients.chain(groups).enumerate() {
            let Some(found) = self.in_force.get_mut(subject).filter(|found| found.expires > at) else { continue };
            match found.effect {
                Effect::Block => stopped = true,
                Effect::Limit { rate, burst } => stopped |= !found.bucket.take(line.at, rate, burst as f64),
                Effect::Factor { factor, .. } if index == 0 && user.is_some() => factors.0 = factor,
                Effect::Factor { factor, .. } => factors.1 = factor,
            }
        }
        if stopped {
            return Outcome::LimitedByAdjustment;
        }
        let mut outcome = Outcome::Allowed;
        let rules = [(user, USER, factors.0), (Some(address), ADDRESS, factors.1)];
        for (subject, rate, factor) in rules {
            let Some(subject) = subject else { continue };
            let full = Bucket { level: rate * 10.0, at: line.at };
            let bucket = self.rules.entry(subject).or_insert(full);
            if !bucket.take(line.at, rate * factor, rate * 10.0 * factor) {
                outcome = if factor < 1.0 { Outcome::LimitedByAdjustment } else { Outcome::Limited };
            }
        }
        outcome
    }
}

fn in_group(group: &Subject, line: &Line, path: &str) -> bool {
    let Subject::Group(attributes) = group else { return false };
    attributes.iter().all(|(attribute, value)| match attribute {
        Attribute::Country => value.as_bytes() == line.country,
        Attribute::Asn => false,
        Attribute::Path => **value == *path,
        Attribute::UserAgent => **value == *line.agent,
        Attribute::Anonymous => line.user.is_none(),
        Attribute::Address => line.address.to_string() == **value,
    })
}

pub fn micros(at: f64) -> Micros {
    Micros(((EPOCH + at) * 1e6) as u64)
}

/// The settings that are the default, enforcing.
pub fn enforcing() -> Anomaly {
    Anomaly { enabled: true, shadow: false, ..Anomaly::default() }
}

/// Runs a world through an engine that is obeyed.
pub fn run(shape: Shape, settings: &Anomaly) -> Outcomes {
    run_cut(shape, settings, &[])
}

/// The same with engines that go on from the one before at these seconds.
pub fn run_cut(shape: Shape, settings: &Anomaly, cuts: &[f64]) -> Outcomes {
    let each_second = |engine: &mut Engine, second: f64| {
        engine.train_in_place();
        if cuts.contains(&second) {
            *engine = Engine::resume(settings, &engine.checkpoint()).unwrap();
        }
    };
    run_lines(World::new(shape), shape.begins, &mut Engine::new(settings), each_second)
}

/// Runs lines through an engine that is obeyed, and at the end of each second through something else.
pub fn run_lines(
    lines: impl Iterator<Item = Line>,
    begins: f64,
    engine: &mut Engine,
    mut each_second: impl FnMut(&mut Engine, f64),
) -> Outcomes {
    let mut service = Service::default();
    let mut outcomes = Outcomes::default();
    let mut attackers = (std::collections::HashSet::new(), std::collections::HashSet::new());
    let mut second = 1.0;
    for line in lines {
        while line.at >= second {
            let events = engine.tick(micros(second));
            each_second(engine, second);
            for event in &events {
                service.apply(event);
                let of_attack = match &event.subject {
                    Subject::User(user) => attackers.0.contains(&user.to_string()),
                    Subject::Address(address) => attackers.1.contains(address),
                    Subject::Group(_) => second > begins,
                };
                let since = second - begins;
                match event.kind {
                    Kind::Flag if of_attack => {
                        outcomes.flagged = outcomes.flagged.or(Some(since));
                        outcomes.true_flags += 1;
                    }
                    Kind::Flag => outcomes.false_flags += 1,
                    Kind::Tighten { .. } | Kind::Block { .. } if of_attack => {
                        outcomes.acted = outcomes.acted.or(Some(since));
                    }
                    _ => {}
                }
            }
            outcomes.events.extend(events);
            second += 1.0;
        }
        let path = template(&line.path);
        let outcome = service.decide(&line, &path);
        let stopped = outcome != Outcome::Allowed;
        if line.attack {
            if let Some(user) = &line.user {
                attackers.0.insert(user.clone());
            }
            attackers.1.insert(line.address);
            outcomes.attack += 1;
            outcomes.attack_stopped += u64::from(stopped);
            if line.at > begins + 60.0 {
                outcomes.late += 1;
                outcomes.late_stopped += u64::from(stopped);
            }
        } else {
            outcomes.legit += 1;
            outcomes.legit_limited += u64::from(stopped);
            outcomes.legit_adjusted += u64::from(outcome == Outcome::LimitedByAdjustment);
        }
        engine.observe(&observation(&line, outcome));
    }
    outcomes
}

/// What the engine sees of a line.
pub fn observation(line: &Line, outcome: Outcome) -> Observation<'_> {
    Observation {
        at: micros(line.at),
        domain: "edge",
        user: line.user.as_deref(),
        address: Some(line.address),
        method: line.method,
        path: &line.path,
        user_agent: Some(&line.agent),
        country: Some(line.country),
        asn: None,
        status: Some(line.status),
        bytes: Some(line.bytes),
        duration: None,
        hits: 1,
        outcome,
    }
}
