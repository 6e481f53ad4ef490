//! Who sends what in the demo, and when: simulated people, and from time to time an attack. Seeded, so that a seed tells
//! the same story again.

use std::collections::HashSet;
use std::iter::{Peekable, from_fn};
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;

use super::fate::Fate;
use crate::anomaly::simulate::{Options, Record, Scenario, Simulation, Window};
use crate::core::client::network;
use crate::core::clock::Micros;
use crate::core::subject::Subject;

/// When the first attack begins, and how long each lasts.
pub const FIRST: Micros = Micros::from_secs(3);
pub const LASTS: Micros = Micros::from_secs(20);
/// When the next one begins after its end: when what was done about it has ended, too. One from many sources counts as
/// going on for a minute.
const REST: Micros = Micros::from_secs(30);
const LONG_REST: Micros = Micros::from_secs(90);

/// One request to be made, and where its answer counts.
#[derive(Debug)]
pub struct Visit {
    /// The request.
    pub record: Record,
    /// What becomes of those of the same kind.
    pub fate: Arc<Fate>,
}

/// An attack.
#[derive(Debug)]
pub struct Attack {
    /// Counts from 1.
    pub number: u64,
    /// Which.
    pub scenario: Scenario,
    /// Wall time.
    pub begins: Micros,
    /// Wall time.
    pub ends: Micros,
    /// What becomes of its requests.
    pub fate: Arc<Fate>,
    /// Where its requests came from so far: what tells clients apart.
    sources: HashSet<IpAddr>,
    requests: Peekable<Simulation>,
}

/// Makes visits.
#[derive(Debug)]
pub struct Traffic {
    calm: Peekable<Simulation>,
    legitimate: Arc<Fate>,
    attacks: Vec<Scenario>,
    options: Options,
    next: Micros,
    attack: Option<Attack>,
    /// The one before, whose sources may still be known.
    past: Option<Attack>,
}

impl Traffic {
    /// Calm traffic, and in turn one of these attacks, from `start` on: wall time. `options` are those of calm traffic.
    pub fn new(calm: Simulation, attacks: Vec<Scenario>, options: Options, start: Micros) -> Self {
        let (calm, legitimate) = (calm.peekable(), Arc::default());
        Self { calm, legitimate, attacks, options, next: start + FIRST, attack: None, past: None }
    }

    /// The visits that are due. After a pause of the machine, it does not make up for all of it at once.
    pub fn due(&mut self, now: Micros) -> anyhow::Result<Vec<Visit>> {
        if now >= self.next && !self.attacks.is_empty() {
            self.begin()?;
        }
        let mut visits: Vec<Visit> =
            due(&mut self.calm, now).map(|record| Visit { record, fate: Arc::clone(&self.legitimate) }).collect();
        if let Some(Attack { requests, sources, fate, .. }) = &mut self.attack {
            for record in due(requests, now).filter(Record::is_attack) {
                sources.insert(network(record.address));
                visits.push(Visit { record, fate: Arc::clone(fate) });
            }
        }
        Ok(visits)
    }

    /// What became of those who mean no harm.
    pub fn legitimate(&self) -> &Fate {
        &self.legitimate
    }

    /// Whether there will be attacks.
    pub const fn has_attacks(&self) -> bool {
        !self.attacks.is_empty()
    }

    /// The attack that began last.
    pub const fn attack(&self) -> Option<&Attack> {
        self.attack.as_ref()
    }

    /// The number of the attack that somebody belongs to. Groups are made of what an attack has in common.
    pub fn attack_of(&self, subject: &Subject) -> Option<u64> {
        let known = || [&self.attack, &self.past].into_iter().flatten();
        let attack = match subject {
            Subject::Address(address) => known().find(|attack| attack.sources.contains(&network(*address))),
            Subject::Group(_) => known().next(),
            Subject::User(_) => None,
        };
        attack.map(|attack| attack.number)
    }

    /// The next attack begins, each time with others as its sources.
    fn begin(&mut self) -> anyhow::Result<()> {
        let number = self.attack.as_ref().map_or(1, |last| last.number + 1);
        let turn = usize::try_from(number - 1).unwrap_or_default() % self.attacks.len();
        let (scenario, begins) = (self.attacks[turn], self.next);
        let options = Options {
            scenario,
            seed: self.options.seed.wrapping_add(number - 1),
            start: begins,
            duration: LASTS,
            attack: Some(Window { from: Micros::ZERO, until: LASTS }),
            ..self.options.clone()
        };
        let requests = Simulation::new(&options).context("simulating an attack")?.peekable();
        let (ends, fate, sources) = (begins + LASTS, Arc::default(), HashSet::new());
        self.past = self.attack.replace(Attack { number, scenario, begins, ends, fate, sources, requests });
        self.next = ends + if scenario == Scenario::SingleSourceFlood { REST } else { LONG_REST };
        Ok(())
    }
}

/// What came by now, but for what is late.
fn due(requests: &mut Peekable<Simulation>, now: Micros) -> impl Iterator<Item = Record> {
    let late = now - Micros::SECOND;
    from_fn(move || requests.next_if(|record| record.at <= now)).filter(move |record| record.at > late)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::simulate::START;

    fn story(seed: u64, attacks: &[Scenario], seconds: u64) -> (Vec<Record>, Traffic) {
        let options = Options { seed, rate: 50.0, duration: Micros::from_secs(3_600), ..Options::default() };
        let calm = Simulation::new(&options).unwrap();
        let mut traffic = Traffic::new(calm, attacks.to_vec(), options, START);
        let times = (0..seconds * 10).map(|step| START + Micros::from_millis(step * 100));
        let visits: Vec<_> = times.flat_map(|now| traffic.due(now).unwrap()).collect();
        (visits.into_iter().map(|visit| visit.record).collect(), traffic)
    }

    #[test]
    fn a_seed_tells_the_same_story_again() {
        let flood = [Scenario::SingleSourceFlood];
        assert_eq!(story(7, &flood, 10).0, story(7, &flood, 10).0);
        assert_ne!(story(7, &flood, 10).0, story(8, &flood, 10).0);
    }

    #[test]
    fn attacks_come_in_turn_and_end() {
        let turn = [Scenario::SingleSourceFlood, Scenario::DistributedFlood];
        let (records, traffic) = story(1, &turn, 90);
        let second = traffic.attack().unwrap();
        assert_eq!((second.number, second.scenario), (2, Scenario::DistributedFlood));
        for (label, from) in [("single_source_flood", 3), ("distributed_flood", 53)] {
            let times: Vec<_> = records.iter().filter(|record| record.label == label).map(|record| record.at).collect();
            let (begins, ends) = (START + Micros::from_secs(from), START + Micros::from_secs(from) + LASTS);
            assert!(times.len() > 1_000 && times.iter().all(|at| (begins..=ends).contains(at)), "{label}");
        }
        assert_eq!(story(1, &[], 20).0.iter().filter(|record| record.is_attack()).count(), 0);
    }

    #[test]
    fn sources_are_those_of_the_attack() {
        let (records, traffic) = story(1, &[Scenario::SingleSourceFlood], 10);
        let of = |record: &Record| traffic.attack_of(&Subject::Address(record.address));
        assert!(records.iter().all(|record| of(record) == record.is_attack().then_some(1)));
    }

    #[test]
    fn what_is_late_is_left_out() {
        let (_, mut traffic) = story(1, &[], 1);
        let visits = traffic.due(START + Micros::from_secs(600)).unwrap();
        assert!((20..150).contains(&visits.len()), "{} visits of one second", visits.len());
    }
}
